"""Pack the course for Colab: one zip with `helpers`, the notebooks and what they read; upload it, or keep it on Drive.

    python -m tools.colab [--out dist/pretraining-a-gpt.zip]

A notebook's first cell finds the zip beside it or on a mounted Drive, unpacks it, and puts it on Python's path. The
packages that notebook 08 scores with, and Colab lacks, lie in it as installed; all else Colab has.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from helpers.storage import write_aside
from tools.notebooks import ROOT

NAME = "pretraining-a-gpt"
EXTRAS = ("sacrebleu", "rouge-score", "portalocker", "colorama")  # pure Python; pinned in requirements.txt
FOLDERS = ("notebooks", "lecture_notes", "pt-BR")
LAST = "helpers/runtime.py"  # in the zip: first cells take a folder for the course only where this file is
LEFT_OUT = shutil.ignore_patterns(".ipynb_checkpoints", "images")


def pack(out: Path) -> Path:
    """Write the zip; the installed package brings its own data. OSError: no room. CalledProcessError: pip failed."""
    with tempfile.TemporaryDirectory() as aside:
        course, source = Path(aside, "zipped", NAME), Path(aside, "source")
        shutil.copytree(ROOT / "helpers", source / "helpers", ignore=shutil.ignore_patterns("__pycache__"))
        for file in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / file, source)  # a copy: beside the course, setuptools packs old modules of build/lib too
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--no-deps"]
        subprocess.run([*pip, "--no-build-isolation", "--target", course, str(source)], check=True, cwd=aside)
        subprocess.run([*pip, "--target", course, "-c", ROOT / "requirements.txt", *EXTRAS], check=True, cwd=aside)
        for folder in FOLDERS:
            shutil.copytree(ROOT / folder, course / folder, ignore=LEFT_OUT)
        out.parent.mkdir(parents=True, exist_ok=True)
        with write_aside(out) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(course.rglob("*"), key=lambda path: (path == course / LAST, path)):
                archive.write(path, path.relative_to(course.parent))
    return out


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "dist" / f"{NAME}.zip")
    out = parser.parse_args(arguments).out
    try:
        pack(out)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"{out} was not written: {error}"[:300], file=sys.stderr)
        return 1
    print(f"{out}: {out.stat().st_size / 1e6:.0f} MB. Upload it to Colab's files or to Drive, then open any notebook")
    return 0


if __name__ == "__main__":
    sys.exit(main())
