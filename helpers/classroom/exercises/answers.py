"""One answer as a person types it, read as a number, a choice, a word, or yes and no; None where it is none of them."""

import re
from collections.abc import Callable, Sequence

Guess = float | str | bool
Reader = Callable[[str], Guess | None]
YES_OR_NO = {"true": True, "yes": True, "sim": True, "false": False, "no": False, "não": False, "nao": False}
SHORT = {"y": True, "s": True, "verdadeiro": True, "v": True, "n": False, "falso": False, "f": False}
LARGEST, LONGEST = 1e100, 100  # number, and letters of a word, that is drawn
LARGE = 1000  # from here on "15.000" is fifteen thousand, as it is for a count
NUMBER = r"[-+−]?(?:\d[\d.,]*\d|\d|[.,]\d+)(?:[eE][-+]?\d+)?"
FACTORS = {1e3: "k|mil|thousand", 1e6: "mi|milh(?:ão|ões|ao|oes)|millions?", 1e9: "bi|bilh(?:ão|ões|ao|oes)|billions?"}
BEFORE = r"(?:[^\W\d]+[.:]?\s+){0,2}[~≈±]?\s*(?:R?\$\s*)?"  # "about 5", "acho que 5", "R$ 5"
AFTER = r"(?:\s*[^\W\d%][^\d%<>]{0,30})?"  # the unit
ONE = re.compile(rf"{BEFORE}({NUMBER})\s*(?:({'|'.join(FACTORS.values())})\b)?\s*(%)?{AFTER}[.!]?", re.IGNORECASE)
LINK = r"(?:\s*[-–]\s*|\s+(?:a|e|to|and|até|ou|or)\s+)"
RANGE = re.compile(rf"(?:(?:entre|between|de|from)\s+)?({NUMBER}\s*%?){LINK}({NUMBER}.*)", re.IGNORECASE)
FRACTION = re.compile(r"(\d{1,9})\s*/\s*([1-9]\d{0,8})")
GROUPS = re.compile(r"(?<=\d) (?=\d{3}\b)")  # 50 257
THREE_AFTER = re.compile(r"[-+−]?[1-9]\d{0,2}[.,]\d{3}")  # thousands or decimals: only the question can say
LETTER = re.compile(r"\(?([a-h])(?:\s*[).:].*|\s*)", re.IGNORECASE | re.DOTALL)


def word(text: str) -> str:
    """As it is compared: "B", " b " and "b)" are one choice."""
    return text.strip(" \n\t.:()").lower()


def number_reader(measured: float, unit: str) -> Reader:
    """Reads a number, its decimals after a comma or a point; a range counts as its middle.

    measured  the result: beside a count or a large number "15.000" is fifteen thousand, else it has three decimals
    unit      its unit: where that is no per cent, 30 % is 0.3
    """
    large = isinstance(measured, int) or abs(measured) >= LARGE
    in_per_cent = re.search(r"per cent|percent|por cento|%", unit) is not None

    def read(answer: str) -> float | None:
        answer = GROUPS.sub("", " ".join(answer.split()))
        if match := FRACTION.fullmatch(answer):
            return int(match[1]) / int(match[2])
        if not (match := ONE.fullmatch(answer)) and (match := RANGE.fullmatch(answer)):
            ends = [one(ONE.fullmatch(match[i])) for i in (1, 2)]
            return None if None in ends else sum(ends) / 2
        return one(match)

    def one(match: re.Match | None) -> float | None:
        number = match and _with_a_point(match[1].replace("−", "-"), large)
        if not number:
            return None
        factor = next((f for f, words in FACTORS.items() if re.fullmatch(words, match[2] or "", re.IGNORECASE)), 1)
        value = float(number) * factor / (100 if match[3] and not in_per_cent else 1)
        return value if abs(value) < LARGEST else None

    return read


def _with_a_point(number: str, large: bool) -> str | None:
    """As Python writes it: of two kinds of marks the last is the decimal one; one that comes twice groups thousands."""
    mark = max(".,", key=number.rfind)
    grouped = number.count(mark) > 1 or (large and THREE_AFTER.fullmatch(number) is not None)
    if grouped and not re.fullmatch(rf"[-+]?\d{{1,3}}(?:\{mark}\d{{3}})+", number):
        return None
    return number.replace("," if mark == "." else ".", "").replace(mark, "" if grouped else ".")


def choice_reader(offered: Sequence[str]) -> Reader:
    """Reads one of the words offered, or any where none are; "b", "B)" and "(b) about thirty times" are one letter.
    Free words that begin as such a letter does are taken for it too; of more than LONGEST letters they are none."""
    names = {word(name): name for name in offered}
    letters = all(len(name) == 1 for name in names)

    def read(answer: str) -> str | None:
        match = LETTER.fullmatch(answer.strip()) if letters else None
        said = match[1].lower() if match else word(answer)
        return names.get(said) if names or len(said) > LONGEST else said or None

    return read


def read_yes_or_no(answer: str) -> bool | None:
    """Yes and no, true and false, in English and in Portuguese; what follows a comma is a reason."""
    return (YES_OR_NO | SHORT).get(word(answer.partition(",")[0]))
