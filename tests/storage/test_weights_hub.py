"""Fetching from a hub that runs here: whole, broken off, altered, gone; and never without being asked."""

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
from tests.support import refused

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
        self.do_GET(body=False)

    def do_GET(self, body: bool = True) -> None:
        if self.gone:
            self.close_connection = True
            return
        path = self.path.partition("?")[0]
        self.log.append((self.command, path, self.headers.get("Range")))
        if path.startswith(f"/api/models/{REPOSITORY}"):
            listed = [self._entry(name) for name in self.files]  # newer editions of the library ask for the tree
            siblings = [{"rfilename": name} for name in self.files]
            about = {"id": REPOSITORY, "modelId": REPOSITORY, "sha": COMMIT, "siblings": siblings, "tags": []}
            said = listed if "/tree/" in path else about
            self._send(200, json.dumps(said).encode(), {"Content-Type": "application/json"}, body)
        elif path.startswith(f"/{REPOSITORY}/resolve/{COMMIT}/") and (name := path.rpartition("/")[2]) in self.files:
            self._file(name, body)
        else:
            self._send(404, b"", {"X-Error-Code": "RepoNotFound"}, body)

    def _entry(self, name: str) -> dict:
        stated, size = self.stated[name], len(self.files[name])
        lfs = {"oid": hashlib.sha256(stated).hexdigest(), "size": size, "pointerSize": 130}
        entry = {"type": "file", "path": name, "size": size, "oid": git_sha1(stated)}
        return entry | ({"lfs": lfs} if name in LARGE else {})

    def _file(self, name: str, body: bool) -> None:
        content, status, headers = self.files[name], 200, {}
        entry = self._entry(name)
        etag = entry.get("lfs", entry)["oid"]
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
    Own.close()


def fetch(hub: type[Hub], cache: Path, name: str = REPOSITORY) -> Path:
    return weights.fetch(name, cache=cache, endpoint=hub.endpoint)


def test_fetched_once_and_loaded(hub, tmp_path):
    folder = fetch(hub, tmp_path)
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "merges.txt", "model.safetensors"]
    assert weights.load(folder).config.vocab_size == 53 and weights.check_sums(folder) == 3
    hub.log.clear()
    assert fetch(hub, tmp_path) == folder
    assert not [entry for entry in hub.log if entry[0] == "GET" and "resolve" in entry[1]], "nothing came twice"


@pytest.fixture
def without_waiting(monkeypatch) -> None:
    """The library does not sleep between its tries."""
    monkeypatch.setattr(huggingface_hub.file_download.time, "sleep", lambda seconds: None)


def test_a_broken_download_goes_on_where_it_stopped(hub, tmp_path, monkeypatch, without_waiting):
    monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    hub.break_after = 20_000
    folder = fetch(hub, tmp_path)
    ranges = [entry[2] for entry in hub.log if entry[0] == "GET" and entry[1].endswith("model.safetensors")]
    assert ranges == [None, "bytes=20000-"], "what came is kept"
    assert (folder / "model.safetensors").read_bytes() == hub.files["model.safetensors"]


def test_a_hub_that_goes_away_in_the_middle(hub, tmp_path, without_waiting):
    hub.break_after, hub.dies = 20_000, True
    refused("Call again: files that are whole are kept", fetch, hub, tmp_path, error=ConnectionError)
    hub.gone = False
    assert weights.load(fetch(hub, tmp_path)).config.vocab_size == 53


@pytest.mark.parametrize("name", ["model.safetensors", "merges.txt"])
def test_an_altered_file_is_refused_and_removed(hub, tmp_path, name):
    whole = hub.files[name]
    hub.files[name] = whole[:-1] + bytes([whole[-1] ^ 1])
    refused(rf"{name.replace('.', '[.]')} is not what the hub states", fetch, hub, tmp_path)
    hub.files[name] = whole
    assert (fetch(hub, tmp_path) / name).read_bytes() == whole


def test_without_a_network_the_cache_serves(hub, tmp_path):
    folder = fetch(hub, tmp_path)
    hub.close()
    assert fetch(hub, tmp_path) == folder
    refused("or fetch it where there is a network", fetch, hub, tmp_path / "other", error=ConnectionError)


def test_what_is_not_there(hub, tmp_path):
    refused("no open model 'someone/else'", fetch, hub, tmp_path, "someone/else")
    refused(r"gpt2-124m, .*owner/name", fetch, hub, tmp_path, "gpt5")
    (tmp_path / "file").touch()
    refused("", fetch, hub, tmp_path / "file", error=OSError)
    del hub.files["model.safetensors"]
    assert (fetch(hub, tmp_path / "old") / "pytorch_model.bin").exists(), "where there is no other"
    hub.files["model.safetensors.index.json"] = b'{"weight_map": {"a": "model-1.safetensors"}}'
    hub.stated = hub.files
    del hub.files["pytorch_model.bin"]
    says = r"did not arrive whole: .* names 'model-1.safetensors'"
    refused(says, fetch, hub, tmp_path / "shards", error=ConnectionError)
    del hub.files["model.safetensors.index.json"]
    refused("holds no model", fetch, hub, tmp_path)


def test_without_the_library(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    refused("pip install huggingface_hub", weights.fetch, "gpt2-124m", cache=tmp_path, error=ImportError)
