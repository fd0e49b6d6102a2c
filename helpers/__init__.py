"""The tested code behind the notebooks, in four rooms: gpt, storage, labs, classroom. README.md says what is where."""

import sys
from importlib.util import find_spec
from pathlib import Path

NEEDED = {"numpy", "torch", "matplotlib", "tiktoken", "ipywidgets", "tqdm", "safetensors"}


def _refuse_what_hides_a_module() -> None:
    """ImportError: a student's own random.py or torch.py, which Python would take for the real one."""
    for file in [*Path(__file__).parents[1].glob("*.py"), *Path.cwd().glob("*.py")]:
        found = find_spec(file.stem) if file.stem in NEEDED | sys.stdlib_module_names else None
        if found and found.origin and Path(found.origin).resolve() == file.resolve():
            said = f"{file} hides Python's own {file.stem}: give that file another name, and start again"
            raise SystemExit(said) if sys.argv[:1] == ["-m"] else ImportError(said)


def _told(kind: type[BaseException], error: BaseException, trace: object) -> None:
    if kind.__name__ in ("KeyboardInterrupt", "CancelledError"):  # the second is what asyncio makes of the first
        print("interrupted: run the same command again", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


_refuse_what_hides_a_module()
if sys.argv[:1] == ["-m"]:  # python -m helpers.something: Ctrl-C is a line, also while torch is loaded
    sys.excepthook = _told
