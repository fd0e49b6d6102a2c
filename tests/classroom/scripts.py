"""A card's script in V8, without a browser: its functions called with plain numbers, their answers as plain numbers."""

from __future__ import annotations

import atexit
import json
from functools import cache
from pathlib import Path

from py_mini_racer import MiniRacer

from helpers.classroom import cards

FOLDER = Path(cards.__file__).parent
STATES = "(settings, config) => settings.map((values) => compute(values, config))"


class Script:
    """The functions of runtime.js and of one card's script.

    kind  the script's name without .js; "" for runtime.js alone
    """

    def __init__(self, kind: str) -> None:
        self.v8 = MiniRacer()
        atexit.register(self.v8.close)  # one left open can keep Python from ending
        shared = ["log_slider"] if kind in ("cost", "size") else []
        for name in ["runtime", *shared, kind] if kind else ["runtime"]:
            self.v8.eval((FOLDER / f"{name}.js").read_text(encoding="utf-8"))

    def call(self, function: str, *arguments: object) -> object:
        """What the function (a name, or an expression) returns for JSON; an infinite number or NaN comes as None."""
        given = ",".join(json.dumps(argument) for argument in arguments)
        said = self.v8.eval(f"JSON.stringify(({function})({given}))")
        return None if said is None else json.loads(said)

    def states(self, settings: list[dict], config: object) -> list[dict]:
        """`compute`'s texts and attributes for each setting of the inputs."""
        return self.call(STATES, settings, config)


@cache
def script(kind: str = "") -> Script:
    """One engine per script for all tests: its functions keep nothing between calls."""
    return Script(kind)
