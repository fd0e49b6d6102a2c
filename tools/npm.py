"""JavaScript that pages need: brought once by `npm ci`, which verifies it by javascript/package-lock.json."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from filelock import FileLock

PATIENCE_S = 180  # npm alone waits for a silent network without an end
WANTED = Path(__file__).with_name("javascript")


def packages() -> Path:
    """The folder of the packages: packages() / "mathjax" / "es5".

    It is kept in $COURSE_CACHE, or ~/.cache/pretraining-a-gpt; two processes at once wait for each other.
    ConnectionError: npm is missing or brought nothing.
    """
    folder = Path(os.environ.get("COURSE_CACHE") or Path.home() / ".cache" / "pretraining-a-gpt").expanduser() / "npm"
    folder.mkdir(parents=True, exist_ok=True)
    lock, whole = WANTED / "package-lock.json", folder / "node_modules" / "whole.json"
    with FileLock(folder / ".lock"):
        if not whole.is_file() or whole.read_bytes() != lock.read_bytes():
            if not (npm := shutil.which("npm")):
                raise ConnectionError("npm, which fetches reveal.js and MathJax once, is not installed")
            shutil.copytree(WANTED, folder, dirs_exist_ok=True)
            command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1"]
            print(f"npm fetches reveal.js and MathJax, once, in {PATIENCE_S} s at most", file=sys.stderr)
            kept = {"cwd": folder, "capture_output": True, "text": True, "errors": "replace"}
            try:
                done = subprocess.run(command, timeout=PATIENCE_S, **kept)
            except subprocess.TimeoutExpired:
                raise ConnectionError(
                    f"npm did not bring them within {PATIENCE_S} s: does the network answer?"
                ) from None
            if done.returncode:
                said = "; ".join(line for line in done.stderr.splitlines() if "error" in line.lower())[:300]
                raise ConnectionError(f"npm did not bring reveal.js and MathJax ({said}). Run again with a network")
            shutil.copy(lock, whole)
    return folder / "node_modules"
