"""Published weights fetched from the Hugging Face hub: only when asked, resumed where it broke off, verified."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import urllib.error
import urllib.request
from fnmatch import fnmatch
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo, RepoSibling

PUBLISHED = {
    "gpt2-124m": "openai-community/gpt2",
    "gpt2-355m": "openai-community/gpt2-medium",
    "gpt2-774m": "openai-community/gpt2-large",
    "gpt2-1558m": "openai-community/gpt2-xl",
    "opt-125m": "facebook/opt-125m",
}
SMALL_FILES = (
    "config.json", "vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
)  # fmt: skip
SAFE_FILES, BIN_FILE = ("model.safetensors", "model.safetensors.index.json", "model-*.safetensors"), "pytorch_model.bin"
BLOCK_BYTES = 1 << 20
TIMEOUT_SECONDS = 60
CLIENTS = ("requests", "urllib3", "httpx", "httpx2", "httpcore", "httpcore2", "huggingface_hub")
HOW_ELSE = "fetch it where there is a network, and give `load` the folder"


def fetch(name: str, *, revision: str = "main", cache: str | Path | None = None) -> Path:
    """Download a published model, once, and return its folder for `load`. The one function here that uses a network.

    name      a preset such as "gpt2-124m" or "opt-125m", or a repository of the hub, "owner/name"
    revision  a commit, tag or branch; a commit makes it repeatable
    cache     folder of the downloads; None: $COURSE_CACHE, or ~/.cache/pretraining-a-gpt

    A download that broke off goes on where it stopped, also in another process. Each file's size and sum are compared
    with the hub's: sha256 of the large ones, git's sha1 of the others; only then does it get its name. Weights are
    taken as safetensors where there are any, else as pytorch_model.bin; tokenizer files come along. Without a network,
    what was fetched before is returned.

    ImportError: huggingface_hub is not installed. ValueError: no such repository, revision or weights there, or a file
    whose sum is not the hub's. ConnectionError: the hub cannot be reached and nothing was fetched before, or a
    download broke off. OSError: no room, or no permission.
    """
    hub = _library()
    repository = PUBLISHED.get(name, name)
    if repository.count("/") != 1:
        raise ValueError(f"name must be one of {', '.join(PUBLISHED)}, or owner/name on the hub, got {name!r}")
    shelf = _cache_folder(cache) / repository.replace("/", "--")
    known = shelf / "revisions" / revision.replace("/", "--")
    try:
        info = hub.HfApi().model_info(repository, revision=revision, files_metadata=True)
    except Exception as error:
        if not _is_of_network(error):
            raise
        if _status(error) in (401, 403, 404):
            raise ValueError(f"the hub has no open model {repository!r} at revision {revision!r}: {error}") from error
        if known.exists():
            return shelf / known.read_text(encoding="utf-8")
        raise ConnectionError(
            f"the hub cannot be reached ({type(error).__name__}), and {repository} was not fetched before: {HOW_ELSE}"
        ) from error
    folder = shelf / info.sha
    folder.mkdir(parents=True, exist_ok=True)
    for file in _choose(info, repository):
        if not (folder / file.rfilename).exists():
            url = hub.hf_hub_url(repository, file.rfilename, revision=info.sha)
            _download(url, hub.utils.build_hf_headers(), folder / file.rfilename, file)
    known.parent.mkdir(exist_ok=True)
    known.write_text(info.sha, encoding="utf-8")
    return folder


def _cache_folder(cache: str | Path | None) -> Path:
    return Path(cache or os.environ.get("COURSE_CACHE") or Path.home() / ".cache" / "pretraining-a-gpt").expanduser()


def _library() -> object:
    try:
        import huggingface_hub
    except ImportError as error:
        raise ImportError(
            "downloading needs huggingface_hub: pip install huggingface_hub; without it, " + HOW_ELSE
        ) from error
    return huggingface_hub


def _is_of_network(error: Exception) -> bool:
    """Whether the library's client failed: requests or one of httpx's generations, by the library's version."""
    return isinstance(error, OSError) or type(error).__module__.partition(".")[0] in CLIENTS


def _status(error: Exception) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def _choose(info: ModelInfo, repository: str) -> list[RepoSibling]:
    by_name = {file.rfilename: file for file in info.siblings or []}
    safe = [name for name in by_name if any(fnmatch(name, pattern) for pattern in SAFE_FILES)]
    weights = safe or [name for name in by_name if name == BIN_FILE]
    if "config.json" not in by_name or not weights:
        raise ValueError(
            f"{repository} holds no model for `load`: expected config.json and {SAFE_FILES[0]} or {BIN_FILE}, "
            f"got {', '.join(sorted(by_name)) or 'nothing'}"
        )
    return [by_name[name] for name in (*(n for n in SMALL_FILES if n in by_name), *sorted(weights))]


def _download(url: str, headers: dict[str, str], path: Path, file: RepoSibling) -> None:
    """Fetch what is still missing into `path`.part, and give it its name once it is what the hub states."""
    part = path.with_name(path.name + ".part")
    have = part.stat().st_size if part.exists() else 0
    if have > file.size:
        part.unlink()
        have = 0
    if have < file.size or not part.exists():
        asked = urllib.request.Request(url, headers=headers | ({"Range": f"bytes={have}-"} if have else {}))
        try:
            with urllib.request.urlopen(asked, timeout=TIMEOUT_SECONDS) as answer:
                goes_on = answer.status == HTTPStatus.PARTIAL_CONTENT
                with part.open("ab" if goes_on else "wb") as opened:
                    shutil.copyfileobj(answer, opened, BLOCK_BYTES)
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
            raise ConnectionError(_broken(file, part, error)) from error
        if part.stat().st_size < file.size:
            raise ConnectionError(_broken(file, part, "the connection was closed"))
    _verify(part, file)
    os.replace(part, path)


def _broken(file: RepoSibling, part: Path, why: object) -> str:
    have = part.stat().st_size if part.exists() else 0
    return (
        f"{file.rfilename}: {have:,} of {file.size:,} bytes arrived ({why}). Call again: it goes on where it stopped; "
        f"or {HOW_ELSE}"
    )


def _verify(path: Path, file: RepoSibling) -> None:
    """ValueError: not the size or the sum that the hub states; the file is removed."""
    size = path.stat().st_size
    if file.lfs is not None:
        kind, expected, sum_ = "sha256", file.lfs.sha256, hashlib.sha256()
    else:
        kind, expected, sum_ = "git sha1", file.blob_id, hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as opened:
        while block := opened.read(BLOCK_BYTES):
            sum_.update(block)
    if size != file.size or sum_.hexdigest() != expected:
        path.unlink()
        raise ValueError(
            f"{file.rfilename} is not what the hub states: expected {file.size} bytes with {kind} {expected}, got "
            f"{size} with {sum_.hexdigest()}. It was removed; call again"
        )
