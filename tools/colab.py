"""Pack the course for Colab: one zip with `helpers`, the notebooks and what they read; upload it, or keep it on Drive.

    python -m tools.colab [--out dist/pretraining-a-gpt.zip]

A notebook's first cell finds the zip beside it or on a mounted Drive, unpacks it, and puts it on Python's path. The
packages that notebook 08 scores with, and Colab lacks, lie in it as installed; all else Colab has.
"""

import argparse
import sys
import zipfile
from importlib import metadata
from pathlib import Path

from helpers.storage import write_aside
from tools import alone
from tools.notebooks import EDITIONS, ROOT, every_notebook, lecture_notes, read, records

NAME = "pretraining-a-gpt"
EXTRAS = ("sacrebleu", "rouge-score", "portalocker", "colorama")  # pure Python; pinned in requirements.txt
LAST = "helpers/runtime.py"  # in the zip: first cells take a folder for the course only where this file is


def contents() -> dict[str, Path]:
    """What goes into the zip, by its path there. PackageNotFoundError: a package of EXTRAS is not installed."""
    course = [ROOT / "LICENSE", *every_notebook()]
    course += [page for e in EDITIONS for page in lecture_notes(ROOT / e.folder)]
    course += [*records(ROOT), *(path for path in (ROOT / "helpers").rglob("*") if path.is_file())]
    extras = {Path(file): Path(file.locate()) for name in EXTRAS for file in metadata.files(name)}
    found = {path.relative_to(ROOT): path for path in course} | extras
    # neither hidden files nor a package's commands, which lie in ../../bin
    chosen = [to for to in found if "__pycache__" not in to.parts and not any(part[0] == "." for part in to.parts)]
    return {to.as_posix(): found[to] for to in sorted(chosen, key=lambda to: (to == Path(LAST), to))}


def pack(out: Path) -> Path:
    """Write the zip.

    OSError: no room, or a folder that takes nothing. PackageNotFoundError: see `contents`. ValueError: a notebook that
    is none.
    """
    for path in every_notebook():
        read(path)
    out.parent.mkdir(parents=True, exist_ok=True)
    with write_aside(out) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as archive:
        for to, path in contents().items():
            archive.write(path, f"{NAME}/{to}")
    return out


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "dist" / f"{NAME}.zip")
    out = parser.parse_args(arguments).out
    try:
        with alone(out):
            pack(out)
    except metadata.PackageNotFoundError as error:
        print(f"{out} was not written: {error.name} is not installed here. `make colab` installs it", file=sys.stderr)
        return 1
    except OSError as error:
        reason = error.__cause__ or error  # of storage's own words, which speak of checkpoints
        print(f"{out} was not written: {reason}. Mend that, or name another place with --out", file=sys.stderr)
        return 1
    except ValueError as error:
        print(f"{out} was not written: {error}", file=sys.stderr)
        return 1
    print(f"{out}: {out.stat().st_size / 1e6:.0f} MB. Upload it to Colab's files or to Drive, then open any notebook")
    return 0


if __name__ == "__main__":
    sys.exit(main())
