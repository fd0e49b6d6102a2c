"""environment.yml, pyproject.toml, requirements.txt, the Makefile and the README tell one story."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.support import program
from tools import colab, notebooks

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text()
# what Colab had when this course was planned: installing the package there must replace none of these
COLAB = {
    "torch": "2.11.0",
    "numpy": "2.1.3",
    "ipywidgets": "7.7.1",
    "ipython": "7.34.0",
    "ipykernel": "6.17.1",
    "matplotlib": "3.10.0",
    "tiktoken": "0.14.0",
}


def bounds() -> dict[str, Requirement]:
    everything = sum(PROJECT["optional-dependencies"].values(), PROJECT["dependencies"])
    return {canonicalize_name(r.name): r for r in map(Requirement, everything)}


def pins() -> dict[str, Version]:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    rows = [line.split("#")[0].strip() for line in lines]
    return {canonicalize_name(row.split("==")[0]): Version(row.split("==")[1]) for row in rows if row}


def test_every_pin_is_exact_and_every_bound_is_pinned():
    for name, requirement in bounds().items():
        assert name in pins(), f"{name} stands in pyproject.toml and not in requirements.txt"
        assert pins()[name] in requirement.specifier, name
    assert all(not version.local for version in pins().values())
    assert pins().keys() >= set(map(canonicalize_name, colab.EXTRAS)), "the zip takes them as they are pinned"


def test_bounds_are_lower_bounds_only_and_colab_satisfies_them():
    core = {canonicalize_name(Requirement(r).name): Requirement(r) for r in PROJECT["dependencies"]}
    for name, requirement in core.items():
        assert {s.operator for s in requirement.specifier} == {">="}, name
        assert name not in COLAB or Version(COLAB[name]) in requirement.specifier
    assert set(COLAB) - {"ipykernel"} <= set(core)
    assert Version(COLAB["ipykernel"]) in bounds()["ipykernel"].specifier
    assert {"jupyterlab", "transformers", "pytest"}.isdisjoint(core), "Colab would have to install these"


def test_environment_yml_installs_the_same():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["name"] == PROJECT["name"]
    pip_part = next(d["pip"] for d in environment["dependencies"] if isinstance(d, dict))
    assert pip_part == ["-r requirements.txt", "-e ."]
    python = next(d for d in environment["dependencies"] if str(d).startswith("python="))
    assert Version("3.11") <= Version(python.split("=")[1]) <= Version("3.13")
    assert PROJECT["requires-python"] == ">=3.11"
    for command in ("conda env create -f environment.yml", f"conda activate {environment['name']}"):
        assert command in README


def code_in(markdown: str) -> list[str]:
    """The fenced blocks and the code spans of a text; "make the model forget" in its prose is no command."""
    fenced = re.findall(r"^```.*?^```", markdown, re.MULTILINE | re.DOTALL)
    prose = re.sub(r"^```.*?^```", "", markdown, flags=re.MULTILINE | re.DOTALL)
    return fenced + re.findall(r"`[^`\n]+`", prose)


def test_every_make_command_named_anywhere_exists():
    texts = [README, *(p.read_text(encoding="utf-8") for p in (ROOT / "lecture_notes").glob("[!.]*.md"))]
    code = [part for text in texts for part in code_in(text)]
    named = {name for part in code for name in re.findall(r"\bmake ([a-z][a-z0-9-]+)", part)}
    assert {"lab", "test"} <= named <= set(re.findall(r"^([a-z0-9-]+):", MAKEFILE, re.MULTILINE))
    listed = make("-s", "help").stdout
    assert all(f"make {target} " in listed for target in ("lab", "test", "lint", "notebooks", "clean"))


def make(*arguments: object, **variables: str) -> subprocess.CompletedProcess:
    called = ["make", *map(str, arguments)]
    outer = "MAKE", "MFLAGS", "MPLCONFIGDIR"  # of `make test`
    own = {name: value for name, value in os.environ.items() if not name.startswith(outer)}
    return subprocess.run(called, cwd=ROOT, env=own | variables, capture_output=True, text=True, timeout=60)


def test_a_readers_own_notebooks_are_not_the_courses(tmp_path):
    course, own = (
        ["00_a.ipynb", "02_b_c.ipynb"],
        ["00_a copy.ipynb", "00_a-Copy1.ipynb", "Ana's.ipynb", "Untitled.ipynb"],
    )
    for folder in (tmp_path / "notebooks", tmp_path / "pt-BR" / "notebooks"):
        folder.mkdir(parents=True)
        for name in (*course, *own, "._00_a.ipynb", ".~02_b_c.ipynb"):  # hidden: as macOS and JupyterLab leave them
            (folder / name).touch()
        assert [path.name for path in notebooks.numbered(folder)] == course
    (stamp := tmp_path / "stamp").touch()
    shutil.copy(ROOT / "Makefile", tmp_path)
    said = make("-n", "-C", tmp_path, "-o", stamp, f"STAMP={stamp}", f"VENV={tmp_path}", "test-live").stdout
    expected = [*(f"notebooks/{name}" for name in course), f"pt-BR/notebooks/{course[1]}"]
    assert said.partition("tools.again ")[2].splitlines()[0].split() == expected


@pytest.mark.parametrize("version", [(3, 10, 14), (2, 7, 18), None])
def test_an_old_python_or_none_is_refused_in_words(tmp_path, version):
    assert 'and f"' not in MAKEFILE, "a Python that old cannot read an f-string"
    old, said = "", "needs Python 3.11 or newer"
    if version:
        said = f"Python {version[0]}.{version[1]}; this course needs 3.11"
        pretend = f"import sys; sys.version_info = {version}; exec(sys.argv[1])"
        old = program(tmp_path / "python-old", f'shift 2\nexec "{sys.executable}" -c "{pretend}" "$@"')
    done = make(f"PYTHON={old}", f"VENV={tmp_path / 'venv'}", f"STAMP={tmp_path / 'stamp'}", "lab")
    assert done.returncode != 0 and said in done.stdout + done.stderr
    assert not (tmp_path / "venv").exists()


@pytest.mark.parametrize(("fails", "status"), [("", 0), ("loadfile tests", 2), ("--nbval", 2)])
def test_notebooks_are_run_where_a_unit_test_failed_too(tmp_path, fails, status):
    """With a python that only writes down what it is asked, and fails where it is told to."""
    (stamp := tmp_path / "stamp").touch()
    fail = f'case "$*" in *"{fails or "nothing"}"*) exit 1;; esac'
    program(tmp_path / "bin" / "python", f'echo "$*" >> {tmp_path}/asked\n{fail}')
    done = make("-o", stamp, f"VENV={tmp_path}", f"STAMP={stamp}", "test")
    asked = (tmp_path / "asked").read_text()
    unit, notebooks = (line for line in asked.splitlines() if line.startswith("-m pytest "))
    assert unit == "-m pytest -n 2 --dist loadfile tests" and "--nbval " in notebooks and " -n 2 " in notebooks
    assert done.returncode == status, done.stdout + done.stderr


@pytest.mark.parametrize("target", ["test-notebooks", "lab", "smollm2"])
def test_a_home_that_cannot_be_written_is_said_in_one_line_and_left_alone(tmp_path, target):
    """With a python that does nothing but load Matplotlib, which complains of such a home."""
    loads = f'test -w "$HOME" && exec "{sys.executable}" -c "import matplotlib.pyplot"'
    program(tmp_path / "venv" / "bin" / "python", loads)
    (stamp := tmp_path / "venv" / "stamp").touch()
    given = "-o", stamp, f"VENV={stamp.parent}", f"STAMP={stamp}"
    done = make(*given, target, HOME="/proc/nowhere")
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert done.stdout.splitlines()[0].endswith(f"cannot be written: settings and downloads go to {stamp.parent}.home")
    assert "cannot be written" not in make(*given, target, HOME=str(tmp_path)).stdout
    (tmp_path / ".local").touch()  # as closed as a folder of root's
    for closed in ({}, {"XDG_DATA_HOME": "/proc/nowhere"}):
        assert "cannot be written" in make(*given, target, HOME=str(tmp_path), **closed).stdout


DRAWN = """
import matplotlib.pyplot as plt
plt.gca().set_xscale("log")
plt.savefig({picture!r})
"""


@pytest.mark.parametrize("target", ["test-notebooks", "lab"])
def test_figures_do_not_depend_on_what_other_programs_know_of_fonts(tmp_path, target):
    """With a home whose list of fonts was made while an environment was being removed: it lacks Matplotlib's own."""
    (tmp_path / "draws.py").write_text(DRAWN.format(picture=str(tmp_path / "figure.png")))
    drawing = f'case "$*" in *--nbval*|*jupyterlab*) exec "{sys.executable}" {tmp_path}/draws.py;; esac'
    program(tmp_path / "venv" / "bin" / "python", drawing)
    (stamp := tmp_path / "venv" / "stamp").touch()
    lists = tmp_path / ".cache" / "matplotlib"
    lists.mkdir(parents=True)
    at_home = {"HOME": str(tmp_path), "MPLCONFIGDIR": str(lists)}
    subprocess.run([sys.executable, tmp_path / "draws.py"], env=os.environ | at_home, check=True)
    (fonts,) = lists.glob("fontlist-*.json")
    known = json.loads(fonts.read_text())
    known["ttflist"] = [font for font in known["ttflist"] if "DejaVuSans.ttf" in font["fname"]]
    fonts.write_text(json.dumps(known))
    given = "-o", stamp, f"VENV={stamp.parent}", f"STAMP={stamp}", target
    own = make(*given, **at_home, MPLBACKEND="agg")
    assert "findfont" in own.stderr  # a folder that its user chose is kept
    done = make(*given, HOME=str(tmp_path), MPLBACKEND="agg")
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert [*(stamp.parent / "matplotlib").glob("fontlist-*.json")]


@pytest.mark.parametrize("venv", ["", "my documents/venv"])
@pytest.mark.parametrize("target", ["lab", "clean"])
def test_an_environment_must_be_one_folder(target, venv):
    done = make("-n", target, f"VENV={venv}")
    assert done.returncode == 2 and not done.stdout, done.stdout
    assert f'VENV must be one folder, without spaces: "{venv}"' in done.stderr and done.stderr.count("\n") == 1


def test_an_environment_for_colab_that_was_left_without_pip_is_made_anew(tmp_path):
    """With pythons that only write down what they are asked; the one in the environment has no pip at first."""
    (tmp_path / ".installed").touch()
    for name in ("bin", "colab"):
        fail = 'case "$*" in *"import pip"*) exit 1;; esac' if name == "colab" else ""
        program(tmp_path / name / "python", f'echo "$*" >> {tmp_path}/asked\n{fail}')
    given = f"VENV={tmp_path}", f"COLAB_BIN={tmp_path / 'colab'}", f"PYTHON={tmp_path / 'bin/python'}"
    assert make("-o", tmp_path / ".installed", *given, "test-colab").returncode == 0
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked.index("-m venv --clear .venv-colab") < next(
        i for i, line in enumerate(asked) if "-m pip install" in line
    )
