"""JavaScript that pages need, out of packages of the npm registry: brought once by `npm pack`, every byte verified."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path

from filelock import FileLock

MATHJAX = ("mathjax", "3.2.2", "1b9c0a1c44df864e915690558e72adb9cc5203360daefd385084ced3b6c64c09")
MATHJAX_FILES = ("es5/tex-chtml.js", "es5/output/chtml/fonts/woff-v2/")
REVEAL = ("reveal.js", "5.2.1", "359b575dd51bbda32f89b2fd4c7dc46ad7389a805572158916c29252f7a27333")
REVEAL_FILES = ("dist/reset.css", "dist/reveal.css", "dist/reveal.js", "plugin/notes/notes.js")


def package(name: str, version: str, sha256: str, files: Iterable[str] = ("",)) -> Path:
    """The folder with these files of a package, as they stand in it: package(*MATHJAX, MATHJAX_FILES) / "es5".

    name, version  of the package, the version exact
    sha256         of its archive as it was published
    files          paths in the package; one that ends in / stands for all below it, "" for everything

    It is kept in $COURSE_CACHE, or ~/.cache/pretraining-a-gpt; two processes at once wait for each other.
    ConnectionError: npm is missing or brought nothing. ValueError: other bytes (they are removed), or a missing file.
    """
    folder = Path(os.environ.get("COURSE_CACHE") or Path.home() / ".cache" / "pretraining-a-gpt").expanduser() / "npm"
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / f"{name.strip('@').replace('/', '-')}-{version}.tgz"
    chosen = tuple(f"package/{file}" for file in files)
    unpacked = folder / f"{archive.stem}-{hashlib.sha256(repr((sha256, chosen)).encode()).hexdigest()[:8]}"
    with FileLock(folder / ".lock"):
        if not unpacked.is_dir():
            if not archive.is_file():
                _download(f"{name}@{version}", archive)
            if (got := hashlib.sha256(archive.read_bytes()).hexdigest()) != sha256:
                archive.unlink()
                raise ValueError(
                    f"{archive} is not what was published: expected sha256 {sha256}, got {got}. Removed; run again"
                )
            _unpack(archive, chosen, unpacked)
    return unpacked


def _download(requirement: str, archive: Path) -> None:
    advice = f"Run again with a network; or get {archive.name} elsewhere, and put it into {archive.parent}"
    if not (npm := shutil.which("npm")):
        raise ConnectionError(f"{requirement} is not here, and npm, which fetches it, is not installed. {advice}")
    with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
        done = subprocess.run([npm, "pack", requirement], cwd=folder, capture_output=True, text=True, errors="replace")
        found = list(Path(folder).glob("*.tgz"))
        if done.returncode or len(found) != 1:
            said = "; ".join(line for line in done.stderr.splitlines() if "error" in line.lower())[:300]
            raise ConnectionError(f"npm did not bring {requirement} ({said or 'without a word'}). {advice}")
        found[0].replace(archive)


def _unpack(archive: Path, chosen: tuple[str, ...], target: Path) -> None:
    with tarfile.open(archive) as packed, tempfile.TemporaryDirectory(dir=target.parent) as folder:
        members = [m for m in packed if any(m.name == c or (c.endswith("/") and m.name.startswith(c)) for c in chosen)]
        missing = [c for c in chosen if not any(m.name.startswith(c) for m in members)]
        if missing:
            raise ValueError(f"{archive.name}: expected {', '.join(missing)} in it, got none of that name")
        packed.extractall(folder, members, filter="data")
        (Path(folder) / "package").replace(target)
