"""The anatomy of every notebook: what a reader may rely on in each of them."""

import re

import nbformat
import pytest

from helpers.classroom import NOT_ATTEMPTED, RIGHT, exercises, verdict
from tests.course.reading import ENGLISH, PORTUGUESE, ROOT, cells, each, ids, notebook, notes, tags
from tests.exercises import EXERCISES, SOLUTION, solution

ALLOWED_TAGS = {"raises-exception", "nbval-ignore-output", "hide-input", "needs-smollm2"}
MAX_UNCOMPARED_CELLS = 3  # the first cell, and two for a time, a device or a version
MAX_CODE_LINES = 30
MAX_BYTES = 1_500_000
MAX_FIGURE_WIDTH = 1150  # pixels of the page: a projector's 1280 shrinks a wider one, and its type with it
FENCE = re.compile(r"```.*?```", re.DOTALL)
MATH = re.compile(r"\$\$.*?\$\$|\$[^$]+\$", re.DOTALL)
SHOWS = re.compile(r"^(?:print|reveal|check|plots\.show|pages\.\w+|cards\.\w+)\(", re.MULTILINE)
PIXELS = re.compile(r"data:image/png;base64,[A-Za-z0-9+/=]+")
every_notebook = each(ENGLISH + PORTUGUESE)  # what is said in words is tested in English


def prose(path) -> str:
    return "\n".join(FENCE.sub("", c.source) for c in cells(path, "markdown"))


def test_twelve_notebooks_stand_in_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [path.stem[:2] for path in ENGLISH] == [f"{i:02d}" for i in range(12)]
    assert all(f"(notebooks/{path.name})" in readme for path in ENGLISH)


@every_notebook
def test_opens_with_card_badge_and_setup_and_ends_with_one_s_own_predictions(path):
    nbformat.validate(notebook(path))
    first, last = notebook(path).cells[:3], notebook(path).cells[-1]
    assert [(c["id"], c.cell_type) for c in first] == [("card", "markdown"), ("badge", "markdown"), ("setup", "code")]
    assert first[0].source.startswith(f"# {path.stem[:2]} · ")
    assert "widgets" not in notebook(path).metadata, "stored widget state has made GitHub refuse notebooks"
    assert len(ids(path)) == len(notebook(path).cells) and path.stat().st_size < MAX_BYTES
    assert last["id"] == "recap-predictions" and last.source.splitlines()[-1].startswith("predictions()")
    said = "no predictions of yours yet" if path in ENGLISH else "ainda não há palpites seus"
    assert said in last.outputs[0].text, "stored, and compared"


@every_notebook
def test_was_run_from_top_to_bottom_with_prose_between_code(path):
    code = cells(path, "code")
    assert [c.execution_count for c in code] == list(range(1, len(code) + 1))
    assert "ccc" not in "".join("c" if c.cell_type == "code" else "m" for c in notebook(path).cells)
    longest = MAX_CODE_LINES if path in ENGLISH else 2 * MAX_CODE_LINES  # ruff breaks longer words over more lines
    for cell in code:
        assert len(cell.source.splitlines()) <= longest, cell["id"]
        if SHOWS.search(cell.source):
            assert cell.outputs, f"{cell['id']} shows something and stores nothing: it would be compared with nothing"


@every_notebook
def test_few_cells_opt_out_of_comparison_and_those_assert(path):
    uncompared = [c for c in cells(path, "code") if "nbval-ignore-output" in tags(c)]
    assert len(uncompared) <= MAX_UNCOMPARED_CELLS
    for cell in uncompared[1:]:  # the first cell's `runtime.start` raises by itself
        assert re.search(r"^\s*assert ", cell.source, re.MULTILINE), f"{cell['id']} is compared with nothing"
    assert all(tags(c) <= ALLOWED_TAGS for c in notebook(path).cells)


@every_notebook
def test_one_failure_at_least_is_deliberate_and_no_other_is_stored(path):
    failed = {c["id"] for c in cells(path, "code") if any(o.output_type == "error" for o in c.outputs)}
    assert failed and failed == {c["id"] for c in cells(path, "code") if "raises-exception" in tags(c)}


@every_notebook
def test_each_prediction_is_revealed(path):
    sources = [c.source for c in cells(path, "code")]
    asked = [i for i, s in enumerate(sources) if re.match(r"my_guess = None  # ", s)]
    revealed = [i for i, s in enumerate(sources) if re.search(r"reveal\(\s*my_guess", s)]
    assert len(asked) == len(revealed) >= 1
    assert all(a < r for a, r in zip(asked, revealed, strict=True))


@every_notebook
def test_figures_have_alternative_text_and_a_projector_s_size_and_none_is_remote(path):
    figures, widths = 0, []
    for cell in cells(path, "code"):
        for data in (output.get("data", {}) for output in cell.outputs):
            page = data.get("text/html", "")
            assert "image/png" not in data, f"{cell['id']}: show figures with plots.show(ax, alt=...)"
            for image in re.findall(r"<img [^>]*>", page):
                assert re.search(r'alt="[^"]{15,}"', image) and 'src="http' not in image, cell["id"]
            figures += "data:image/png" in page
            widths += map(int, re.findall(r'<img alt="[^"]*" width="(\d+)"', page))
    assert len(widths) >= figures, "a figure that did not come through plots.show"
    assert max(widths, default=0) <= MAX_FIGURE_WIDTH
    assert not re.search(r"!\[\s*\]\(|!\[[^\]]*\]\(https?:|<img", prose(path))


@every_notebook
def test_no_result_is_typed_into_prose_and_no_folder_of_some_disk_is_named(path):
    assert re.findall(r"(?<![\w.])\d+\.\d{2,}(?!\w)", MATH.sub("", prose(path))) == []
    text = PIXELS.sub("", path.read_text(encoding="utf-8"))
    assert re.findall(r"(?:/home/|/root/|/tmp/|/work/|/Users/|[A-Z]:\\\\)\S{0,40}", text) == []


@each(ENGLISH)
def test_recap_has_five_folded_answers_and_lecture_notes_point_at_cells(path):
    recap = next(c.source for c in reversed(cells(path, "markdown")) if c.source.startswith("## Recap"))
    assert re.findall(r"<details><summary>(\d)\.", recap) == list("12345")
    assert all(part in recap for part in ("**Traps.**", "**Sources.**", "**Where next.**"))
    named = set(re.findall(r"cell `([\w-]+)`", notes(path)))
    assert named, "say which cell shows an answer: cell `its-id`"
    assert named <= ids(path)


@pytest.mark.parametrize("name", EXERCISES)
def test_exercise_knows_its_stub_and_its_solution(name):
    exercise, names = EXERCISES[name], {}
    assert len(SOLUTION.findall(exercise.folded)) == 1, "one solution, kept once"
    assert re.findall(r"<summary>Hint (\d)</summary>", exercise.folded) == list("123")
    exec(f"import torch\n{exercise.stub}", names)
    assert verdict(name, names[exercise.function]).startswith(NOT_ATTEMPTED)
    assert verdict(name, solution(name)).startswith(RIGHT)


def test_every_check_belongs_to_an_exercise():
    assert set(exercises.grader.CHECKS) == set(EXERCISES)
