"""The checks of notebook 08's exercises; each oracle goes another way than the solution."""

import math
from collections import deque
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise

from helpers.classroom.exercises.grader import Mistake, Returned, ask, expect, plain, register, typed, utf8_length
from helpers.gpt import IGNORED_TARGET

REPORTED = {  # what a report states, for a loss in nats and a non-padding fraction
    "none": lambda nats, share: math.exp(nats),
    "padding": lambda nats, share: math.exp(nats * share),
    "power of two": lambda nats, share: math.pow(2, nats),
    "both": lambda nats, share: math.pow(2, nats * share),
}
# "padding" gives 0.9013 of "power of two", which 5 % less is nearer to itself as a ratio, and not by the difference
NEARLY_TWO = (3.0, math.log(2) + math.log(0.9013) / 3, 0.95)


@register("p1-bits")
def bits(answer: Callable[[float, int, str], float]) -> None:
    """Bytes are counted from the code points, and bits as a power of two that gives the perplexity back."""
    cases = [(16.0, 6, "Não há água."), (2.0, 10, "ten bytes."), (9.0, 4, "avó"), (31.5, 7, "não, não")]
    for perplexity, n_tokens, text in [*cases, (1.0, 3, "é só")]:
        n_bytes = utf8_length(text)
        expected = math.log2(perplexity) * n_tokens / n_bytes
        case = f"perplexity {perplexity:g} over {n_tokens} tokens of {text!r}"
        slips = {
            f"Bytes, not characters: {n_bytes} and {len(text)}": expected * n_bytes / len(text),
            "That is nats per byte: a bit is ln 2 nats": expected * math.log(2),
            "Of the whole text, not of one token: each of the n_tokens has its bits": expected / n_tokens,
            "A perplexity is no loss yet: take its logarithm": perplexity * n_tokens / n_bytes,
            "Per byte: which of the two numbers is divided by the other?": expected * (n_bytes / n_tokens) ** 2,
            "Per byte, not per bit": expected / 8,
        }
        says = f"How many bits has the whole text, and how many bytes in UTF-8? ({len(text)} characters)"
        ask(answer, case, perplexity, n_tokens, text).number(expected, says, slips=slips, unit=" bits per byte")


@register("p2-useful-share")
def non_padding_fraction(answer: Callable[[Sequence[int], int, str], float]) -> None:
    """Every position of every row is laid out and looked at."""
    for lengths, T in [([4], 4), ([3], 8), ([1, 9], 4), ([8, 8, 8], 8), ([5, 2, 17], 6), ([100, 1], 7)]:
        for how in ("truncate", "pad"):
            rows = [row for length in lengths for row in _rows(length, T, how)]
            expected = Fraction(sum(map(sum, rows)), len(rows) * T)
            case = f"documents of {list(lengths)} ids and an end each, T={T}, {how}"
            got = ask(answer, case, list(lengths), T, how)
            says = "How many targets has a document, its end included, and how many rows does it take?"
            slips = _slips_about_rows(lengths, T, how)
            got.number(float(expected), says, slips=slips, unit=f", which is {expected}")


@register("p2-pack")
def pack(answer: Callable[[list[list[int]], int, int], list[tuple[list[int], list[int]]]]) -> None:
    """Ids are drawn one by one from a queue; a row's last target stays in front, to be the next one's first input."""
    cases = [
        ([[5, 6, 7]], 3, 0),
        ([[5], [6], [7]], 2, 0),
        ([[1, 2], [3, 4, 5, 6, 7], [8]], 4, 9),
        ([[1, 2, 3, 4, 5, 6, 7, 8]], 4, 0),
        ([[3, 1], [4, 1, 5]], 1, 2),
    ]
    for documents, T, end_id in cases:
        queue = deque(i for document in documents for i in [*document, end_id])
        expected = []
        while len(queue) > T:
            taken = [queue.popleft() for _ in range(T)]
            expected.append((taken, [*taken[1:], queue[0]]))
        case = f"documents {documents}, T={T}, end_id={end_id}"
        got = ask(answer, case, [list(d) for d in documents], T, end_id).value
        rows = plain(got)
        pairs = isinstance(rows, list) and all(isinstance(row, list) and len(row) == 2 for row in rows)
        lists = pairs and all(isinstance(part, list) for row in rows for part in row)
        expect(lists, f"{case}: expected a list of rows, each (inputs, targets), got {typed(got)}")
        if rows != plain(expected):
            raise Mistake(f"{case}: expected the rows {expected}, got {typed(got)}. {_about_packed(rows, T, end_id)}")


@register("p3-halves")
def halves(answer: Callable[[Sequence[float], Sequence[int]], float]) -> None:
    """Probabilities of the parts are multiplied, and the root of as many tokens is taken."""
    cases = [([2.0, 8.0], [3, 1]), ([2.0, 8.0], [1, 1]), ([10.0], [7]), ([5.0] * 3, [1, 2, 9]), ([100.0, 1.0], [1, 9])]
    for perplexities, counts in cases:
        inverse = math.prod(p**n for p, n in zip(perplexities, counts, strict=True))
        expected = inverse ** (1 / sum(counts))
        case = f"perplexities {perplexities} over {counts} tokens"
        weighted = sum(p * n for p, n in zip(perplexities, counts, strict=True)) / sum(counts)
        unweighted = math.prod(perplexities) ** (1 / len(perplexities))
        no_average = "A mean of perplexities is no perplexity: what is it that may be averaged?"
        slips = {
            no_average: sum(perplexities) / len(perplexities),
            no_average + " (It does weigh by tokens, as yours does)": weighted,
            "How much does each part weigh? A part of many tokens counts more": unweighted,
            "That is the loss in nats: which step makes a perplexity of it?": math.log(expected),
            "One base for both: exp undoes log, and 2 to the power undoes log2": math.exp(math.log2(expected)),
        }
        says = "Which quantity may be averaged, and how much does each part weigh?"
        ask(answer, case, list(perplexities), list(counts)).number(expected, says, slips=slips, unit=" for the whole")


@register("p3-suspect")
def suspect(answer: Callable[[float, float, float], str]) -> None:
    """Reports are made with a known mistake, and the number is a little off, as after another seed."""
    for nats, share, *noises in [(3.0, 0.5, 0.98, 1.02), (4.5, 0.8, 0.98, 1.02), (2.4, 0.3, 0.98, 1.02), NEARLY_TWO]:
        for mistake, formula in REPORTED.items():
            for noise in noises:
                reported = formula(nats, share) * noise
                case = f"{nats} nats a token, non-padding fraction {share}, reported {reported:.3f}"
                got = plain(answer(nats, share, reported))
                known = isinstance(got, str) and got in REPORTED
                expect(known, f"{case}: expected one of {', '.join(map(repr, REPORTED))}, got {typed(got)}")
                if got != mistake:
                    made = ", ".join(f"{name} {one(nats, share):.2f}" for name, one in REPORTED.items())
                    raise Mistake(
                        f"{case}: expected {mistake!r}, got {got!r}. Do you have the same four, and is yours the "
                        f"nearest as a ratio, by |ln(yours / reported)|? {made} (the share multiplies the nats, not "
                        "the perplexity)"
                    )


def _rows(length: int, T: int, how: str) -> list[list[bool]]:
    """Rows of one document of `length` ids and an end: True where a target is scored."""
    scored = [True] * length  # every id but the first is a target, and so is the end
    if how == "truncate":
        scored = scored[:T]
    rows = [scored[i : i + T] for i in range(0, len(scored), T)]
    return [row + [False] * (T - len(row)) for row in rows]


def _slips_about_rows(lengths: Sequence[int], T: int, how: str) -> dict[str, float]:
    """Thoughts that lead on from a wrong non-padding fraction, and the number that each mistake gives."""

    def share(targets: Sequence[int], rows: int) -> float:
        return sum(targets) / (rows * T)

    def needed(targets: Sequence[int]) -> int:
        return sum(-(-n // T) for n in targets)

    truncated = how == "truncate"
    kept = [min(n, T) for n in lengths] if truncated else list(lengths)
    with_end = [min(n + 1, T) for n in lengths] if truncated else [n + 1 for n in lengths]
    by_document = sum(share([n], needed([n])) for n in kept) / len(kept)
    several = 'With "pad" a long document takes several rows; with "truncate" at most T of its ids are targets'
    either = 'Does `how` change what you do? "truncate" gives each document one row'
    return {
        "Add up targets and positions over all documents, and divide once": by_document,
        "A share is between 0 and 1": 100 * share(kept, needed(kept)),
        "The first id of a document is no target: n ids and an end make n targets": share(with_end, needed(with_end)),
        "The end is a target too: n ids and an end make n targets": share([n - 1 for n in kept], needed(kept)),
        "When is a row full? Round up: n / T rows, not one more": share(kept, sum(n // T + 1 for n in kept)),
        several: share(lengths, len(lengths)),
        either: share(lengths, needed(lengths) if truncated else len(lengths)),
    }


def _about_packed(got: list[tuple[list[int], list[int]]], T: int, end_id: int) -> str:
    """The thought that leads on from wrong rows."""
    if any(len(part) != T for row in got for part in row):
        return "Every row has T inputs and T targets; a rest that fills no row is left out"
    if any(row[0] == row[1] for row in got):
        return "The targets are the *next* ids: shift them by one"
    if got and not any(end_id in part for row in got for part in row):
        return "Does an end stand after every document, and are all of them one stream before it is cut?"
    if any(a[1][-1] != b[0][0] for a, b in pairwise(got)):
        return "The next row begins where the last one's inputs end: its first input is the last target of that row"
    return "How many rows does the stream fill, every document's end included? Only the last target of each must exist"


@register("p2-labels")
def labels_for_a_library(answer: Callable[[list[list[int]], int], tuple[list[list[int]], int]]) -> None:
    """Rows are made from documents, so that it is known which of their ends are padding."""
    whole = [[[5, 6, 7]], [[8]]], [[[5, 6, 7, 8]], [[1, 2, 3, 4, 5, 6]]], [[[5], [6, 7]], [[8, 9], [4]]]
    for documents, T, end_id in zip(whole, (5, 5, 7), (9, 0, 1), strict=True):
        streams = [[i for document in row for i in (*document, end_id)][:T] for row in documents]
        rows, labels = ([[*ids, *[filler] * (T - len(ids))] for ids in streams] for filler in (end_id, IGNORED_TARGET))
        n_scored = sum(len(ids) - 1 for ids in streams)
        case = f"rows {rows}, end_id={end_id}"
        got = ask(answer, case, [list(row) for row in rows], end_id)
        found, _ = got.items(2, "things, the labels and the number of scored positions")
        lists = isinstance(found, list) and all(isinstance(row, list) for row in found)
        expect(lists, f"{case}: expected a list of labels for each row, got {typed(found)}")
        if found != labels:
            raise Mistake(f"{case}: expected the labels {labels}, got {found}. {_about_labels(found, rows, end_id)}")
        slips = {"The model shifts: the first label of a row is no target": sum(map(len, streams))}
        says = "Which positions have a label that is scored, once the model has shifted them by one?"
        Returned(got.value[1], case).number(n_scored, says, slips=slips, unit=" scored positions", digits="g")


def _about_labels(found: list[list[int]], rows: list[list[int]], end_id: int) -> str:
    """The thought that leads on from wrong labels."""
    if found == rows:
        return f"Padding must not be scored: {IGNORED_TARGET} there"
    if found == [[IGNORED_TARGET if i == end_id else i for i in row] for row in rows]:
        return "Now no end is a target, and the model never learns to stop: which end of a row is a real one?"
    if [row[:-1] for row in found] == [row[1:] for row in rows]:
        return "Do not shift: the library's model does that"
    return f"The ids stay where they are, and what follows the last document's end is {IGNORED_TARGET}"
