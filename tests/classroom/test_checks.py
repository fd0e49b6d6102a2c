"""Revealing a prediction, and grading an exercise."""

import re
from fractions import Fraction

import numpy as np
import pytest
import torch

from helpers.classroom import NOT_ATTEMPTED, RIGHT, WRONG, Mistake, check, exercises, reveal, verdict
from tests.support import refusals_of, refused

WORDS = {"one_of": ("rises", "falls", "stays")}
RANGES = {"bounds": (1, 10)}


@pytest.mark.parametrize(
    ("guess", "measured", "offered", "says"),
    [
        (None, 10.8249, {}, "result: 10.82 nats\n"),
        (10.5, 10.8249, {}, "within 5%"),
        (21.6498, 10.8249, {}, "2 times too high"),
        (1, 10.0, {}, "10 times too low"),
        (0, 0.5, {}, "off by 0.5"),
        (3, np.float32(3.0), {}, "within"),
        ("Vera", "vera ", {}, "right"),
        ("Tito", "Vera", {}, "not this time"),
        (True, True, {}, "result: yes nats · you said yes: right"),
        (True, False, {}, "result: no"),
        (-5, -10.82, {}, "off by 5.82"),
        (2, 3, {}, "1 too low"),
        (9, torch.tensor(3), {}, "6 too high"),
        (50_000, 100_514, {}, "times too low"),
        (torch.tensor(21.6498), 10.8249, {}, "you said 21.65 nats: 2 times too high"),
        (Fraction(21, 2), 10.8249, {}, "within 5%"),
        *((letter, "b", {}, "result: b nats · you said b: right") for letter in ("b", "B", " b ", "b)", "(b)")),
        ("a", "B", {}, "result: B nats · you said a: not this time"),
        ("yes", True, {}, "you said yes: right"),
        ("Não", True, {}, "you said no: not this time"),
        (2, float("inf"), {}, "result: inf nats, which is not finite: no prediction"),
        (" Falls ", "rises", WORDS, "rises nats · you said falls: not this time"),
        (None, "rises", WORDS, "rises nats\n"),
        (None, torch.tensor(4.0), RANGES, "4 nats, which is b\n"),
        ("B", 4.0, RANGES, "4 nats, which is b · you said b: right"),
        ("c", 4.0, RANGES, "4 nats, which is b · you said c: not this time"),
        (2, 4.0, RANGES, "4 nats, which is b · you said 2 nats: 2 times too low"),
        *((None, edge, RANGES, f"which is {x}\n") for edge, x in ((0.9, "a"), (1, "b"), (10, "c"), (99, "c"))),
        ("c", float("nan"), RANGES, "nan nats, which is not finite: no prediction"),
    ],
)
def test_reveal(capsys, guess, measured, offered, says):
    reveal(guess, measured, "nats", **offered)
    printed = capsys.readouterr().out
    assert says in printed and printed.startswith("result: ") and printed.count("\n") == 1


test_reveal_refuses_another_kind = refusals_of(
    lambda guess, measured, offered: reveal(guess, measured, "nats", **offered),
    *((guess, 10.0, {}, "my_guess should be") for guess in ("ten", True, [1], 10**400, -1e100)),
    *((long, 10.0, {}, r"got .{300}\.\.\.$") for long in (10**999, "ten" * 999, [7] * 999)),
    *((guess, True, {}, "my_guess should be True or False or None") for guess in ("maybe", 1)),
    (10, "ten", {}, "my_guess should be a word in quotes or None, got 10"),
    ("rain" * 99, "ten", {}, r"a word in quotes or None, got 'rain.{295}\.\.\.$"),
    ("the second", "b", {}, 'my_guess should be the letter of a choice, such as "a", or None'),
    ((4, 5), 4.5, {}, r"got several, \(4, 5\): in Python the decimal point is a point, my_guess = 4\.5$"),
    ((50, 257), 5.0, {}, r"my_guess = 50\.257; thousands go without a comma, my_guess = 50257$"),
    ((1, 234, 567), 5.0, {}, r"in Python thousands go without a comma, my_guess = 1234567$"),
    ("ten", 1.0, {}, r"a number \(nats\), without quotes and with a point before the decimals, or None, got 'ten'"),
    ("rise", "rises", WORDS, r"one of 'rises', 'falls', 'stays', or None, got 'rise'"),
    ("d", 4.0, RANGES, r"one of 'a', 'b', 'c', or None, got 'd'"),
)


@pytest.fixture
def double(monkeypatch):
    monkeypatch.setitem(exercises.grader.CHECKS, "double", None)
    del exercises.grader.CHECKS["double"]

    @exercises.grader.register("double")
    def oracle(answer):
        for x in (0, 3):
            if answer(x) != x + x:
                raise Mistake(f"double({x}) should be {x + x}, got {answer(x)}. What is two times {x}?")

    return "double"


def stub(x):
    raise NotImplementedError


class Odd:
    def __ne__(self, other):
        raise OverflowError("too odd")


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (stub, f"{NOT_ATTEMPTED}. Fill in"),
        (lambda x: 2 * x, f"{RIGHT}."),
        (lambda x: x * x, f"{WRONG}. double(3) should be 6, got 9"),
        (lambda x: 1 / x, f"{WRONG}. Your function raised ZeroDivisionError"),
        (lambda: 0, f"{WRONG}. Your function raised TypeError"),
        (lambda x: torch.tensor([x]).softmax(0), f"{WRONG}. Your function raised NotImplementedError: "),  # integers
        (lambda x: Odd(), f"{WRONG}. The check cannot read what your function returned: OverflowError"),
    ],
)
def test_check(double, capsys, answer, says):
    assert verdict(double, answer).startswith(says)
    assert check(double, answer) is None, "a value would be printed below the verdict"
    assert capsys.readouterr().out.startswith(f"double: {says}")


def test_a_long_message_is_cut(double):
    def failing(*_):
        raise KeyError("palavra " * 300)

    class Large(dict):
        def __ne__(self, other):
            failing()

    grader, shown = exercises.grader, r"KeyError: '(palavra ){3}.{200,300}\.\.\."
    assert re.fullmatch(f"{WRONG}. Your function raised {shown}", verdict(double, failing))
    assert re.fullmatch(f"{WRONG}. The check cannot read .* returned: {shown}", verdict(double, lambda x: Large()))
    refused(f"^case: your function raised {shown}$", grader.ask, failing, "case", error=Mistake)
    refused(rf"^case: expected a ValueError, got {shown}\. Why", grader.refused, failing, "case", "Why?", error=Mistake)
    returning = ["palavra"] * 300
    refused(r"got \['pal.{290,300}\.\.\.\. Why", grader.refused, lambda: returning, "case", "Why?", error=Mistake)


@pytest.mark.parametrize(
    ("endless", "n"),
    [(range(10**12), 10**12), (torch.ones(1).expand(10**9), 10**9), (np.broadcast_to(1, (10**6, 10**6)), 10**12)],
)
def test_an_endless_answer_is_not_written_out(endless, n):
    for name in ("c1-bytes", "c1-next-batch", "e1-months", "s1-tokens-per-word"):
        assert f"at most 1,000,000 items, got {n:,}" in verdict(name, lambda *_: endless)
    as_tensor = exercises.grader.Returned(endless, "case").tensor
    refused(r"expected a tensor \(3,\), got", as_tensor, (3,), "Why?", error=Mistake)
    refused("at most 1,000,000 items", reveal, endless, 3.0)


def test_unknown_and_repeated_names(double):
    refused("no exercise named 'triple'", check, "triple", stub)
    refused("exists already", exercises.grader.register("double"), stub)


@pytest.mark.parametrize("number", [3, 3.0, torch.tensor(3.0), torch.tensor([3]), np.float32(3), np.array([3.0])])
def test_one_number_may_come_in_any_dress(number):
    assert verdict("e1-months", lambda *_: number).startswith(f"{WRONG}. 300,000,000,000 tokens"), "refused as wrong"
    assert "got 3. " in verdict("e1-months", lambda *_: number)


@pytest.mark.parametrize("other", [True, "3", [3.0], torch.ones(2), np.ones(2), torch.tensor(True), {3}, (3,)])
def test_what_is_not_one_number_is_told_by_its_type(other):
    found = verdict("e1-months", lambda *_: other)
    assert "expected one number, got" in found and f"({type(other).__name__})" in found


def test_an_answer_that_returns_nothing_or_fails_is_told_with_its_case():
    assert "8 sequences of 1024 tokens a step" in (found := verdict("e1-months", lambda *_: None))
    assert "your function returned None: is there a `return`?" in found
    assert "500 ms a step: your function raised ZeroDivisionError" in verdict("e1-months", lambda *_: 1 / 0)
