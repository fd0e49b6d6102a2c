"""The tested code behind the notebooks, in four rooms: gpt, storage, labs, classroom. README.md says what is where."""

import sys


def _told(kind: type[BaseException], error: BaseException, trace: object) -> None:
    if kind.__name__ in ("KeyboardInterrupt", "CancelledError"):  # the second is what asyncio makes of the first
        print("interrupted: run the same command again", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


if sys.argv[:1] == ["-m"]:  # python -m helpers.something: Ctrl-C is a line, also while torch is loaded
    sys.excepthook = _told
