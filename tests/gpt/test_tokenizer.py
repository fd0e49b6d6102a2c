"""GPT-2's ids, offline, from files that are the published ones."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.gpt import tokenizer

SENTENCES = {
    "every effort moves": [16833, 3626, 6100],
    " effort moves you": [3626, 6100, 345],
    "I really like": [40, 1107, 588],
    " really like chocolate": [1107, 588, 11311],
}


@pytest.mark.parametrize(("text", "ids"), SENTENCES.items())
def test_ids_of_the_class(text, ids):
    assert tokenizer.gpt2().encode(text) == ids
    assert tokenizer.gpt2().decode(ids) == text


def test_vocabulary():
    encoding = tokenizer.gpt2()
    assert encoding.n_vocab == 50257
    assert encoding.encode(tokenizer.END_OF_TEXT, allowed_special={tokenizer.END_OF_TEXT}) == [50256]


@given(st.text(max_size=60))
def test_every_text_survives_the_round_trip(text):
    assert tokenizer.gpt2().decode(tokenizer.gpt2().encode(text, disallowed_special=())) == text


def test_labels_show_leading_spaces():
    assert tokenizer.token_labels([3626, 198]) == ["' effort'", r"'\n'"]
    with pytest.raises(ValueError, match="50257"):
        tokenizer.token_labels([50300])


@pytest.mark.parametrize("variables", [{"TIKTOKEN_CACHE_DIR": "", "DATA_GYM_CACHE_DIR": "here"}, {}])
def test_other_cache_variables_cannot_lead_to_the_network(monkeypatch, tmp_path, variables):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "")
    monkeypatch.delenv("DATA_GYM_CACHE_DIR", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value and str(tmp_path / value))
    tokenizer._fill_tiktoken_cache()
    folder = Path(os.environ["TIKTOKEN_CACHE_DIR"])
    assert (folder == tmp_path / "here") == bool(variables)
    assert all((folder / cache_name).exists() for cache_name, _ in tokenizer.PUBLISHED.values())


def test_plain_tiktoken_works_unplugged_afterwards(tmp_path):
    code = (
        "import socket\n"
        "def refuse(*a, **k): raise OSError('no network here')\n"
        "socket.socket.connect = refuse; socket.getaddrinfo = refuse\n"
        "from helpers.gpt import tokenizer; tokenizer.gpt2()\n"
        "import tiktoken; print(tiktoken.get_encoding('gpt2').encode(' effort moves you'))\n"
    )
    environment = {"TIKTOKEN_CACHE_DIR": str(tmp_path), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environment)
    assert done.stdout.strip() == "[3626, 6100, 345]", done.stderr
    assert {p.name for p in tmp_path.iterdir()} == {cache_name for cache_name, _ in tokenizer.PUBLISHED.values()}


def test_a_damaged_cache_is_mended(monkeypatch, tmp_path):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    cache_name, sha256 = tokenizer.PUBLISHED["vocab.bpe"]
    (tmp_path / cache_name).write_text("not the file")
    tokenizer._fill_tiktoken_cache()
    assert tokenizer._sha256(tmp_path / cache_name) == sha256


def test_an_asset_that_is_not_the_published_one_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(tokenizer, "ASSETS", tmp_path)
    with pytest.raises(ValueError, match="no file"):
        tokenizer._fill_tiktoken_cache()
    (tmp_path / "vocab.bpe").write_text("altered")
    with pytest.raises(ValueError, match="restore it"):
        tokenizer._fill_tiktoken_cache()
