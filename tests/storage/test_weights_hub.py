"""Fetching from a hub that runs here: whole, broken off, altered, gone; and never without being asked."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

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
    gone = False  # after a break nobody answers any more

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
            self._send(200, json.dumps(self._info()).encode(), {"Content-Type": "application/json"}, body)
        elif path.startswith(f"/{REPOSITORY}/resolve/{COMMIT}/") and (name := path.rpartition("/")[2]) in self.files:
            self._file(name, body)
        else:
            self._send(404, b"", {"X-Error-Code": "RepoNotFound"}, body)

    def _info(self) -> dict:
        siblings = []
        for name, content in self.stated.items():
            entry = {"rfilename": name, "size": len(content), "blobId": git_sha1(content)}
            if name in LARGE:
                entry["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
            siblings.append(entry)
        return {"id": REPOSITORY, "modelId": REPOSITORY, "sha": COMMIT, "siblings": siblings, "tags": []}

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
            type(self).gone = True
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
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    Own.close = lambda: (server.shutdown(), server.server_close())
    yield Own
    server.shutdown()
    server.server_close()


def test_fetched_once_and_loaded(hub, tmp_path):
    folder = weights.fetch(REPOSITORY, cache=tmp_path)
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "merges.txt", "model.safetensors"]
    assert weights.load(folder).config.vocab_size == 53
    hub.log.clear()
    assert weights.fetch(REPOSITORY, cache=tmp_path) == folder
    assert not [entry for entry in hub.log if entry[0] == "GET" and "resolve" in entry[1]], "nothing came twice"


def test_a_broken_download_goes_on_where_it_stopped(hub, tmp_path):
    hub.break_after = 20_000
    with pytest.raises(ConnectionError, match=r"model\.safetensors: 20,000 of .* goes on where it stopped"):
        weights.fetch(REPOSITORY, cache=tmp_path)
    hub.break_after, hub.gone = None, False
    hub.log.clear()
    folder = weights.fetch(REPOSITORY, cache=tmp_path)
    ranges = [entry[2] for entry in hub.log if entry[0] == "GET" and entry[1].endswith("model.safetensors")]
    assert ranges == ["bytes=20000-"], "what came is kept"
    assert (folder / "model.safetensors").read_bytes() == hub.files["model.safetensors"]


@pytest.mark.parametrize("name", ["model.safetensors", "merges.txt"])
def test_an_altered_file_is_refused_and_removed(hub, tmp_path, name):
    content = bytearray(hub.files[name])
    content[-1] ^= 1
    hub.files[name] = bytes(content)
    with pytest.raises(ValueError, match=rf"{name.replace('.', '[.]')} is not what the hub states"):
        weights.fetch(REPOSITORY, cache=tmp_path)
    hub.files[name] = hub.stated[name]
    folder = weights.fetch(REPOSITORY, cache=tmp_path)
    assert (folder / name).read_bytes() == hub.stated[name]


def test_without_a_network_the_cache_serves(hub, tmp_path):
    folder = weights.fetch(REPOSITORY, cache=tmp_path)
    hub.close()
    assert weights.fetch(REPOSITORY, cache=tmp_path) == folder
    with pytest.raises(ConnectionError, match="not fetched before: fetch it where there is a network"):
        weights.fetch(REPOSITORY, cache=tmp_path / "other")


def test_what_is_not_there(hub, tmp_path):
    with pytest.raises(ValueError, match="no open model 'someone/else'"):
        weights.fetch("someone/else", cache=tmp_path)
    with pytest.raises(ValueError, match=r"gpt2-124m, .*owner/name"):
        weights.fetch("gpt5", cache=tmp_path)
    del hub.stated["model.safetensors"], hub.stated["pytorch_model.bin"]
    with pytest.raises(ValueError, match="holds no model"):
        weights.fetch(REPOSITORY, cache=tmp_path)


def test_the_old_format_is_taken_where_there_is_no_other(hub, tmp_path):
    del hub.stated["model.safetensors"]
    assert (weights.fetch(REPOSITORY, cache=tmp_path) / "pytorch_model.bin").exists()


def test_without_the_library(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match="pip install huggingface_hub"):
        weights.fetch("gpt2-124m", cache=tmp_path)
