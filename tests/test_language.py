"""A message is said in the chosen language; a finished sentence is found by its template, and quotes are left alone."""

import json
import time

import pytest
from py_mini_racer import MiniRacer

from helpers import language, runtime
from helpers.classroom import Mistake, check, exercises, reveal
from helpers.labs import budget
from tests.cards import FOLDER

SAID = {
    "After “{text}” comes {what}": "Depois de “{text}” vem {what}",
    "{case}: expected {wanted}, got {came}. {thought}": "{case}: veio {came} em vez de {wanted}. {thought}",
    "case {n}": "caso {n}",
    "Which step comes first?": "Qual passo vem primeiro?",
    "not yet": "ainda não",
    "{n} token{'s' * (n > 1)}": "{n} token{'s' * (n > 1)}",
    "hours": "horas",
    "mean": "média",
    "result: {readable(measured)}{unit}": "resultado: {readable(measured)}{unit}",
    " · you said {readable(guess)}{told}: {_distance(guess, measured)}": (
        " · você disse {readable(guess)}{told}: {_distance(guess, measured)}"
    ),
    "not this time. Why?": "não desta vez. Por quê?",
    " as perplexity": " como perplexidade",
    "million": "milhão",
    "billion": "bilhão",
    "{n} tokens at {rate} tokens/s take {time}.": "{n} tokens a {rate} tokens/s levam {time}.",
}


@pytest.fixture
def portuguese(tmp_path, monkeypatch):
    (tmp_path / "pt_BR.json").write_text(json.dumps(SAID), encoding="utf-8")
    monkeypatch.setattr(language, "LOCALE", tmp_path)
    runtime.start(language="pt_BR")


SENTENCES = {
    "After “mean hours” comes mean": "Depois de “mean hours” vem média",
    "case 2: expected 3 hours, got 4. Which step comes first?": (
        "caso 2: veio 4 em vez de 3 horas. Qual passo vem primeiro?"
    ),
    "not yet. case 1: expected 1, got 2. Which step comes first?": (
        "ainda não. caso 1: veio 2 em vez de 1. Qual passo vem primeiro?"
    ),
    "not yet: 2.0 hours": "ainda não: 2.0 horas",
    "3 tokens": "3 tokens",
    "not yet: 4.0000 as perplexity": "ainda não: 4.0000 como perplexidade",
    "' mean'": "' mean'",
    "“mean hours”": "“mean hours”",
    "meaning": "meaning",
    "": "",
    "12.5 %": "12.5 %",
    "not yet: " * 250: "ainda não: " * 222 + "not yet: " * 28,
    "1.99 million": "1.99 milhão",
    "21 billion": "21 bilhões",
    "1,000 billion": "1,000 bilhões",
    "1 million tokens at 15,000 tokens/s take 2 hours.": "1 milhão de tokens a 15,000 tokens/s levam 2 horas.",
    "300 billion tokens at 1.5 million tokens/s take 2 hours.": (
        "300 bilhões de tokens a 1.5 milhão de tokens/s levam 2 horas."
    ),
}


PIECES = ("palavra ", "a: b, c. (d) = e × f; g of h and i, got j. ", "expected 3, got 4. ", "not yet. ", ": ")


def test_a_long_text_is_said_at_once():
    """A regular expression with several placeholders took minutes for a thousand characters, and so did a check."""
    language.choose("pt_BR")
    started = time.monotonic()
    for piece in PIECES:
        text = "not yet. Your function raised ValueError: " + piece * (20_000 // len(piece))
        assert language.spoken(text).startswith("ainda não. ") and language.spoken(text).endswith(text[-999:])
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(("english", "said"), SENTENCES.items())
def test_a_finished_sentence_is_found_by_its_template(english, said, portuguese):
    assert language.spoken(english) == said


def test_the_page_has_the_same_rule(portuguese):
    script = (FOLDER / "runtime.js").read_text(encoding="utf-8")
    everything = "\n".join(SAID)
    assert len(language.said_in(everything)) == len(SAID)
    v8 = MiniRacer()
    said = f"const SAID = {json.dumps(language.said_in(everything))}, AGREE = {json.dumps(language.agreement())};"
    v8.eval(script.replace("const SAID = [], AGREE = [];", said))
    assert {english: v8.eval(f"spoken({json.dumps(english)})") for english in SENTENCES} == SENTENCES


def test_a_count_agrees_with_its_number_and_a_page_gets_what_its_script_can_say(portuguese):
    assert [budget.readable_count(n) for n in (1.9e6, 2e6, 999.6e9)] == ["1.9 milhão", "2 milhões", "1 trillion"]
    assert language.t("{n} tokens", n=budget.readable_count(3e6)) == "3 milhões de tokens"
    found = language.said_in("const unit = 'hours'; const what = `me` + \"an\";")
    assert found == [("hours", "horas"), ("mean", "média")]


def test_english_is_left_as_it_is():
    assert language.agreement() == []
    assert [language.spoken(english) for english in SENTENCES] == list(SENTENCES)
    assert language.t("{n:,} tokens", n=1000) == "1,000 tokens"
    with pytest.raises(ValueError, match="no language 'xx'; there are en, "):
        runtime.start(language="xx")


def test_check_and_reveal_speak_it(capsys, monkeypatch, portuguese):
    monkeypatch.setattr(
        exercises.grader, "CHECKS", dict(exercises.grader.CHECKS)
    )  # what is registered here is gone afterwards

    @exercises.grader.register("language-example")
    def wrong(answer):
        raise Mistake("case 1: expected 2, got 3. Which step comes first?")

    check("language-example", lambda: 3)
    reveal("mean", "hours")
    said = capsys.readouterr().out
    assert said.startswith("language-example: ainda não. caso 1: veio 3 em vez de 2. Qual passo vem primeiro?")
    assert "resultado: horas · você disse média: não desta vez. Por quê?" in said
