"""Keep the notebooks uniform: `stamp` their badges and first cells, `run` and store outputs, `tidy` their metadata.

    python -m tools.notebooks stamp [--check] [NOTEBOOK ...]
    python -m tools.notebooks run [NOTEBOOK ...]
    python -m tools.notebooks tidy [--check] [NOTEBOOK ...]
    python -m tools.notebooks trust

The repository's address stands once, in pyproject.toml under [project.urls]; `stamp` carries it everywhere else.
"""

import argparse
import asyncio
import hashlib
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlparse

import nbformat
from nbclient import NotebookClient
from nbformat.sign import NotebookNotary

from tools import alone

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
CELL_TIMEOUT_S = 120
NUMBERED = re.compile(r"[0-9]{2}_[a-z0-9_]+\.ipynb")  # what the course calls its notebooks; the Makefile too
NOTES, RECORD = re.compile(r"[a-z0-9_]+\.md"), re.compile(r"[a-z_]+_(cpu|cuda)\.json")
KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
KEPT_CELL_METADATA = {"tags", "jupyter"}
FOLDED = "hide-input"  # the tag; what JupyterLab folds by is `source_hidden`
MAX_OPEN_LINES = 12  # of the code of a figure: more would push the figure off a laptop's screen
Change = Callable[[nbformat.NotebookNode, Path], None]
BADGE_ID = "badge"
SETUP_ID = "setup"
README_START, README_END = "<!-- colab table: written by `make stamp` -->", "<!-- end of colab table -->"

COLAB = "https://colab.research.google.com/github/"


class Edition(NamedTuple):
    """One language of the course: its files stand below `folder`, and `stamp` writes the rest into them."""

    language: str  # as `helpers.language` has it
    lang: str  # as HTML says it
    name: str
    folder: str
    readme: str
    badge: str
    other: str  # the link to the other edition
    start: str  # arguments of the first cell's `runtime.start`
    nothing_found: str


ENGLISH = Edition(
    "en",
    "en",
    "English",
    "",
    "README.md",
    "[Open in Colab]({colab}) · [lecture notes]({notes}), also [online]({blob}/{notes_file}) "
    "· prose CC BY 4.0, code MIT",
    "em português",
    "seed=0",
    '`helpers` is not here.\\nOn Colab upload"\n'
    '        " all of pretraining-a-gpt.zip (`make colab`)\\nor mount Drive; else `make lab`.\\nThen again.',
)
PORTUGUESE = Edition(
    "pt_BR",
    "pt-BR",
    "Português",
    "pt-BR/",
    "README.pt-BR.md",
    "[Abrir no Colab]({colab}) · [notas de aula]({notes}), também [on-line]({blob}/{notes_file}) "
    "· texto CC BY 4.0, código MIT",
    "in English",
    'seed=0, language="pt_BR"',
    '`helpers` não está aqui.\\nNo Colab,"\n'
    '        " envie todo o pretraining-a-gpt.zip (`make colab`)\\nou monte o Drive; senão, `make lab`.\\nRepita.',
)
EDITIONS = (ENGLISH, PORTUGUESE)
LANGUAGE_LINK = re.compile(r"^\*\[(?:em português|in English)\]\([^)]*\)\*\n\n", re.MULTILINE)
NO_ADDRESS = "-address-not-set-"  # no account can bear a name that begins with a hyphen
# The course may lie here, above (a laptop), below (an unpacked zip), on a mounted Drive, or be installed. Else zips are
# unpacked, "pretraining-a-gpt (1).zip" too, one by one until the course is there, and then the address is asked. What a
# file is called no shell reads. Another `helpers`, installed or one's own, comes after the course.
# `tools.colab` packs runtime.py last, so that a folder without it is unpacked again.
SETUP = """\
import glob, importlib, os, subprocess, sys

near = [".", "..", "../..", "*", "drive/MyDrive", "drive/MyDrive/*", "drive/MyDrive/*/*"]
ways = [[sys.executable, "-mzipfile", "-e", p, "."] for d in near for p in glob.glob(d + "/pretraining-a-gpt[!-]*zip")]
{download}while not (here := [p for d in [*near, *sys.path] for p in sorted(glob.glob(d + "/helpers/runtime.py"))]):
    subprocess.run(capture_output=True, args=ways.pop(0) if ways else sys.exit("{nothing_found}"))  # fmt: skip
sys.path.insert(0, os.path.abspath(here[0] + "/../.."))
"helpers.runtime" in sys.modules or sys.modules.pop("helpers", None)
runtime = importlib.import_module("helpers.runtime")
print(lab := runtime.start({start}))"""
CLONE = "git clone -q --depth 1 {address} pretraining-a-gpt"
DOWNLOAD = f"""ways.append([sys.executable, "-c", "import os; os.system('{CLONE}')"])  # fmt: skip # noqa: E501\n"""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("stamp", "run", "tidy", "trust"))
    parser.add_argument(
        "files", nargs="*", type=Path, help="notebooks; without any: all of them, and of stamp the pages too"
    )
    parser.add_argument("--check", action="store_true", help="of stamp and tidy: write nothing")
    options = parser.parse_intermixed_args(arguments)
    if (options.files and options.command == "trust") or (options.check and options.command in ("run", "trust")):
        parser.error(f"{options.command} takes no {'files' if options.files else '--check'}")
    files = [path.resolve() for path in options.files] or every_notebook()
    if options.command == "trust":
        try:
            return trust()
        except KeyboardInterrupt:
            return 130
    if options.command == "run":
        return run(files)
    with nullcontext() if options.check else alone(ROOT / "build" / "notebooks", "the notebooks"):
        return _rewrite_all(files, options)


def _rewrite_all(files: list[Path], options: argparse.Namespace) -> int:
    if options.command == "stamp" and not options.files:
        files += [*ROOT.glob("README*.md"), *(page for e in EDITIONS for page in lecture_notes(ROOT / e.folder))]
    changed = False
    for path in files:
        try:
            changed |= rewrite(path, stamp if options.command == "stamp" else tidy, options.check)
        except (OSError, ValueError) as error:
            print(f"{path.name} stays as it is: {error}", file=sys.stderr)
            return 1
    return int(options.check and changed)


def pages(cell: nbformat.NotebookNode) -> list[str]:
    """What a cell's stored outputs show as HTML, text by text."""
    found = (output.get("data", {}).get("text/html") for output in cell.get("outputs", ()))
    return [page for page in found if page]


def numbered(folder: Path) -> list[Path]:
    """The course's notebooks in a folder, in order; copies and trials beside them are the reader's own."""
    return sorted(path for path in folder.glob("*.ipynb") if NUMBERED.fullmatch(path.name))


def lecture_notes(edition: Path) -> list[Path]:
    """The course's pages below an edition's folder; what else lies beside them is the reader's own."""
    return sorted(path for path in (edition / "lecture_notes").glob("*.md") if NOTES.fullmatch(path.name))


def records(edition: Path) -> list[Path]:
    """The course's records below an edition's folder; what else lies beside them is the reader's own."""
    return sorted(path for path in (edition / "notebooks" / "data").glob("*.json") if RECORD.fullmatch(path.name))


def read(path: Path) -> nbformat.NotebookNode:
    """A notebook. ValueError: what stands under the name is none."""
    try:
        return nbformat.read(path, as_version=4)
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error


def every_notebook() -> list[Path]:
    """The notebooks of the course in order, the English edition first."""
    return [path for e in EDITIONS for path in numbered(ROOT / e.folder / "notebooks")]


def edition(path: Path) -> Edition:
    """The edition that a file of the course belongs to."""
    return PORTUGUESE if "pt-BR" in str(path.relative_to(ROOT)) else ENGLISH


def twin(path: Path) -> Path:
    """The same file in the other edition."""
    own, other = EDITIONS if edition(path) is ENGLISH else EDITIONS[::-1]
    if path.parent == ROOT:
        return ROOT / other.readme
    return ROOT / other.folder / path.relative_to(ROOT / own.folder)


def language_link(path: Path) -> str:
    """A link to the same file in the other edition, or nothing where there is none."""
    link = os.path.relpath(twin(path), path.parent)
    return f"[{edition(path).other}]({link})" if twin(path).exists() else ""


def repository() -> str:
    """The address that people clone, from pyproject.toml."""
    with open(ROOT / "pyproject.toml", "rb") as file:
        address = tomllib.load(file)["project"]["urls"]["Repository"].rstrip("/").removesuffix(".git")
    if urlparse(address).netloc != "github.com":
        raise ValueError(f"Colab opens notebooks from github.com; [project.urls] Repository is {address}")
    return address


def colab_address(path: Path) -> str:
    """Where Colab opens the notebook."""
    owner_and_name = urlparse(repository()).path.strip("/")
    return f"{COLAB}{owner_and_name}/blob/main/{path.relative_to(ROOT).as_posix()}"


def stamp(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Write the badge and the first code cell, which every notebook has under fixed ids."""
    cells = {cell["id"]: cell for cell in notebook.cells}
    for wanted in (BADGE_ID, SETUP_ID):
        if wanted not in cells:
            raise ValueError(f"{path.name} needs a cell with the id {wanted!r}; it has {', '.join(cells)}")
    blob = f"{repository()}/blob/main"
    said, link = edition(path), language_link(path)
    notes = path.parents[1] / "lecture_notes" / f"{path.stem}.md"
    notes = notes if notes.exists() else ROOT / "lecture_notes" / notes.name  # not translated yet
    where = {"notes": os.path.relpath(notes, path.parent), "notes_file": notes.relative_to(ROOT).as_posix()}
    badge = said.badge.format(colab=colab_address(path), blob=blob, **where)
    cells[BADGE_ID].source = badge + (f" · {link}" if link else "")
    download = "" if NO_ADDRESS in repository() else DOWNLOAD.format(address=repository())
    cells[SETUP_ID].source = SETUP.format(download=download, start=said.start, nothing_found=said.nothing_found)
    cells[SETUP_ID].metadata["tags"] = ["nbval-ignore-output"]


def tidy(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Fold a figure's long code; drop what editors leave behind (times, widget state, folders); keep all else."""
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNELSPEC, "language_info": {"name": "python"}})
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({k: v for k, v in cell.metadata.items() if k in KEPT_CELL_METADATA})
        lines = cell.source.splitlines()  # a cell called a figure does nothing but draw
        if "figure" in cell["id"] and cell.cell_type == "code" and len(lines) > MAX_OPEN_LINES:
            cell.metadata["jupyter"] = {"source_hidden": True}
            cell.metadata["tags"] = sorted({*cell.metadata.get("tags", []), FOLDED})
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                output.traceback = [without_folders(line) for line in output.traceback]


def without_folders(line: str) -> str:
    """A line of a traceback that names files from the course's folder or site-packages, not from this disk's root."""
    line = line.replace(f"{ROOT}/", "")
    return re.sub(r"(\x1b\[[\d;]*m|(?<![\w.]))[/~][^\s'\":]*/(site-packages|lib/python3\.\d+)/", r"\1\2/", line)


def rewrite(path: Path, change: Change, only_check: bool) -> bool:
    """Apply `change` to the notebook at `path`; return whether anything differs, and write it unless only checking.

    A page can be stamped as well.
    """
    before = path.read_text(encoding="utf-8")
    if change is stamp and path.suffix == ".md":
        after = stamped_page(before, path)
    else:
        change(notebook := nbformat.reads(before, as_version=4), path)
        after = nbformat.writes(notebook) + "\n"
    if after == before:
        return False
    print(f"{path.name}: {'differs' if only_check else 'rewritten'}")
    if not only_check:
        write_whole(path, after)
    return True


def write_whole(path: Path, text: str) -> None:
    """Write a text under a name, where a full disk or a kill leaves what stood there. StorageError: what failed."""
    from helpers.storage import write_aside  # with torch, which takes seconds, and of which `trust` has no need

    with write_aside(path) as file:
        file.write(text.encode())


def stamped_page(text: str, path: Path) -> str:
    """A page with the link to the other edition below its title and, if it is a README, the table of Colab links."""
    title, _, rest = LANGUAGE_LINK.sub("", text).partition("\n\n")
    link = language_link(path)
    text = f"{title}\n\n" + (f"*{link}*\n\n" if link else "") + rest
    if not path.name.startswith("README"):
        return text
    head, _, rest = text.partition(README_START)
    _, mark, tail = rest.partition(README_END)
    if not mark:
        raise ValueError(f"{path.name} needs the marks {README_START!r} and {README_END!r}")
    rows = [f"- [{p.stem}]({colab_address(p)})" for p in every_notebook() if edition(p) is edition(path)]
    return head + README_START + "\n" + "\n".join(rows) + "\n" + README_END + tail


def trust() -> int:
    """Let JupyterLab show the stored outputs with their scripts of the notebooks that are as committed: those of any
    other may be anybody's. A card works after a run in any case."""
    if not shutil.which("git"):
        return 0
    command = ["git", "ls-tree", "-rz", "HEAD", "--", *(f"{e.folder}notebooks" for e in EDITIONS)]
    committed = subprocess.run(command, cwd=ROOT, capture_output=True).stdout  # nothing where git knows no commit
    with NotebookNotary() as notary:
        for entry in committed.split(b"\0")[:-1]:
            about, name = entry.split(b"\t", 1)
            path = ROOT / os.fsdecode(name)
            try:
                if path.suffix == ".ipynb" and path.is_file():
                    content = path.read_bytes()  # once: what is compared is what is signed
                    if about.split()[-1].decode() in (_blob(content), _blob(content.replace(b"\r\n", b"\n"))):
                        notary.sign(nbformat.reads(content.decode(), as_version=4))
            except Exception as error:  # whatever is wrong with one notebook, the others are trusted
                print(f"{path.name} is not trusted: {type(error).__name__}", file=sys.stderr)
    return 0


def _blob(content: bytes) -> str:
    """git's name of a file's content, computed here: git itself believes its index, and compares what filters leave."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


class _Client(NotebookClient):
    """Knows that Ctrl-C came: nbclient takes the kernel away, and then says in several ways that it died."""

    interrupted = False

    async def async_start_new_kernel(self, **kwargs: Any) -> None:
        with suppress(NotImplementedError):  # Windows
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._interrupt, asyncio.current_task())
        await super().async_start_new_kernel(**kwargs)

    def _interrupt(self, task: asyncio.Task) -> None:
        self.interrupted = True
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # what waits for the kernel fails, and nobody asks why
        if self.km and self.km.has_kernel:  # at once: interrupted while it loads, it would show where
            self._killed = asyncio.ensure_future(self.km.provisioner.send_signal(signal.SIGKILL))
        task.cancel()


def client(notebook: nbformat.NotebookNode, path: Path) -> NotebookClient:
    """What executes a notebook in its folder."""
    kept = {"record_timing": False, "store_widget_state": False, "coalesce_streams": True}
    kept |= {"extra_arguments": ["--log-level=CRITICAL"]}  # of a kernel that is taken away, and of how it is reached
    where = {"metadata": {"path": str(path.parent)}}
    return _Client(notebook, timeout=CELL_TIMEOUT_S, kernel_name="python3", resources=where, **kept)


def run(paths: list[Path]) -> int:
    """Execute each notebook in its folder, top to bottom, and store the outputs; one that fails keeps its old ones."""
    os.environ.setdefault("COURSE_QUIET", "1")  # no progress bar among the stored outputs
    with alone(ROOT / "build" / "notebooks", "the notebooks"):
        return _run(paths)


def _run(paths: list[Path]) -> int:
    failed = 0
    for path in paths:
        started, executor = time.monotonic(), None
        try:
            notebook = nbformat.read(path, as_version=4)
            executor = client(notebook, path)
            executor.execute()
            tidy(notebook, path)
            write_whole(path, nbformat.writes(notebook) + "\n")
        except (Exception, KeyboardInterrupt, asyncio.CancelledError) as error:
            if not isinstance(error, Exception) or getattr(executor, "interrupted", False):
                print(f"{path.name}: interrupted, stored outputs kept", file=sys.stderr)
                return 130
            failed += 1
            print(f"{path.name}: FAILED, stored outputs kept\n{error}", file=sys.stderr)
            continue
        print(f"{path.name}: {time.monotonic() - started:.0f} s")
    return int(failed > 0)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OSError as error:
        sys.exit(f"nothing was written: {error}")
