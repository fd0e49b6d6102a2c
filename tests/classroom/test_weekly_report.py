"""The weekly report: its seven headings, only what was measured, figures beside it, whole or not at all."""

import html
import os
import re
from pathlib import Path
from unittest.mock import Mock

import matplotlib.pyplot as plt
import mistune
import pytest
from PIL import Image

from helpers.classroom import reports
from helpers.gpt import Evaluation, Update
from helpers.labs import metrics
from tests.support import refused

PROTOCOL = metrics.Protocol("story", "validation", 128, 64, 1_000, 4_000, "none", "tokens", "gpt2", "best")
RESULT = metrics.Result(2.5, PROTOCOL)


@pytest.fixture
def ax():
    drawn = plt.figure(figsize=(3, 2)).add_subplot()
    drawn.plot([3, 2, 1])
    return drawn


def update(step: int, n_tokens: int, loss: float) -> Update:
    return Update(step, 0, n_tokens, loss, 1e-3, 1.0, "float32")


def written(folder: Path, **given: object) -> str:
    return reports.write(folder, **({"title": "t"} | given)).read_text(encoding="utf-8")


def sections_of(text: str) -> dict[str, str]:
    """The body of each section by its key."""
    bodies = re.split(r"^## \d\. ", text, flags=re.MULTILINE)[1:]
    return {heading["key"]: body for heading, body in zip(reports.headings(), bodies, strict=True)}


def test_an_empty_report_says_what_to_write(tmp_path):
    text = (path := reports.write(tmp_path / "week", title="Semana 8")).read_text(encoding="utf-8")
    assert path == tmp_path / "week" / reports.FILE_NAME and os.listdir(path.parent) == [reports.FILE_NAME]
    assert text.startswith("# Semana 8\n\n## 1. Explicação de conceitos importantes do exercício feito\n\n*")
    assert [line.split(". ", 1)[1] for line in text.splitlines() if line.startswith("## ")] == [
        "Explicação de conceitos importantes do exercício feito",
        "Técnicas para garantir que a implementação está correta",
        "Truques de código que funcionaram",
        "Problemas e soluções no desenvolvimento",
        "Resultados interessantes/inesperados",
        'Uma dúvida "básica" que você ou os colegas possam ter',
        'Um tópico "avançado" para discutirmos',
    ]
    for heading, body in zip(reports.headings(), sections_of(text).values(), strict=True):
        asked = [heading["portuguese"], f"*{heading['english']}*", f"> {reports.mark()} {heading['asks']}."]
        assert body.rstrip().split("\n\n") == asked
    assert "|" not in text, "no table of nothing"


def test_words_of_one_s_own_replace_the_line(tmp_path):
    own = {"tricks": "One **trick**.\n\n- and a list\n", "basic_question": "Why?", "concepts": "  "}
    sections = sections_of(written(tmp_path / "a", sections=own))
    assert sections["tricks"].endswith("\n\nOne **trick**.\n\n- and a list\n\n")
    assert "Why?" in sections["basic_question"]
    unwritten = {key for key, body in sections.items() if reports.mark() in body}
    assert unwritten == set(sections) - {"tricks", "basic_question"}


def test_measured_things_stand_where_they_belong(tmp_path, ax):
    path = reports.write(
        tmp_path / "a",
        title="t",
        checks={"loss on 100 texts": 0.02134, "weights | finite": True, "ends with </s>": "*no*, $1 to $2"},
        settings={"model": "opt-125m", "steps": 12_000, "learning rate": 3e-4},
        results={"continued": RESULT},
        samples={"Era uma vez": "um ```gato`` \n# alto"},
        figures=[(ax, "Loss [nats] falls\nby step")],
    )
    sections = sections_of(path.read_text(encoding="utf-8"))
    checks = "| check | result |\n| --- | --- |\n| loss on 100 texts | 0.02134 |\n| weights \\| finite | yes |\n"
    checks += "| ends with \\</s> | \\*no\\*, \\$1 to \\$2 |\n"
    assert checks in sections["correctness"]
    results = sections["results"]
    assert "| model | opt-125m |\n| steps | 12,000 |\n| learning rate | 0.0003 |\n" in results
    assert f"### Perplexity: continued\n\n{RESULT.card()}\n" in results
    assert "````text\nEra uma vez\n````\n" in results and "````text\num ```gato`` \n# alto\n````\n" in results
    (name,) = re.findall(r"!\[Loss \\\[nats\\\] falls by step\]\((figure_1_[0-9a-f]{8}\.png)\)", results)
    assert sorted(os.listdir(path.parent)) == sorted([reports.FILE_NAME, name])
    with Image.open(path.parent / name) as image:
        assert image.format == "PNG" and image.size == (450, 300)


def test_what_was_typed_is_shown_as_it_is(tmp_path):
    """Rendered as nbconvert does, with its mathematics, the page has all characters that were given."""
    typed = "</s> *b* _i_ __init__ a_b <b>x</b> [l](u) `c` $1 to $2, R$ 1 a R$ 2 a|b "
    typed += "\\ &lt; ~~s~~ ![i](j) <!-- c --> 1. # h"
    given = {name: {typed: typed} for name in ("settings", "checks", "samples")}
    given |= {"results": {typed: RESULT}, "records": {typed: [Evaluation(0, 0, 9.0, 5)]}}
    text = written(tmp_path / "a", title=typed, **given)
    rendered = mistune.create_markdown(plugins=["strikethrough", "table", "math", "url"])(text)
    shown = html.unescape(re.sub("<[^>]*>", "", rendered))
    assert shown.count(typed) == 9  # the title, a name and a value twice, a heading, a run, a prompt and its text
    assert not {"a", "b", "s", "del", "img"} & set(re.findall(r"<(\w+)", rendered))


def test_losses_by_hand(tmp_path):
    records = [
        Evaluation(0, 0, 9.0, 50),
        update(0, 100, 8.0),
        update(1, 400, 4.0),  # 100 tokens at 8 and 300 at 4: 5 in the mean, not 6
        Evaluation(2, 400, 3.0, 50),
        update(2, 410, 2.5),
    ]
    gone_on = [update(7, 800, 100.0), update(8, 900, 1.5), Evaluation(9, 900, 2.0, 50)]
    text = written(tmp_path / "a", records={"one": iter(records), "two": gone_on})
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith(("| one", "| two"))]
    assert rows == [
        ["one", "0", "0", "not measured", "9", "8,103"],
        ["one", "2", "400", "5", "3", "20.09"],
        ["one", "3", "410", "2.5", "not measured", "not measured"],
        ["two", "9", "900", "1.5", "2", "7.389"],  # how many tokens its first batch had is not known
    ]
    assert "### Losses" not in written(tmp_path / "b", records={"none": []})


def test_the_same_input_gives_the_same_files(tmp_path, ax):
    contents = []
    for name in ("a", "b"):
        folder = reports.write(tmp_path / name, title="t", results={"x": RESULT}, figures=[(ax, "alt")]).parent
        contents.append({file.name: file.read_bytes() for file in folder.iterdir()})
    assert contents[0] == contents[1] and str(tmp_path).encode() not in contents[0][reports.FILE_NAME]


def test_a_report_that_is_there_is_kept_until_told_and_until_the_new_one_is_whole(tmp_path, ax, monkeypatch):
    old = reports.write(tmp_path / "a", title="first", figures=[(ax, "alt")])
    before = old.read_bytes()
    refused("overwrite=True replaces it", written, tmp_path / "a", title="second")
    with monkeypatch.context() as full:
        full.setattr(os, "fsync", Mock(side_effect=OSError("the disk is full")))
        refused("the disk is full", written, tmp_path / "a", title="second", overwrite=True, error=OSError)
    assert old.read_bytes() == before and len(os.listdir(old.parent)) == 2
    assert written(tmp_path / "a", title="second", overwrite=True).startswith("# second")


def test_refuses_before_anything_is_written(tmp_path, ax):
    for folder, given, says in (
        ("a", {"title": " "}, "title"),
        ("a", {"sections": {"doubts": "x"}}, "no section named doubts; there are concepts, correctness, tricks"),
        ("none/a", {}, "is no folder: make it first"),
        ("a", {"figures": [(ax, "alt"), (ax, " ")]}, "figure 2 needs alternative text"),
    ):
        refused(says, written, tmp_path / folder, **given)
    assert not os.listdir(tmp_path)
