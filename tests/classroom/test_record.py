"""`predictions()`: one's own guesses of this kernel, the first of each, and how well calibrated they were."""

import pytest

from helpers.classroom import exercises, predictions, reveal
from tests.support import refused


@pytest.fixture(autouse=True)
def no_predictions_yet(monkeypatch):
    monkeypatch.setattr(exercises.record, "KEPT", {})


def said(capsys) -> list[str]:
    capsys.readouterr()
    predictions()
    return capsys.readouterr().out.splitlines()


def from_a_cell(call: str, **names: object) -> None:
    """The call as a cell of its own makes it."""
    exec(compile(call, f"cell {call} {names}", "exec"), {"reveal": reveal} | names)


def test_one_line_where_there_is_none(capsys):
    reveal(None, 10.8, "nats")
    assert predictions() is None
    assert capsys.readouterr().out.splitlines()[1:] == [
        "no predictions of yours yet: write one after `my_guess =`, run the next cell, then this one again"
    ]


def test_the_first_guess_counts(capsys):
    for guess in (None, 21.6, 10.8):
        reveal(guess, 10.8, "nats")
    reveal(None, 3)
    assert said(capsys)[0] == "1 of 2 predictions made"
    assert str(predictions()).splitlines()[1] == "1  21.6  10.8  nats  2 times too high"


def test_how_well_calibrated(capsys):
    for guess, measured in ((10.0, 10.2), (10.0, 5.0), (30.0, 10.0), (1.0, 10.0), (-1.0, 10.0)):
        from_a_cell("reveal(guess, measured, 'nats')", guess=guess, measured=measured)
    for call in ("reveal('a', 'b', one_of='abc')", "reveal('b', 'b', one_of='abc')", "reveal(True, True)"):
        from_a_cell(call)
    assert said(capsys) == [
        "8 of 8 predictions made",
        "numbers: 1 of 5 within 5% · within a factor of 2: 2 of 4 · half of them within a factor of 2.449 · "
        "too high 2, too low 2: too few to say whether you tend to one side",
        "choices: 2 of 3 right (by chance 1.167)",
    ]


@pytest.mark.parametrize(
    ("above", "missed", "says"),
    [(4, 4, "too few"), (5, 5, "guess too high"), (0, 5, "guess too low"), (4, 5, "no clear"), (7, 8, "too high")],
)
def test_a_tendency_is_no_accident(capsys, above, missed, says):
    for i in range(missed):
        from_a_cell("reveal(15.0 if i < above else 5.0, 10.0)", i=i, above=above)
    assert says in said(capsys)[1]


def test_ranges_are_choices(capsys):
    for guess in ("'c'", "3.1"):
        from_a_cell(f"reveal({guess}, 3.0, 'GiB', bounds=(1, 10))")
    assert said(capsys)[1:] == [
        "numbers: 1 of 1 within 5% · within a factor of 2: 1 of 1 · half of them within a factor of 1.033 · "
        "too high 0, too low 0: too few to say whether you tend to one side",
        "choices: 0 of 1 right (by chance 0.3333)",
    ]


def test_a_file_only_if_asked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    reveal("b", "b", one_of="abc")
    predictions()
    assert not list(tmp_path.iterdir())
    (tmp_path / "theirs").write_text("theirs")
    (tmp_path / "mine.csv").symlink_to("theirs")
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", lambda *_: 1 / 0)
        refused("", predictions, "mine.csv", error=ZeroDivisionError)
    predictions("mine.csv")
    assert (tmp_path / "theirs").read_text() == "theirs" and len(list(tmp_path.iterdir())) == 2
    assert (tmp_path / "mine.csv").read_text().splitlines() == [
        "prediction,you said,result,unit,how far",
        "1,b,b,,right",
    ]
