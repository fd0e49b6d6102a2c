"""The course in Brazilian Portuguese, made from the English edition and the catalogues in i18n/pt_BR.

    python -m tools.translate update              catalogues in step with the English: new texts in, gone ones out
    python -m tools.translate todo NAME           what is not translated, or was reworded, as JSON
    python -m tools.translate put NAME FILE       {identity: translation} from a JSON file; what is wrong with them
    python -m tools.translate build               the edition's files; what has other code than before is executed
    python -m tools.translate gate                whether catalogues, edition and English are in step: `make lint`

`make translate` is update and build.
NAME is the path of a notebook or page without its suffix, its beginning, README, or helpers.
"""

import json
import sys
from contextlib import nullcontext
from pathlib import Path

from tools import alone, notebooks
from tools.notebooks import ROOT
from tools.translate import catalogue, edition, messages
from tools.translate.gate import faults, gate


def main(arguments: list[str]) -> int:
    command, *rest = arguments or ["help"]
    if len(rest) != {"todo": 1, "put": 2}.get(command, 0):
        command = "help"
    with (
        alone(ROOT / "build" / "translation", "the translation")
        if command in ("put", "update", "build")
        else nullcontext()
    ):
        return _do(command, rest)


def _do(command: str, rest: list[str]) -> int:
    if command == "todo":
        print(catalogue.todo(catalogue.find(rest[0])))
    elif command == "put":
        name = catalogue.find(rest[0])
        n_put = catalogue.put(name, json.loads(Path(rest[1]).read_text(encoding="utf-8")))
        n_open, problems = sum(map(catalogue.is_open, catalogue.load(name))), list(faults(name))
        print("\n".join([*problems, f"{name}: {n_put} translations, {n_open} entries to do, {len(problems)} faults"]))
        return int(bool(problems))
    elif command == "update":
        for name in catalogue.names():
            print(f"{name}: {', '.join(f'{n} {what}' for what, n in catalogue.update(name).items())}")
    elif command == "build":
        messages.store(catalogue.speaker("helpers"))
        changed = list(edition.install(edition.finished()))
        return notebooks.main(["stamp"]) or notebooks.run(changed)
    elif command == "gate":
        problems = list(gate())
        print("\n".join(problems) or "both editions are in step")
        return int(bool(problems))
    else:
        print(__doc__)
        return 2
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (OSError, ValueError) as error:  # a full disk, a name that nothing has; what is written stays as it was
        sys.exit(f"tools.translate: {error}")
