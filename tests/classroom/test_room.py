"""The room's predictions: read as people type them, from where a teacher has them, counted, and drawn."""

import os
import re

import matplotlib.pyplot as plt
import pytest
from matplotlib.text import Text

from helpers import language
from helpers.classroom import exercises, plots, reveal
from tests.support import refused

reading = exercises.room
NATS = exercises.answers.number_reader(10.8, "nats")


@pytest.fixture
def drawn(monkeypatch):
    """The axes and the alternative texts of the figures that are shown."""
    shown = []
    monkeypatch.setattr(plots, "show", lambda ax, alt: shown.append((ax, alt)))
    return shown


def dots(ax, axis: int = 0) -> list[float]:
    """Where the dots stand, sorted: to the right (axis 0), or up (1)."""
    return sorted(round(float(place[axis]), 6) for group in ax.collections for place in group.get_offsets())


@pytest.mark.parametrize(
    ("room", "guesses"),
    [
        ([4.5, "6", "20 nats"], [4.5, 6, 20]),
        ("4,5; 6; 20", [4.5, 6, 20]),
        ("4,5 6 20", [4.5, 6, 20]),
        ("4,5, 6, 20", [4.5, 6, 20]),
        ("4.5,6,20", [4.5, 6, 20]),
        ("4,5 nats\r\n6 nats\r\n20", [4.5, 6, 20]),
        ("4,5 nats 6 nats", [4.5, 6]),
        ("4,5;\n6 20; 1/4", [0.25, 4.5, 6, 20]),
        ("~5; acho que 7; about 8; R$ 9,50", [5, 7, 8, 9.5]),
        ("10-20; entre 10 e 14; 5 ou 6; 1e-1", [0.1, 5.5, 12, 15]),
        ("2 mil; 3,5 milhões; 1.234,5; 1,234.5; 10 000 tokens", [1234.5, 1234.5, 2000, 10_000, 3_500_000]),
        ("-5; −2; 30 %", [-5, -2, 0.3]),
    ],
)
def test_numbers_as_people_type_them(room, guesses):
    found = reading.read_room(room, NATS)
    assert sorted(found.guesses) == guesses and not found.unread and not found.n_empty


def test_a_hostile_line_is_read_at_once():
    large = "9" * 400 + "/3"
    found = reading.read_room("4" + " " * 20_000 + "5;" + " " * 20_000 + f"6; {large}; 1e300", NATS)
    assert found.guesses == [4, 5, 6] and found.unread == [large, "1e300"]


def test_what_the_question_decides():
    as_count, as_share = exercises.answers.number_reader(50_257, ""), exercises.answers.number_reader(31.0, "per cent")
    assert [as_count(text) for text in ("50.257", "50,257", "1.5")] == [50_257, 50_257, 1.5]
    assert [as_share(text) for text in ("50.257", "30 %", "30")] == [50.257, 30, 30]
    assert reading.read_room("50,257", as_share).remark == "'50,257' was read as 50.257"
    assert reading.read_room("50,25", as_share).remark == ""


def test_nothing_is_dropped_silently(capsys, drawn):
    reveal(None, 10.0, "nats", room="9,8; ?; não sei; 12;; <5; 1e400")
    assert capsys.readouterr().out.splitlines() == [
        "result: 10 nats",
        "the room: 1 of 2 within 5% (50%) · 1 above, 0 below · median 10.9 nats · "
        "not read: 4 ('?', 'não sei', '<5', '1e400') · empty: 1",
    ]
    reveal(None, "b", one_of="abc", room="b; b; a; d")
    assert "the room: 2 of 3 said b (67%) · not read: 1 ('d')" in capsys.readouterr().out
    reveal(None, 10.0, "nats", room=["?", None])
    assert capsys.readouterr().out.endswith("the room: no prediction · not read: 1 ('?') · empty: 1\n")
    assert len(drawn) == 2


def test_a_long_answer_that_is_not_read_is_cut(capsys, drawn):
    reveal(None, 10.0, room=["?" * 9_999, "9"])
    reveal(None, "rain", room=["?" * 9_999, "sun"])
    told = capsys.readouterr().out
    assert len(re.findall(r"not read: 1 \('\?{250,300}\.\.\.\)$", told, re.MULTILINE)) == 2
    assert max(len(alt) for _, alt in drawn) < 200


def test_the_line_and_the_figure_speak_the_language(capsys, drawn):
    language.choose("pt_BR")
    reveal(None, 10.0, "nats", room="9,8; ?;; 12")
    reveal(None, True, room="sim; não; sim")
    said = capsys.readouterr().out
    assert "a turma: 1 de 2" in said and "não lidos: 1 ('?') · vazios: 1" in said
    shown = {text.get_text() for ax, _ in drawn for text in ax.figure.findobj(Text)}
    assert {"palpite, nats", "pessoas", "resultado 10", "mediana 10.9", "sim (resultado)", "não"} <= shown
    assert not any(re.search(r"result\b|people|prediction|yes", text) for text in shown)


def test_the_dots_are_the_guesses(drawn):
    reveal(None, 7, "moves", room="2; 7; 7; 7; 9; 12")
    ((ax, alt),) = drawn
    assert ax.get_xscale() == "linear" and dots(ax) == [2, 7, 7, 7, 9, 12] and dots(ax, 1) == [1, 1, 1, 1, 2, 3]
    assert "6 predictions between 2 and 12" in alt and "3 of 6 within 5% · 2 above, 1 below" in alt
    assert [text.get_text() for text in ax.texts] == ["result 7", "median 7"]
    assert [line.get_xdata()[0] for line in ax.lines] == [7, 7]
    assert ax.get_title(loc="left") == "3 of 6 within 5% · 2 above, 1 below"


@pytest.mark.parametrize(
    ("room", "scale"), [("1; 1000; 30", "log"), ("2; 4; 9,5", "linear"), ("0; 1000; -3", "symlog"), ("5", "linear")]
)
def test_the_axis_fits_the_guesses(drawn, room, scale):
    reveal(None, 3.0, room=room)
    ((ax, _),) = drawn
    assert ax.get_xscale() == scale and all(ax.get_xlim()[0] < x < ax.get_xlim()[1] for x in dots(ax))
    ax.figure.canvas.draw()


def test_it_is_read_from_the_last_row(drawn):
    reveal(None, 3.0, "GiB", room="; ".join(["3"] * 45 + ["1"]))
    ((ax, _),) = drawn
    figure = ax.figure
    assert figure.get_figwidth() * figure.dpi <= 1150 and figure.get_figheight() * figure.dpi <= 500
    words = [*ax.texts, ax.xaxis.label, *ax.get_xticklabels(), ax.title]
    assert min(text.get_fontsize() for text in words) * figure.dpi / 72 >= 24, "pixels"
    figure.canvas.draw()
    inside = figure.bbox
    for text in ax.texts:
        box = text.get_window_extent()
        assert inside.x0 <= box.x0 and box.x1 <= inside.x1


@pytest.mark.parametrize(
    ("measured", "how", "room", "shown"),
    [
        ("b", {"one_of": "abc"}, "a; B; b); (b) about thirty, or so; d", {"a": 1, "b (result)": 3, "c": 0}),
        ("rises", {"one_of": ("rises", "falls")}, ["Falls", "rises.", "x"], {"rises (result)": 1, "falls": 1}),
        (True, {}, "sim\nNÃO\nyes, because it must\nnão sei", {"yes (result)": 2, "no": 1}),
        (3.0, {"bounds": (1, 10)}, "a;b;2;20", {"a": 1, "b (result)": 2, "c": 1}),
        ("b", {}, "a b b c", {"a": 1, "b (result)": 2, "c": 1}),
        ("air", {}, "sun; sun; the; of; to; in; on; by; at; up",
         {"sun": 2, **dict.fromkeys(("the", "of", "to", "in", "on", "by"), 1), "air (result)": 0, "others": 2}),
    ],
)  # fmt: skip
def test_a_bar_for_each_answer(drawn, measured, how, room, shown):
    reveal(None, measured, room=room, **how)
    ((ax, alt),) = drawn
    bars = zip(ax.get_yticklabels(), ax.patches, strict=True)
    assert {label.get_text(): int(bar.get_width()) for label, bar in bars} == shown
    (name,) = (key.removesuffix(" (result)") for key in shown if key.endswith(" (result)"))
    assert f"Result: {name}." in alt


FORM = 'Carimbo de data/hora,"Quantos nats, você acha?",Nome\n2026/03/02 9:00,"10,8",Ana\n2026/03/02 9:01,5,Rui\n'


@pytest.mark.parametrize(
    ("content", "guesses"),
    [
        (FORM.encode("utf-8-sig"), [10.8, 5]),
        (FORM.replace(",", ";").replace('"10;8"', '"10,8"').encode("cp1252"), [10.8, 5]),
        (FORM.replace(",", "\t").replace(chr(34) + "10\t8", chr(34) + "10,8").encode("utf-16"), [10.8, 5]),
        (b"4,5\n6,5\n", [4.5, 6.5]),
        (b"guess\n4,5\n6\n", [4.5, 6]),
        (b"Timestamp\tHow many of 400?\n9:00\t12\n9:01\t400\n", [12, 400]),
        (b"guess;\r4,5;\r6;\r", [4.5, 6]),  # of an old Mac
        (b'guess;x\n4,5;"' + b"a" * 200_000, []),  # a quote that is never closed
    ],
)
def test_the_file_of_a_form(tmp_path, content, guesses):
    (file := tmp_path / "answers.csv").write_bytes(content)
    for name in (file, str(file)):
        assert reading.read_room(name, NATS).guesses == guesses


def test_two_questions_in_one_form(tmp_path):
    (file := tmp_path / "answers.csv").write_text("Timestamp,nats,bytes\n9:00,1,10\n9:01,2,\n9:02,?,30\n")
    (wide := tmp_path / "wide.csv").write_text("1," * 50_000)
    (page := tmp_path / "page.csv").write_text("\ufeff<!doctype html>1")
    os.mkfifo(pipe := tmp_path / "pipe.csv")
    found = reading.read_room(f"{file}#byt", NATS)
    assert found.guesses == [10, 30] and found.n_empty == 1
    for room, says in (
        (file, r"which column has the answers, 'nats', 'bytes'\? Name a part"),
        (f"{file}#tokens", r"'Timestamp'|'nats', 'bytes'"),
        ("nowhere.csv", r"'nowhere\.csv', which is not here"),
        ("x" * 5000 + ".csv", r"'x{299}\.\.\., which is not here"),
        (pipe, "which is not here"),
        (page, "expected a CSV file, got a page"),
        *((one, f"expected the answers of a room, .* got {one}$") for one in (5, 4.5, True)),
        (wide, r"which column has the answers, ('1', ){60}.*\.\.\.\? Name a part"),
        ("1;" * 5001, "the answers of a room, at most 5,000, got 5,001"),
        ("http://example.org/answers", "begins with https://, got 'http://example"),
    ):
        refused(says, reading.read_room, room, NATS)


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A function: content -> its address, which is of this machine; more than 1,000 bytes are too many."""
    monkeypatch.setattr(reading, "SCHEMES", ("file",))
    monkeypatch.setattr(reading, "MAX_BYTES", 1000)

    def address(content: bytes | None) -> str:
        file = tmp_path / "pub"
        if content is not None:
            file.write_bytes(content)
        return file.as_uri()

    return address


def test_the_address_of_a_form(published, drawn, capsys):
    reveal(None, 10.8, "nats", room=f"{published(FORM.encode())}#nats")
    assert "the room: 1 of 2 within 5%" in capsys.readouterr().out and dots(drawn[0][0]) == [5, 10.8]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"<!DOCTYPE html><p>Sign in", "expected a CSV file, got a page. Is the sheet published"),
        (None, "could not be read: .* Is the sheet published"),
        (b"1\n" * 600, "more than 1,000 bytes"),
    ],
)
def test_an_address_that_gives_no_answers(published, content, says):
    refused(says, reveal, None, 10.8, "nats", room=published(content))


def test_without_a_room_nothing_is_drawn(drawn, capsys):
    reveal(9.0, 10.8, "nats")
    assert capsys.readouterr().out == "result: 10.8 nats · you said 9 nats: 1.2 times too low\n"
    assert not drawn and not plt.get_fignums()
