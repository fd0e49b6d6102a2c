"""The anatomy of every notebook: what a reader may rely on in each of them."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

from helpers.classroom import CHECKS, NOT_ATTEMPTED, RIGHT, verdict

ROOT = Path(__file__).resolve().parents[2]
PATHS = sorted((ROOT / "notebooks").glob("*.ipynb"))
BOTH = PATHS + sorted((ROOT / "pt-BR" / "notebooks").glob("*.ipynb"))  # what is said in words is tested in English
ALLOWED_TAGS = {"raises-exception", "nbval-ignore-output", "hide-input", "needs-smollm2"}
MAX_UNCOMPARED_CELLS = 3  # the first cell, and two for a time, a device or a version
MAX_CODE_LINES = 30
MAX_BYTES = 1_500_000
MAX_FIGURE_WIDTH = 1150  # pixels of the page: a projector's 1280 shrinks a wider one, and its type with it
FENCE = re.compile(r"```.*?```", re.DOTALL)
MATH = re.compile(r"\$\$.*?\$\$|\$[^$]+\$", re.DOTALL)
SOLUTION = re.compile(r"<summary>Solution</summary>.*?```python\n(.*?)```", re.DOTALL)
CHECK_CALL = re.compile(r"^check\(\"([\w-]+)\", (\w+)\)$", re.MULTILINE)
SHOWS = re.compile(r"^(?:print|reveal|check|plots\.show|pages\.\w+|cards\.\w+)\(", re.MULTILINE)
PIXELS = re.compile(r"data:image/png;base64,[A-Za-z0-9+/=]+")

every_notebook = pytest.mark.parametrize("path", BOTH, ids=[str(p.relative_to(ROOT).with_suffix("")) for p in BOTH])


def cells(path: Path, kind: str) -> list:
    return [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == kind]


def prose(path: Path) -> str:
    return "\n".join(FENCE.sub("", c.source) for c in cells(path, "markdown"))


def tags(cell) -> set[str]:
    return set(cell.metadata.get("tags", []))


def exercises(path: Path) -> list[tuple[str, str, str, str]]:
    """(name of the check, name of the function, source of the stub, source of the folded help) of each exercise."""
    found, all_cells = [], nbformat.read(path, as_version=4).cells
    for cell, after in zip(all_cells, [*all_cells[1:], None], strict=True):
        call = CHECK_CALL.search(cell.source) if cell.cell_type == "code" else None
        if call:
            assert after is not None and after.cell_type == "markdown", f"{call[1]}: no folded help after the exercise"
            found.append((call[1], call[2], cell.source[: call.start()], after.source))
    return found


def test_twelve_notebooks_stand_in_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [path.stem[:2] for path in PATHS] == [f"{i:02d}" for i in range(12)]
    assert all(f"(notebooks/{path.name})" in readme for path in PATHS)


@every_notebook
def test_opens_with_card_badge_and_setup(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    first = [(c["id"], c.cell_type) for c in notebook.cells[:3]]
    assert first == [("card", "markdown"), ("badge", "markdown"), ("setup", "code")]
    assert notebook.cells[0].source.startswith(f"# {path.stem[:2]} · ")
    assert "widgets" not in notebook.metadata, "stored widget state has made GitHub refuse notebooks"
    ids = [c["id"] for c in notebook.cells]
    assert len(ids) == len(set(ids))
    assert path.stat().st_size < MAX_BYTES


@every_notebook
def test_was_run_from_top_to_bottom(path):
    counts = [c.execution_count for c in cells(path, "code")]
    assert counts == list(range(1, len(counts) + 1))
    for cell in cells(path, "code"):
        if SHOWS.search(cell.source):
            assert cell.outputs, f"{cell['id']} shows something and stores nothing: it would be compared with nothing"


@every_notebook
def test_prose_stands_between_code(path):
    kinds = "".join("c" if c.cell_type == "code" else "m" for c in nbformat.read(path, as_version=4).cells)
    assert "ccc" not in kinds
    for cell in cells(path, "code"):
        longest = MAX_CODE_LINES if path in PATHS else 2 * MAX_CODE_LINES  # ruff breaks longer words over more lines
        assert len(cell.source.splitlines()) <= longest, cell["id"]


@every_notebook
def test_few_cells_opt_out_of_comparison_and_those_assert(path):
    uncompared = [c for c in cells(path, "code") if "nbval-ignore-output" in tags(c)]
    assert len(uncompared) <= MAX_UNCOMPARED_CELLS
    for cell in uncompared[1:]:  # the first cell's `runtime.start` raises by itself
        assert re.search(r"^\s*assert ", cell.source, re.MULTILINE), f"{cell['id']} is compared with nothing"
    assert all(tags(c) <= ALLOWED_TAGS for c in nbformat.read(path, as_version=4).cells)


@every_notebook
def test_one_failure_at_least_is_deliberate_and_no_other_is_stored(path):
    deliberate = 0
    for cell in cells(path, "code"):
        failed = any(o.output_type == "error" for o in cell.outputs)
        assert failed == ("raises-exception" in tags(cell)), cell["id"]
        deliberate += failed
    assert deliberate >= 1


@every_notebook
def test_each_prediction_is_revealed(path):
    sources = [c.source for c in cells(path, "code")]
    asked = [i for i, s in enumerate(sources) if re.match(r"my_guess = None  # ", s)]
    revealed = [i for i, s in enumerate(sources) if re.search(r"reveal\(\s*my_guess", s)]
    assert len(asked) == len(revealed) >= 1
    assert all(a < r for a, r in zip(asked, revealed, strict=True))


@every_notebook
def test_images_have_alternative_text_and_none_is_remote(path):
    for cell in cells(path, "code"):
        for output in cell.outputs:
            data = output.get("data", {})
            assert "image/png" not in data, f"{cell['id']}: show figures with plots.show(ax, alt=...)"
            for image in re.findall(r"<img [^>]*>", data.get("text/html", "")):
                assert re.search(r'alt="[^"]{15,}"', image), cell["id"]
                assert 'src="http' not in image, cell["id"]
    assert not re.search(r"!\[\s*\]\(|!\[[^\]]*\]\(https?:|<img", prose(path))


@every_notebook
def test_a_projector_shows_figures_at_their_size(path):
    outputs = [o for c in cells(path, "code") for o in c.outputs if "data" in o]
    widths = [
        int(w) for o in outputs for w in re.findall(r'<img alt="[^"]*" width="(\d+)"', o.data.get("text/html", ""))
    ]
    figures = sum("data:image/png" in o.data.get("text/html", "") for o in outputs)
    assert len(widths) >= figures, "a figure that did not come through plots.show"
    assert max(widths, default=0) <= MAX_FIGURE_WIDTH


@every_notebook
def test_no_result_is_typed_into_prose(path):
    text = MATH.sub("", prose(path))
    assert re.findall(r"(?<![\w.])\d+\.\d{2,}(?!\w)", text) == []


@every_notebook
def test_nothing_names_a_folder_of_some_disk(path):
    text = PIXELS.sub("", path.read_text(encoding="utf-8"))
    assert re.findall(r"(?:/home/|/root/|/tmp/|/work/|/Users/|[A-Z]:\\\\)\S{0,40}", text) == []


@pytest.mark.parametrize("path", PATHS, ids=[p.stem for p in PATHS])
def test_recap_has_five_folded_answers(path):
    recap = next(c.source for c in reversed(cells(path, "markdown")) if c.source.startswith("## Recap"))
    assert re.findall(r"<details><summary>(\d)\.", recap) == list("12345")
    for part in ("**Traps.**", "**Sources.**", "**Where next.**"):
        assert part in recap


@every_notebook
def test_a_notebook_ends_with_one_s_own_predictions(path):
    last = nbformat.read(path, as_version=4).cells[-1]
    assert last["id"] == "recap-predictions" and last.source.splitlines()[-1].startswith("predictions()")
    said = "no predictions of yours yet" if path in PATHS else "ainda não há palpites seus"
    assert said in last.outputs[0].text, "stored, and compared"


EXERCISES = [(path.stem, *exercise) for path in PATHS for exercise in exercises(path)]


@pytest.mark.parametrize(
    ("notebook", "name", "function", "stub", "folded"), EXERCISES, ids=[f"{e[0][:2]}-{e[1]}" for e in EXERCISES]
)
def test_exercise_knows_its_stub_and_its_solution(notebook, name, function, stub, folded):
    blocks = SOLUTION.findall(folded)
    assert len(blocks) == 1, "one solution, kept once"
    assert re.findall(r"<summary>Hint (\d)</summary>", folded) == list("123")
    before, after = {}, {}
    exec(f"import torch\n{stub}", before)
    exec(blocks[0], after)
    assert verdict(name, before[function]).startswith(NOT_ATTEMPTED)
    assert verdict(name, after[function]).startswith(RIGHT)


def test_every_check_belongs_to_an_exercise():
    assert set(CHECKS) == {name for _, name, *_ in EXERCISES}


@pytest.mark.parametrize("path", PATHS, ids=[p.stem for p in PATHS])
def test_lecture_notes_point_at_cells_that_exist(path):
    notes = (ROOT / "lecture_notes" / f"{path.stem}.md").read_text(encoding="utf-8")
    ids = {c["id"] for c in nbformat.read(path, as_version=4).cells}
    named = set(re.findall(r"cell `([\w-]+)`", notes))
    assert named, "say which cell shows an answer: cell `its-id`"
    assert named <= ids
