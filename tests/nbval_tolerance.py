"""A tolerance for nbval: two machines differ in the last digits, and in nothing else.

Load it with `-p tests.nbval_tolerance`. It wraps nbval's comparison: where the stored and the new text differ only in
decimal numbers that agree, the new text is taken as equal to the stored one. Two decimal numbers agree when

- they differ by at most RELATIVE of the stored one, or
- they differ by one in the last digit of the one written with more decimals, and that one shows at least MIN_DIGITS
  significant digits (a difference of 1e-6 before printing can flip the last digit; it never flips more).

Whole numbers, words, spaces and tags stay exact. Pictures and widget views are not compared at all (nbval's rule).

Some cells of notebook 11 need a published model that is fetched once: the tag NEEDS_MODEL. Where it is not here, they
run on a stand-in and must not fail; what they show is then not compared, since what is stored came from the real one.
"""

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

NEEDS_MODEL = "needs-smollm2"
RELATIVE = 1e-5
MIN_DIGITS = 4
# a decimal number: has a point or an exponent, and is no part of a word or of a version such as 2.13.0
DECIMAL = re.compile(r"(?<![\w.])[-+]?(?:\d[\d,]*\.\d*(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+)(?![\w]|\.\d)")


def agree(stored: str, new: str) -> bool:
    """Whether two texts are equal up to the last digits of their decimal numbers."""
    if stored == new:
        return True
    if DECIMAL.split(stored) != DECIMAL.split(new):
        return False
    return all(map(numbers_agree, DECIMAL.findall(stored), DECIMAL.findall(new)))


def numbers_agree(stored: str, new: str) -> bool:
    """Whether two decimal numbers, as written, are the same measurement."""
    a, b = Decimal(stored.replace(",", "")), Decimal(new.replace(",", ""))
    difference = abs(a - b)
    if difference <= Decimal(RELATIVE) * abs(a):
        return True
    last_digit = min(Decimal(1).scaleb(x.as_tuple().exponent) for x in (a, b))  # of the finer: %g drops zeros
    n_digits = max(len(x.as_tuple().digits) for x in (a, b))
    return difference <= last_digit and n_digits >= MIN_DIGITS


def reconcile(new: Any, stored: Any, sanitize: Callable[[str], str] = str) -> Any:
    """`new` with each text that agrees with the stored one replaced by it; lists of outputs and mappings alike.

    sanitize  what hides the parts of a text that are not compared
    """
    if isinstance(new, str) and isinstance(stored, str):
        return stored if agree(sanitize(stored), sanitize(new)) else new
    if isinstance(new, dict) and isinstance(stored, dict):
        return type(new)({key: reconcile(value, stored.get(key), sanitize) for key, value in new.items()})
    if isinstance(new, Sequence) and isinstance(stored, Sequence) and len(new) == len(stored):
        return [reconcile(a, b, sanitize) for a, b in zip(new, stored, strict=True)]
    return new


def pytest_configure(config: Any) -> None:
    """Wrap nbval's comparison once, when this module is loaded as a plugin."""
    from nbval.plugin import IPyNbCell

    from helpers.storage import weights

    strict = IPyNbCell.compare_outputs
    if getattr(strict, "tolerant", False):
        return
    model_is_here = weights.find("smollm2-135m") is not None

    def compare_outputs(self: Any, test: Any, ref: Any, skip_compare: Any = None) -> bool:
        if not model_is_here and NEEDS_MODEL in self.cell.metadata.get("tags", []):
            return True
        return strict(self, reconcile(test, ref, self.sanitize), ref, skip_compare)

    compare_outputs.tolerant = True
    IPyNbCell.compare_outputs = compare_outputs
