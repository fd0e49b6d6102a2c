"""One place decides seed, threads, device and precision."""

import os
import random
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers import runtime
from tests.support import refused

ROOT = Path(__file__).resolve().parents[1]


def test_seeds_all_three_generators():
    def draw(seed: int):
        runtime.start(seed=seed)
        return random.random(), float(np.random.rand()), torch.rand(1).item()

    assert draw(3) == draw(3) != draw(4)
    for wrong in (-1, 2**32, 1.5, "0", True):  # which numpy cannot take
        refused("seed", runtime.start, wrong)


def test_threads_can_be_set_from_outside(monkeypatch):
    for asked, threads in ((None, 1), ("2", 2), ("1", 1)):
        monkeypatch.delenv(runtime.THREADS_VARIABLE, raising=False)
        if asked:
            monkeypatch.setenv(runtime.THREADS_VARIABLE, asked)
        assert runtime.start().threads == runtime.threads_in_use() == torch.get_num_threads() == threads
    for wrong in ("0", "two", "-1", "²", "1025", "9" * 30):
        monkeypatch.setenv(runtime.THREADS_VARIABLE, wrong)
        refused(runtime.THREADS_VARIABLE, runtime.start)


@pytest.mark.parametrize(
    ("capability", "expected"),
    [((7, 5), torch.float16), ((8, 0), torch.bfloat16), ((9, 0), torch.bfloat16), ((7, 0), torch.float16)],
)
def test_precision_follows_compute_capability_not_what_torch_says(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *device: capability)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert runtime.pick_precision(torch.device("cuda")) == expected
    assert runtime.pick_precision(torch.device("cpu")) == torch.float32
    lab = runtime.start()
    assert (lab.grad_scaler, lab.model, lab.device.type) == (expected == torch.float16, "book-124m", "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    text = str(runtime.start())
    assert "\n" not in text and all(word in text for word in ("cpu", "float32", torch.__version__))


@pytest.mark.parametrize(("before", "after"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")])
def test_waiting_threads_sleep_unless_told_otherwise(before, after, tmp_path):
    """Also where no Makefile has said so: in a JupyterLab, an editor or a Colab of one's own. Torch looks only once."""
    (tmp_path / "torch.py").write_text("import os\nprint(os.environ['OMP_WAIT_POLICY'])\nraise SystemExit")
    environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"} | before
    environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path), *sys.path])
    run = [sys.executable, "-c", "from helpers import runtime"]
    told = subprocess.run(run, env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == after


@pytest.mark.parametrize("module", ["torch", "statistics"])
def test_a_student_s_file_that_hides_a_module_is_named_where_it_would_be_imported(module, tmp_path):
    (file := tmp_path / f"{module}.py").write_text("raise SystemExit('imported')")
    (tmp_path / "turtle.py").touch()  # which nothing needs
    said = f"{file} hides the module {module}: give it another name, and start Python anew"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONSAFEPATH"} | {"PYTHONPATH": str(ROOT)}

    def last_line(*command: str, **variables: str) -> list[str]:
        given = {"cwd": tmp_path, "env": environment | variables, "capture_output": True, "text": True}
        return subprocess.run([sys.executable, *command], **given).stderr.splitlines()[-1:]

    assert last_line("-c", "import helpers") == [f"ImportError: {said}"]
    assert last_line("-m", "helpers") == [said]
    assert last_line("-c", "import helpers", PYTHONSAFEPATH="1") == []


def test_torch_is_loaded_whole_before_an_interruption_acts():
    """Also what the first optimizer needs: half of it could not be loaded again before a restart of the kernel."""
    code = """
    import builtins, ipykernel, signal
    real, left = builtins.__import__, {"torch", "sympy"}
    def interrupted(name, *rest):
        if name in left:
            left.remove(name)
            signal.raise_signal(signal.SIGINT)
        return real(name, *rest)
    builtins.__import__ = interrupted
    for _ in range(2):
        try:
            from helpers import runtime
            runtime.start()
        except KeyboardInterrupt:
            print(sorted(left))
    import torch
    torch.optim.AdamW([torch.zeros(1)])
    """
    found = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert found.stdout == "['sympy']\n[]\n"


def test_an_interruption_waits_in_the_main_thread_alone():
    done = []
    with pytest.raises(KeyboardInterrupt), runtime.ctrl_c_waits():
        signal.raise_signal(signal.SIGINT)
        done.append("block")
    with pytest.raises(ZeroDivisionError), runtime.ctrl_c_waits():
        1 / 0  # noqa: B018
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with ThreadPoolExecutor() as pool:
        pool.submit(lambda: runtime.ctrl_c_waits().__enter__()).result()
    assert done == ["block"]


@pytest.mark.parametrize("error", ["MemoryError", "SystemError('NULL')", "ImportError('no room', name='torch')"])
def test_what_cannot_be_loaded_is_a_line(error, tmp_path):
    (tmp_path / "sympy.py").write_text(f"raise {error}")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    run = [sys.executable, "-m", "helpers.labs.pretrain", "--help"]
    found = subprocess.run(run, env=environment, capture_output=True, text=True)
    assert found.returncode == 1 and found.stderr.startswith("cannot be loaded here (")
    assert len(found.stderr.splitlines()) == 1
