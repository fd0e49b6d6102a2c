"""`make` on odd days, with nothing to install: interrupted, twice at once, without network, room or permission."""

import contextlib
import errno
import http.server
import importlib.util
import io
import os
import py_compile
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from unittest.mock import Mock

import pytest
from packaging.specifiers import SpecifierSet

from tests.support import program
from tools import install

SCRIPT = Path(install.__file__)


def begin(folder: Path) -> Path:
    """A folder that looks like the course: no package to install, and settings that are written in no time."""
    for name in ("tools", "helpers"):
        (folder / name).mkdir()
    (folder / "tools" / "install.py").write_text(SCRIPT.read_text(encoding="utf-8"), encoding="utf-8")
    for name in ("requirements.txt", "pyproject.toml", "helpers/__init__.py"):
        (folder / name).touch()
    (folder / "helpers" / "lab.py").write_text("open('settings', 'a').write('x')\n")
    return folder


@pytest.fixture(autouse=True)
def no_settings_of_pip(monkeypatch) -> None:
    for name in ("INDEX_URL", "EXTRA_INDEX_URL", "FIND_LINKS", "CONSTRAINT"):
        monkeypatch.delenv(f"PIP_{name}", raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "PYTHONPATH", "PYTHONHOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")


@pytest.fixture
def course(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(begin(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A course with its environment; pip takes seconds to be put there."""
    folder = begin(tmp_path_factory.mktemp("made"))
    assert subprocess.run(command(), cwd=folder, capture_output=True, timeout=300).returncode == 0
    return folder


@pytest.fixture(scope="module")
def seconds(made) -> float:
    """What an installation takes, from its lock to its last step."""
    return (made / "settings").stat().st_mtime - (made / ".venv.lock").stat().st_mtime


@pytest.fixture
def installed(made, tmp_path, monkeypatch) -> Path:
    """A copy of it: what stands there about where it lies is relative."""
    shutil.copytree(made, tmp_path / "course", symlinks=True)
    monkeypatch.chdir(tmp_path / "course")
    return tmp_path / "course"


def command(*pip_arguments: str) -> list[str]:
    return [sys.executable, "tools/install.py", ".venv", ".venv/.installed", *pip_arguments]


def run(*pip_arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(command(*pip_arguments), capture_output=True, text=True, timeout=300)


def is_whole(course: Path) -> bool:
    finds = [course / ".venv/bin/python", "-c", "import helpers, pip; print(helpers.__file__)"]
    found = subprocess.run(finds, capture_output=True, text=True, cwd="/").stdout.strip()
    return found == str(course / "helpers" / "__init__.py") and not (course / ".venv/.unfinished").exists()


def test_it_installs_once_and_follows_what_is_newer(installed):
    assert is_whole(installed)
    stamp = (installed / ".venv/.installed").stat().st_mtime_ns
    assert run().returncode == 0 and (installed / ".venv/.installed").stat().st_mtime_ns == stamp
    (installed / "requirements.txt").touch()
    assert run().returncode == 0 and (installed / "settings").read_text() == "xx"
    (installed / "requirements.txt").write_text("# others\n")
    os.utime("requirements.txt", (0, 0))  # copied here from an older course, with its date
    assert run().returncode == 0 and (installed / "settings").read_text() == "xxx"
    (installed / ".venv/.installed").write_text("")  # as it was before what it is made from stood there
    assert run().returncode == 0 and run().returncode == 0 and (installed / "settings").read_text() == "xxxx"


def test_before_it_installs_it_says_so_and_else_nothing(installed):
    assert run().stdout == ""
    (installed / "requirements.txt").touch()
    assert "2 GB" in run().stdout


@pytest.mark.parametrize("gone", [None, "bin/python", "pyvenv.cfg"])
def test_it_mends_what_is_cut_short(installed, gone):
    venv = installed / ".venv"
    (venv / "half").touch()
    if gone is None:
        (venv / install.MARK).touch()
    else:
        (venv / gone).unlink()  # without pyvenv.cfg its python is the machine's, into which nothing may go
        assert not install.runs(venv)
    assert run().returncode == 0 and is_whole(installed) and install.runs(venv) and not (venv / "half").exists()


def test_an_update_that_fails_leaves_what_works_and_a_lost_package_is_noticed(installed):
    (installed / ".venv/kept").touch()
    (installed / "requirements.txt").write_text("no-such-package==1.0\n")
    assert [run("--no-index").returncode for _ in range(2)] == [1, 1]
    assert is_whole(installed) and (installed / ".venv/kept").exists()
    os.utime(installed / ".venv/.installed")  # a stamp alone is no proof
    assert run("--no-index").returncode == 1


def test_an_update_that_is_interrupted_while_pip_only_looks_leaves_what_works(installed):
    (installed / "requirements.txt").write_text("no-such-package==1.0\n")
    with socket.create_server(("127.0.0.1", 0)) as nobody_answers:
        index = f"http://127.0.0.1:{nobody_answers.getsockname()[1]}/simple"
        looking = subprocess.Popen(command("--index-url", index), start_new_session=True, stderr=subprocess.PIPE)
        with nobody_answers.accept()[0]:  # pip has asked
            os.killpg(looking.pid, signal.SIGINT)
            looking.communicate(timeout=60)
    assert looking.returncode and is_whole(installed)


@pytest.mark.parametrize("seed", range(5))
def test_killed_at_any_moment_it_is_mended_by_the_same_command(course, seconds, seed):
    """By Ctrl-C, which reaches all of them, or by a kill that pip outlives."""
    moment = random.Random(seed).uniform(0, seconds)
    first = subprocess.Popen(command(), start_new_session=True, stderr=subprocess.DEVNULL)
    time.sleep(moment)
    if seed % 2:
        os.killpg(first.pid, signal.SIGINT)
    else:
        first.kill()
    first.wait(timeout=60)
    done = run()
    assert done.returncode == 0 and is_whole(course), (moment, done.stderr)
    assert (course / ".venv/.installed").exists()
    assert subprocess.run([sys.executable, "tools/install.py", "--whole", ".venv"]).returncode == 0


@pytest.mark.parametrize("step", ["looking", "fetching", "installing"])
def test_a_disk_that_fills_up_under_pip_is_said_and_then_mended(installed, step):
    python = installed / ".venv/bin/python"
    python.rename(real := python.with_name("python-real"))
    full = "echo 'ERROR: [Errno 28] No space left on device' >&2; exit 1"  # as quiet as pip can be told to be
    if step == "installing":
        full = f"touch {next(installed.glob('.venv/lib/python*/site-packages'))}/cut.pyc; {full}"
    looks = "" if step == "looking" else '*--dry-run*) exec "$0-real" "$@";; '
    program(python, f'case "$*" in {looks}*"-m pip install"*) {full};; esac\nexec "$0-real" "$@"')
    (installed / "requirements.txt").touch()
    done = run()
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("pip: there is no room left: the environment takes about 2 GB")
    assert (installed / ".venv" / install.MARK).exists() == (step == "installing")
    real.replace(python)
    assert run().returncode == 0 and is_whole(installed)


BARE = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]  # root who may do what modes allow


def may_not_write() -> list[str]:
    """What a command begins with that is to obey the modes of folders."""
    if os.geteuid():
        return []
    if not shutil.which("setpriv") or subprocess.run([*BARE, "true"], capture_output=True).returncode:
        pytest.skip("this root writes everywhere")
    return BARE


@pytest.mark.parametrize("folder", [".", ".venv"])
def test_a_folder_that_can_only_be_read_is_said_and_stays_as_it_was(installed, folder):
    if folder == ".":
        shutil.rmtree(".venv")
        Path(".venv.lock").unlink(missing_ok=True)
    (installed / "requirements.txt").touch()
    before = sorted(os.listdir(folder))
    os.chmod(folder, 0o555)
    done = subprocess.run([*may_not_write(), *command()], capture_output=True, text=True, timeout=300)
    os.chmod(folder, 0o755)
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert "Permission denied" in done.stderr and "make lab VENV=/a/new/folder" in done.stderr
    assert sorted(os.listdir(folder)) == before


@pytest.mark.parametrize(
    ("line", "index", "says"),
    [
        ("no-such-package==1.0", ["--index-url", "http://127.0.0.1:9/simple"], "needs a network"),
        ("no-such-package==1.0", ["--index-url", "https://no-such-index.invalid/simple"], "needs a network"),
        ("not a requirement ==", ["--no-index"], "pip ended with 1: "),
    ],
)
def test_without_a_network_or_with_a_bad_package_one_line_says_so_within_15_seconds(installed, line, index, says):
    (installed / "requirements.txt").write_text(f"{line}\n")
    started = time.monotonic()
    done = run(*index)
    assert time.monotonic() - started < 15
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and says in done.stderr and is_whole(installed)


@pytest.mark.parametrize("kind", ["works", "has no pip", "is none"])
def test_an_environment_of_ones_own_is_refused_and_keeps_its_files(installed, kind):
    venv = installed / ".venv"
    (venv / ".installed").unlink()  # by this it would be ours
    (venv / "thesis.tex").touch()
    if kind == "has no pip":
        shutil.rmtree(next(venv.glob("lib/python*/site-packages/pip")))  # as uv and Poetry make them
    elif kind == "is none":
        (venv / "pyvenv.cfg").unlink()  # as in a folder of one's own, or in Anaconda's
    before = sorted(os.listdir(venv))
    done = run()
    assert done.returncode == 1 and "holds files or an environment that make did not make" in done.stderr
    assert done.stderr.count("\n") == 1 and "make lab VENV=" in done.stderr
    assert sorted(os.listdir(venv)) == before


def test_whatever_a_later_line_pins_and_the_course_itself_are_missed(installed, monkeypatch):
    venv, pins = installed / ".venv", installed / "requirements.txt"
    assert subprocess.run([sys.executable, "tools/install.py", "--whole", venv]).returncode == 0
    pins.write_text("pip==1\nno-such-package==1.0\n")
    assert subprocess.run([sys.executable, "tools/install.py", "--whole", venv]).returncode == 1
    monkeypatch.setattr(install, "NEEDED", [pins])
    monkeypatch.setattr(install, "ROOT", installed)
    assert not install.has_all(venv)
    pins.write_text("")
    assert install.has_all(venv)
    (way,) = venv.glob(install.PATH_FILE)
    way.write_text(f"{installed.parent}\n")  # to another clone
    assert not install.has_all(venv)
    way.unlink()
    assert subprocess.run([sys.executable, "tools/install.py", "--whole", venv]).returncode == 1
    assert run().returncode == 0 and is_whole(installed)


def test_bytecode_that_a_full_disk_cut_off_is_written_anew(course):
    (course / "helpers").mkdir(exist_ok=True)
    paths = [course / "helpers" / f"{name}.py" for name in ("whole", "cut")]
    for path in paths:
        path.write_text("x = [1, 2, 3]\n")
        py_compile.compile(path)
    whole, cut = (Path(importlib.util.cache_from_source(path)) for path in paths)
    cut.write_bytes(cut.read_bytes()[:-5])
    subprocess.run([sys.executable, "tools/install.py", "--whole", ".venv"])
    assert whole.exists() and not cut.exists()


def test_a_second_call_waits_and_says_so_also_where_one_knows_the_environment_by_a_link(course):
    (course / "env").mkdir()
    (course / ".venv").symlink_to("env")
    first = subprocess.Popen(command())
    deadline = time.monotonic() + 60
    while not (course / ".venv" / install.MARK).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    by_its_name = [sys.executable, "tools/install.py", "env", "env/.installed"]
    second = subprocess.run(by_its_name, capture_output=True, text=True, timeout=300)
    assert first.wait() == second.returncode == 0 and "waiting for it" in second.stderr
    assert (course / "settings").read_text() == "x"


def clean(**variables: str) -> str:
    shutil.copy(SCRIPT.parents[1] / "Makefile", ".")
    called = ["make", "clean", "VENV=.venv"]  # whatever environment a make around this one was given
    return subprocess.run(called, env=os.environ | variables, capture_output=True, text=True).stdout


def test_what_is_cleaned_half_is_gone_on_with(installed, tmp_path):
    """With an `rm` that takes the signs of a whole environment first, as it may, and is interrupted then."""
    program(tmp_path / "rm", 'case "$* " in *" .venv "*) exec /bin/rm -r .venv/.[iu]*;; esac\nexit 1')
    clean(PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert run().returncode == 0 and is_whole(installed) and (installed / "settings").read_text() == "xx"
    clean()
    assert not (installed / ".venv").exists()


def test_clean_takes_no_folder_that_make_did_not_make_and_of_a_link_only_the_link(course):
    for place in (course / "theirs", course / ".venv"):
        place.mkdir()
        (place / "pyvenv.cfg").touch()
    assert "it stays" in clean() and (course / ".venv/pyvenv.cfg").exists()
    shutil.rmtree(course / ".venv")
    (course / "theirs/.installed").touch()
    (course / ".venv").symlink_to("theirs")
    clean()
    assert not (course / ".venv").is_symlink() and sorted(os.listdir("theirs")) == [".installed", "pyvenv.cfg"]


def test_a_python_that_is_named_for_pip_is_not_the_one_it_installs_into(installed, monkeypatch):
    (installed / "requirements.txt").touch()
    monkeypatch.setenv("PIP_PYTHON", "/no/python")
    assert run().returncode == 0


@pytest.mark.parametrize("setting", ["PYTHONPATH", "PYTHONHOME", "PYTHONOPTIMIZE"])
def test_what_a_shell_sets_for_another_python_stays_outside(installed, tmp_path, setting):
    shutil.copy(SCRIPT.parents[1] / "Makefile", installed)
    (installed / "helpers" / "storage").mkdir()
    (installed / "helpers" / "storage" / "weights.py").write_text("import pip; print(pip.__file__, __debug__)")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "pip.py").touch()
    done = subprocess.run(
        ["make", "smollm2"], capture_output=True, text=True, env=os.environ | {setting: str(tmp_path / "theirs")}
    )
    assert done.returncode == 0 and str(installed / ".venv") in done.stdout and "True" in done.stdout, done.stderr


def name_like_modules(folder: Path) -> None:
    for name in ("json", "random", "pip"):
        (folder / f"{name}.py").write_text("raise SystemExit('mine')")


def test_a_file_that_is_called_as_a_module_takes_no_environment_away(installed):
    shutil.copy(SCRIPT.parents[1] / "Makefile", installed)
    (installed / "helpers" / "storage").mkdir()
    (installed / "helpers" / "storage" / "weights.py").write_text("import json, pip; print(pip.__file__)")
    (installed / ".venv/kept").touch()
    name_like_modules(installed)
    for _ in range(2):
        done = subprocess.run(["make", "smollm2"], capture_output=True, text=True)
        assert done.returncode == 0 and str(installed / ".venv") in done.stdout, done.stderr
        assert (installed / ".venv/kept").exists()
        (installed / "requirements.txt").touch()


def test_nor_does_it_keep_one_from_being_made(course):
    name_like_modules(course)
    assert run().returncode == 0 and is_whole(course)


def test_what_comes_as_source_is_built_as_newer_pips_build_it():
    """Else Python 3.11.3 and older leave of rouge-score no record that is looked for."""
    install.step([sys.executable, "-c", "import os, sys; sys.exit(os.environ['PIP_USE_PEP517'] != '1')"], "pip")


def test_every_pinned_package_takes_the_first_python_of_the_course():
    """Debian 12 has Python 3.11.2."""
    pinned = re.findall(r"^([\w.-]+)==", install.NEEDED[0].read_text(), re.MULTILINE)
    refuse = {}
    for name in pinned:
        with contextlib.suppress(metadata.PackageNotFoundError):  # of another system
            wanted = metadata.metadata(name)["Requires-Python"] or ""
            if not all(version in SpecifierSet(wanted) for version in ("3.11.0", "3.12.0", "3.13.0")):
                refuse[name] = wanted
    assert refuse == {}


@pytest.mark.parametrize(
    ("pip_says", "is_read"),
    [
        ("after connection broken by '[SSL: CERTIFICATE_VERIFY_FAILED]'\nERROR: (from versions: none)", "PIP_CERT="),
        ("ERROR: none found (from versions: none)", "none for this Python and system, or a page"),
        ("ERROR: the reason\nERROR: what follows\na hint", "pip ended with 3: ERROR: the reason"),
        ("another\nreason", "pip ended with 3: reason"),
    ],
)
def test_what_pip_says_is_put_in_one_line(pip_says, is_read):
    says = f"import sys; sys.stderr.write({pip_says!r}); sys.exit(3)"
    with pytest.raises(install.Failed) as failed:
        install.step([sys.executable, "-c", says], "pip")
    assert is_read in str(failed.value) and "\n" not in str(failed.value)


PAGE = b"<html><title>Welcome to the network</title>Please log in</html>"


def wheel() -> bytes:
    """A package of one module, as an index gives it."""
    made, info = io.BytesIO(), "toy-1.0.dist-info"
    files = {"toy/__init__.py": "\n", f"{info}/METADATA": "Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n"}
    files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{info}/RECORD"] = "".join(f"{name},,{len(files[name])}\n" for name in files)
    with zipfile.ZipFile(made, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return made.getvalue()


@pytest.fixture
def index(monkeypatch) -> Iterator[dict]:
    """A package index on this machine; what it answers is in the dict: (status, body), by kind of page."""
    link = b'<a href="/toy-1.0-py3-none-any.whl">toy-1.0-py3-none-any.whl</a>'
    answers = {"list": (200, link), "file": (200, wheel())}

    class Index(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answers["file" if self.path.endswith(".whl") else "list"]
            self.send_response(status)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_address[1]}/simple")
        yield answers
        server.shutdown()


def test_a_network_that_answers_something_else_is_said_in_one_line(course, index):
    (course / "requirements.txt").write_text("toy==1.0\n")
    good = dict(index)
    for page, answer, says in (
        ("list", (503, b"down"), "did not list or give a package"),
        ("list", (200, PAGE), "did not list or give a package"),
        ("file", (503, b"down"), "did not list or give a package"),
        ("file", (200, PAGE), "is no whole package"),
        ("file", (200, wheel()[:100]), "is no whole package"),
    ):
        index.update(good | {page: answer})
        done = run()
        assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
        assert says in done.stderr and "log in" in done.stderr
    index.update(good)
    assert run().returncode == 0 and is_whole(course)
    module = next(course.glob(".venv/lib/*/site-packages/toy/__init__.py"))
    for damage in (lambda: shutil.rmtree(module.parent), lambda: module.write_text("")):  # as a power cut leaves it
        damage()  # the record is left, which pip believes
        assert [info.name for info in install.hollow(course / ".venv")] == ["toy-1.0.dist-info"]
        assert run().returncode == 0 and module.read_text() == "\n"


def test_a_full_disk_and_a_folder_that_cannot_be_written_are_said(course, monkeypatch, capsys):
    (loop := course / "loop").symlink_to(loop)
    assert install.main(["loop", "stamp"]) == 1 and "File exists" in capsys.readouterr().err
    for number, words in ((errno.ENOSPC, "no room left"), (errno.EROFS, "VENV=")):
        monkeypatch.setattr(install, "install", Mock(side_effect=OSError(number, os.strerror(number), ".venv")))
        assert install.main([".venv", ".venv/.installed"]) == 1
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and words in said
