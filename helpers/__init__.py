"""The tested code behind the notebooks, in four rooms: gpt, storage, labs, classroom. README.md says what is where."""

import sys


def _told(kind: type[BaseException], error: BaseException, trace: object) -> None:
    own = str(getattr(error, "name", "")).startswith(("helpers", "tools"))
    of_asyncio = kind.__module__ == "asyncio.exceptions" and kind.__name__ == "CancelledError"  # its Ctrl-C
    if of_asyncio or issubclass(kind, KeyboardInterrupt):
        print("interrupted: run the same command again", file=sys.stderr)
    elif issubclass(kind, MemoryError | SystemError | ImportError) and not own:
        why = str(error).partition("\n")[0] or kind.__name__
        print(f"cannot be loaded here ({why}): is memory short, or `make` not done?", file=sys.stderr)
        sys.unraisablehook = lambda _: None  # what is half loaded has last words of its own
    else:
        sys.__excepthook__(kind, error, trace)


if sys.argv[:1] == ["-m"]:  # python -m helpers.something: Ctrl-C is a line, also while torch is loaded
    sys.excepthook = _told
    for _stream in filter(None, (sys.stdout, sys.stderr)):  # a name that the terminal cannot show stops nothing
        _stream.reconfigure(errors="backslashreplace")

from importlib.util import find_spec  # noqa: E402
from pathlib import Path  # noqa: E402

NEEDED = {"numpy", "scipy", "torch", "matplotlib", "PIL", "IPython", "tiktoken", "regex", "ipywidgets", "tqdm"}
NEEDED |= {"safetensors", *sys.stdlib_module_names} - {"this", "turtle", "antigravity", "tkinter"}


def _refuse_what_hides_a_module() -> None:
    """ImportError: a student's own random.py or torch.py, which Python would take for the real one."""
    for file in [*Path(__file__).parents[1].glob("*.py"), *Path.cwd().glob("*.py")]:
        found = find_spec(file.stem) if file.stem in NEEDED else None
        if found and found.origin and Path(found.origin).resolve() == file.resolve():
            said = f"{file} hides the module {file.stem}: give it another name, and start Python anew"
            raise SystemExit(said) if sys.argv[:1] == ["-m"] else ImportError(said)


_refuse_what_hides_a_module()
