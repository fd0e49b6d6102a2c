"""What authors run. Work at import time, for once: of Ctrl-C each of them says one line, and its finally blocks run."""

import sys


def _told(kind: type[BaseException], error: BaseException, trace: object) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _told
