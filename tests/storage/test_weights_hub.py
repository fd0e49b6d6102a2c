"""Fetching from a hub that runs here: whole, broken off, altered, gone; and never without being asked."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import pytest
import torch
import transformers

from helpers.storage import weights

REPOSITORY, COMMIT = "someone/small", "0123456789abcdef0123456789abcdef01234567"
LARGE = ("model.safetensors", "pytorch_model.bin")


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as the library asks for: what a repository holds, and its files, also from a byte on."""

    files: dict[str, bytes]
    stated: dict[str, bytes]  # what the sums are of
    break_after: int | None
    log: list[tuple[str, str, str | None]]
    dies = gone = False  # after a break nobody answers any more

    def log_message(self, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(False)

    def do_GET(self) -> None:
        self._answer(True)

    def _answer(self, body: bool) -> None:
        if self.gone:
            self.close_connection = True
            return
        path = self.path.partition("?")[0]
        self.log.append((self.command, path, self.headers.get("Range")))
        if path.startswith(f"/api/models/{REPOSITORY}"):
            said = self._tree() if "/tree/" in path else self._info()
            self._send(200, json.dumps(said).encode(), {"Content-Type": "application/json"}, body)
        elif path.startswith(f"/{REPOSITORY}/resolve/{COMMIT}/") and (name := path.rpartition("/")[2]) in self.files:
            self._file(name, body)
        else:
            self._send(404, b"", {"X-Error-Code": "RepoNotFound"}, body)

    def _info(self) -> dict:
        siblings = [{"rfilename": name} for name in self.files]
        return {"id": REPOSITORY, "modelId": REPOSITORY, "sha": COMMIT, "siblings": siblings, "tags": []}

    def _tree(self) -> list[dict]:
        """What newer editions of the library ask for instead."""
        entries = []
        for name, content in self.files.items():
            entry = {"type": "file", "path": name, "size": len(content), "oid": git_sha1(self.stated[name])}
            if name in LARGE:
                oid = hashlib.sha256(self.stated[name]).hexdigest()
                entry["lfs"] = {"oid": oid, "size": len(content), "pointerSize": 130}
            entries.append(entry)
        return entries

    def _file(self, name: str, body: bool) -> None:
        content, status, headers = self.files[name], 200, {}
        stated = self.stated[name]
        etag = hashlib.sha256(stated).hexdigest() if name in LARGE else git_sha1(stated)
        if asked := self.headers.get("Range"):
            start = int(asked.removeprefix("bytes=").partition("-")[0])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            content, status = content[start:], 206
        headers |= {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        self._send(status, content, headers, body)

    def _send(self, status: int, content: bytes, headers: dict, body: bool) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body and self.break_after is not None and len(content) > self.break_after:
            self.wfile.write(content[: self.break_after])
            self.close_connection = True
            type(self).break_after, type(self).gone = None, self.dies
        elif body:
            self.wfile.write(content)


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("published")
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=53, n_positions=23, n_embd=28, n_head=7, n_layer=3)
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    return {name: (folder / name).read_bytes() for name in ("config.json", "model.safetensors")} | {
        "README.md": b"not wanted",
        "pytorch_model.bin": b"not wanted where there are safetensors",
        "merges.txt": b"#version: 0.2\n",
    }


@pytest.fixture
def hub(files, monkeypatch) -> Iterator[type[Hub]]:
    class Own(Hub):
        pass

    Own.files, Own.stated, Own.break_after, Own.log = dict(files), dict(files), None, []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Own)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    Own.endpoint = f"http://127.0.0.1:{server.server_port}"
    Own.close = lambda: (server.shutdown(), server.server_close())
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)  # this one is on this machine
    yield Own
    server.shutdown()
    server.server_close()


def fetch(hub: type[Hub], cache: Path, name: str = REPOSITORY) -> Path:
    return weights.fetch(name, cache=cache, endpoint=hub.endpoint)


def test_fetched_once_and_loaded(hub, tmp_path):
    folder = fetch(hub, tmp_path)
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "merges.txt", "model.safetensors"]
    assert weights.load(folder).config.vocab_size == 53 and weights.check_sums(folder) == 3
    hub.log.clear()
    assert fetch(hub, tmp_path) == folder
    assert not [entry for entry in hub.log if entry[0] == "GET" and "resolve" in entry[1]], "nothing came twice"


def test_a_broken_download_goes_on_where_it_stopped(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.file_download.time, "sleep", lambda seconds: None)  # its waits between tries
    monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    hub.break_after = 20_000
    folder = fetch(hub, tmp_path)
    ranges = [entry[2] for entry in hub.log if entry[0] == "GET" and entry[1].endswith("model.safetensors")]
    assert ranges == [None, "bytes=20000-"], "what came is kept"
    assert (folder / "model.safetensors").read_bytes() == hub.files["model.safetensors"]


def test_a_hub_that_goes_away_in_the_middle(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.file_download.time, "sleep", lambda seconds: None)
    hub.break_after, hub.dies = 20_000, True
    with pytest.raises(ConnectionError, match="Call again: files that are whole are kept"):
        fetch(hub, tmp_path)
    hub.gone = False
    assert weights.load(fetch(hub, tmp_path)).config.vocab_size == 53


@pytest.mark.parametrize("name", ["model.safetensors", "merges.txt"])
def test_an_altered_file_is_refused_and_removed(hub, tmp_path, name):
    content = bytearray(hub.files[name])
    content[-1] ^= 1
    hub.files[name] = bytes(content)
    with pytest.raises(ValueError, match=rf"{name.replace('.', '[.]')} is not what the hub states"):
        fetch(hub, tmp_path)
    hub.files[name] = hub.stated[name]
    folder = fetch(hub, tmp_path)
    assert (folder / name).read_bytes() == hub.stated[name]


def test_without_a_network_the_cache_serves(hub, tmp_path):
    folder = fetch(hub, tmp_path)
    hub.close()
    assert fetch(hub, tmp_path) == folder
    with pytest.raises(ConnectionError, match="or fetch it where there is a network"):
        fetch(hub, tmp_path / "other")


def test_what_is_not_there(hub, tmp_path):
    with pytest.raises(ValueError, match="no open model 'someone/else'"):
        fetch(hub, tmp_path, "someone/else")
    with pytest.raises(ValueError, match=r"gpt2-124m, .*owner/name"):
        fetch(hub, tmp_path, "gpt5")
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        fetch(hub, tmp_path / "file")
    hub.files["model.safetensors.index.json"] = b'{"weight_map": {"a": "model-1.safetensors"}}'
    hub.stated = hub.files
    del hub.files["model.safetensors"], hub.files["pytorch_model.bin"]
    with pytest.raises(ConnectionError, match=r"did not arrive whole: .* names 'model-1.safetensors'"):
        fetch(hub, tmp_path / "shards")
    del hub.files["model.safetensors.index.json"]
    with pytest.raises(ValueError, match="holds no model"):
        fetch(hub, tmp_path)


def test_the_old_format_is_taken_where_there_is_no_other(hub, tmp_path):
    del hub.files["model.safetensors"]
    assert (fetch(hub, tmp_path) / "pytorch_model.bin").exists()


def test_without_the_library(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match="pip install huggingface_hub"):
        weights.fetch("gpt2-124m", cache=tmp_path)
