"""Is a notebook fit for a live class: may its cells be run again, after Run All, in the order in which a class does?

    python -m tools.again [NOTEBOOK ...]

Runs each notebook from the top in one kernel and then, in the same kernel, (1) every prediction with the cell that
reveals, as `reveal` asks for, (2) the cells that the plan of its lecture notes names, in the plan's order. No cell may
fail, and each must print what it printed the first time; cells whose outputs are not compared (times, devices) must
only not fail.
"""

import argparse
import os
import re
import sys
import time
from pathlib import Path

import nbformat
from nbclient.exceptions import CellExecutionError

from tests.nbval_tolerance import agree
from tools.notebooks import ROOT, client, every_notebook

CELL_LINK = re.compile(r"/(\w+)\.ipynb#cell-id=([\w-]+)")
ASKS = re.compile(r"^my_guess\s*=", re.MULTILINE)
NOT_COMPARED = {"nbval-ignore-output", "nbval-skip"}
SHOWN = 160  # characters of a text that differs


def rehearse(path: Path) -> list[str]:
    """Run the notebook, then its pairs and its plan; one line per cell that failed or said something else."""
    notebook, found = nbformat.read(path, as_version=4), []
    kernel = client(notebook, path)
    code = {cell["id"]: i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"}

    def run(cell_id: str) -> str:  # what it printed and showed as text
        cell = kernel.execute_cell(notebook.cells[code[cell_id]], code[cell_id])
        return "".join(map(_text, cell.outputs))

    def again(cell_id: str) -> str:  # what is wrong with running it once more
        try:
            before, now = first[cell_id], run(cell_id)
        except CellExecutionError as error:
            return f"{error.ename}: {error.evalue}"[:SHOWN]
        compared = NOT_COMPARED.isdisjoint(notebook.cells[code[cell_id]].metadata.get("tags", []))
        return _difference(before, now) if compared and not agree(before, now) else ""

    with kernel.setup_kernel():
        first = {cell_id: run(cell_id) for cell_id in code}
        for name, cells in (("pair", pairs(notebook)), ("plan", plan(path, code))):
            wrong = [(cell_id, again(cell_id)) for cell_id in cells]
            found += [f"{path.name} {name} {cell_id}: {what}" for cell_id, what in wrong if what]
    return found


def pairs(notebook: nbformat.NotebookNode) -> list[str]:
    """The ids of the cells that ask for a prediction and of the next ones that reveal, in order."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    asking = [i for i, cell in enumerate(code) if ASKS.search(cell.source)]
    answering = [next((j for j in range(i, len(code)) if "reveal(" in code[j].source), i) for i in asking]
    return [code[k]["id"] for pair in zip(asking, answering, strict=True) for k in dict.fromkeys(pair)]


def plan(path: Path, code: dict[str, int]) -> list[str]:
    """The code cells that the tables under "## Plan" of the lecture notes link: ids, in the order of the tables."""
    notes = (ROOT / "lecture_notes" / f"{path.stem}.md").read_text(encoding="utf-8")
    plans = "\n".join(re.findall(r"^## Plan.*?(?=^## )", notes, re.MULTILINE | re.DOTALL))
    rows = "\n".join(line for line in plans.splitlines() if line.startswith("|"))
    return [name for stem, name in CELL_LINK.findall(rows) if stem == path.stem and name in code]


def _text(output: nbformat.NotebookNode) -> str:
    if output.output_type == "stream":
        return output.text
    return str(output.get("data", {}).get("text/plain", output.get("evalue", ""))) + "\n"


def _difference(first: str, new: str) -> str:
    lines = zip(first.splitlines(), new.splitlines(), strict=False)
    before, now = next(((a, b) for a, b in lines if not agree(a, b)), (first, new))
    return f"first {before[:SHOWN]!r}, now {now[:SHOWN]!r}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path)
    os.environ.setdefault("COURSE_QUIET", "1")  # no progress bar among the outputs
    failed = 0
    for path in parser.parse_args(arguments).files or every_notebook():
        started = time.monotonic()
        found = rehearse(path.resolve())
        failed += bool(found)
        print(*found, f"{path.name}: {len(found)} found, {time.monotonic() - started:.0f} s", sep="\n", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
