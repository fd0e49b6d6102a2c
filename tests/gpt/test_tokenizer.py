"""GPT-2's ids, offline, from files that are the published ones."""

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from helpers.gpt import tokenizer
from tests.support import refused

SENTENCES = {
    "every effort moves": [16833, 3626, 6100],
    " effort moves you": [3626, 6100, 345],
    "I really like": [40, 1107, 588],
    " really like chocolate": [1107, 588, 11311],
}


def test_ids_of_the_class():
    encoding = tokenizer.gpt2()
    for text, ids in SENTENCES.items():
        assert encoding.encode(text) == ids and encoding.decode(ids) == text
    assert encoding.n_vocab == 50257
    assert encoding.encode(tokenizer.END_OF_TEXT, allowed_special={tokenizer.END_OF_TEXT}) == [50256]
    assert tokenizer.token_labels([3626, 198]) == ["' effort'", r"'\n'"], "leading spaces are seen"
    refused("50257", tokenizer.token_labels, [50300])


@given(st.text(max_size=60))
def test_every_text_survives_the_round_trip(text):
    assert tokenizer.gpt2().decode(tokenizer.gpt2().encode(text, disallowed_special=())) == text


def test_plain_tiktoken_works_unplugged_afterwards(tmp_path):
    code = (
        "import socket\n"
        "def refuse(*a, **k): raise OSError('no network here')\n"
        "socket.socket.connect = refuse; socket.getaddrinfo = refuse\n"
        "from helpers.gpt import gpt2; gpt2()\n"
        "import tiktoken; print(tiktoken.get_encoding('gpt2').encode(' effort moves you'))\n"
    )
    environment = {"TIKTOKEN_CACHE_DIR": str(tmp_path), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environment)
    assert done.stdout.strip() == "[3626, 6100, 345]", done.stderr
    assert not list(tmp_path.iterdir()), "nothing is copied and nothing fetched"


def test_an_asset_that_is_not_the_published_one_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(tokenizer, "VOCABULARY", tmp_path / "encoder.json")
    refused("no file", tokenizer.gpt2.__wrapped__)
    (tmp_path / "encoder.json").write_text("altered")
    refused("restore it", tokenizer.gpt2.__wrapped__)


def test_a_million_spaces_are_encoded():
    """Where tiktoken alone ends with an error that no `except Exception` catches."""
    text = "a" + " " * 10**6 + "b" + tokenizer.END_OF_TEXT
    plain, special = (tokenizer.encode(tokenizer.gpt2(), text, special) for special in (False, True))
    assert tokenizer.gpt2().decode(plain) == tokenizer.gpt2().decode(special) == text
    assert plain[-1] != 50256 == special[-1]
