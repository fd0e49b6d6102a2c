"""Grade a folder of returned notebooks, each exercise in a process of its own that can spoil nothing.

    python -m tools.grade FOLDER [--notebook 02] [--out build/grade]

FOLDER holds notebooks, one a student or a folder a student. Written are grades.csv and a feedback file a student.
Graded are the cells of exercises, by the course's own checks; the README says what isolation that gives.
"""

import argparse
import csv
import io
import json
import multiprocessing
import os
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing import forkserver
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from helpers import language
from helpers.classroom import RIGHT
from helpers.language import t
from tools.grade import cage
from tools.grade.judge import ENDED, ON_TRUST, STOPPED, TOO_LONG, judge_and_tell
from tools.grade.returned import Answer, Exercise, answers, cells, everyone, exercises
from tools.notebooks import ROOT, write_whole

FORKS = multiprocessing.get_context("forkserver")  # its server forks judges, and never sees an answer itself
SECONDS, GRACE_S = 15, 5  # for an exercise; for the judge to say that they are over
MISSING, UNREADABLE = t("missing"), t("unreadable")
ON_ITS_WORD = "its check must take the answer's word, which could be forged: read this cell"


class Row(NamedTuple):
    """A line of grades.csv.

    minutes, seconds  what the exercise is said to take, what judging it took
    note, look        for the student, in the language of the notebook; for the teacher
    """

    who: str
    notebook: str
    exercise: str
    verdict: str
    minutes: int = 0
    seconds: float = 0.0
    note: str = ""
    look: str = ""
    language: str = ""

    def cells(self) -> list[str]:
        """As text; a spreadsheet takes none of it for a formula."""
        return [re.sub(r"^(?=[=+\-@])", "'", _plain(str(value))) for value in self[:-1]]


def _plain(text: str) -> str:
    """On one line, without what a terminal or an editor would not show as it is."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def grade(folder: Path, out: Path, notebook: str = "", seconds: int = SECONDS) -> list[Row]:
    """Judge everything in `folder`, and write grades.csv and feedback/ into `out`, which lies elsewhere.

    notebook  beginning of the name of the one that was to be returned: its exercises are missed where they are not;
              "": of each notebook of which somebody returned an exercise
    seconds   for one exercise

    ValueError: no such folder or notebook, a folder without one, or a system that permits no cage. OSError: `out`
    takes nothing; what was written there before is whole.
    """
    if not folder.is_dir():
        raise ValueError(f"expected a folder of notebooks, got {folder}")
    if out.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"expected --out elsewhere, got {out}: what lies in {folder} is taken for a student's")
    if reason := cage.why_not():
        raise ValueError(f"this system permits no cage, and without one nothing is run: {reason}")
    (out / "feedback").mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=out).close()  # what takes nothing is known before minutes of judging
    empty = cage.hidden([folder, out])
    wanted = [e for e in exercises().values() if e.notebook.startswith(notebook)]
    rows, found = _read(folder, wanted, bool(notebook))
    if not rows and not found:
        raise ValueError(f"expected a folder of returned notebooks, got {folder}, which has none")
    with tempfile.TemporaryDirectory() as own:
        os.chmod(own, 0o755)
        _start_server()
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            judged = pool.map(lambda answer: _row(answer, *_judged(answer, Path(own), empty, seconds)), found)
            rows += tqdm(judged, total=len(found), unit=" answers", disable=None)  # None: where it is no terminal
    order = {exercise.name: i for i, exercise in enumerate(wanted)}
    rows.sort(key=lambda row: (row.who, order.get(row.exercise, -1)))
    _write(rows, out)
    return rows


def _start_server() -> None:
    """What forks judges; it loads for seconds, and has nothing to say if Ctrl-C falls into them."""
    FORKS.set_forkserver_preload(["tools.grade.judge", "torch._dynamo"])  # what an optimizer imports
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    forkserver.ensure_running()
    signal.signal(signal.SIGINT, before)


def _read(folder: Path, wanted: Sequence[Exercise], required: bool) -> tuple[list[Row], list[Answer]]:
    """Rows for what is missing or cannot be read, and the answers that are there."""
    rows, found = [], []
    for who, paths in everyone(folder).items():
        own: list[Answer] = []
        for path in paths:
            try:
                code = [source for kind, source in cells(path) if kind == "code"]
            except (ValueError, OSError) as error:
                rows.append(Row(who, path.name, "", UNREADABLE, note=str(error)))
                continue
            own += answers(who, code, wanted)
        there = {answer.exercise.notebook for answer in own}
        asked = [exercise for exercise in wanted if required or exercise.notebook in there]
        if not own and not any(row.who == who for row in rows):
            rows.append(Row(who, "", "", MISSING, note=t("no exercise found in what was returned")))
        names = {answer.exercise.name for answer in own}
        rows += [Row(who, e.notebook, e.name, MISSING, e.minutes) for e in asked if e.name not in names]
        found += own
    return rows, found


def _row(answer: Answer, verdict: str, note: str, took: float) -> Row:
    exercise, note = answer.exercise, " · ".join(filter(None, (note, answer.note)))
    look = f"it names {answer.look}" if answer.look else ""
    if verdict == RIGHT and exercise.name in ON_TRUST:
        look = " · ".join(filter(None, (look, ON_ITS_WORD)))
    took, minutes = round(took, 1), exercise.minutes
    return Row(answer.who, exercise.notebook, exercise.name, verdict, minutes, took, note, look, answer.language)


def _judged(answer: Answer, own: Path, empty: list[Path], seconds: int) -> tuple[str, str, float]:
    """(verdict, note, seconds) from a process that judges this answer and no other."""
    line, there = FORKS.Pipe(duplex=False)
    process = FORKS.Process(target=judge_and_tell, args=(there, answer, own, empty, seconds))
    process.start()  # waits for the server's imports, the first time
    since, said, started = time.monotonic(), None, None
    there.close()
    try:
        while said is None:
            if not line.poll(max(0.0, since + seconds + GRACE_S - time.monotonic())):
                said = STOPPED, TOO_LONG
            elif isinstance(message := json.loads(line.recv_bytes()), list):
                said, started = message, None  # it has ended the answer's process itself
            else:
                started = message  # the answer's process, by its number
    except EOFError:
        said = STOPPED, ENDED
    process.kill()
    if started:
        with suppress(ProcessLookupError):
            os.kill(started, signal.SIGKILL)
    process.join()
    line.close()
    return *said, time.monotonic() - since


def _write(rows: Sequence[Row], out: Path) -> None:
    table = io.StringIO(newline="")
    csv.writer(table).writerows([Row._fields[:-1], *(row.cells() for row in rows)])
    write_whole(out / "grades.csv", "\ufeff" + table.getvalue())  # with the mark of UTF-8, as a spreadsheet wants it
    usual = Counter(row.language for row in rows if row.language).most_common(1) or [(language.ENGLISH, 0)]
    taken = set()
    for who in dict.fromkeys(row.who for row in rows):
        own = [row for row in rows if row.who == who]
        language.choose(next((row.language for row in own if row.language), usual[0][0]))
        name = re.sub(r"[^\w.-]+", "_", who).strip(".")[:60] or "_"
        while name.casefold() in taken:
            name += "_"
        taken.add(name.casefold())
        write_whole(out / "feedback" / f"{name}.txt", _feedback(who, own))
    language.choose(language.ENGLISH)


def _feedback(who: str, rows: Sequence[Row]) -> str:
    right = sum(row.verdict == RIGHT for row in rows)
    lines = [_plain(who), t("{right} right of {total}", right=right, total=len(rows)), ""]
    for row in rows:
        note = row.note if row.language else language.spoken(row.note)
        said = filter(None, (row.notebook, row.exercise, language.spoken(row.verdict), note))
        lines.append(_plain(" · ".join(said)))
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--notebook", default="", help="the one that was to be returned, e.g. 02")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "grade")
    parser.add_argument("--seconds", type=int, default=SECONDS, help=f"for an exercise, {SECONDS}")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    try:
        rows = grade(options.folder, options.out, options.notebook, options.seconds)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    told = ", ".join(f"{n} {verdict}" for verdict, n in Counter(row.verdict for row in rows).most_common())
    n_students = len({row.who for row in rows})
    took = f"{n_students} student{'s' * (n_students != 1)} in {time.monotonic() - started:.0f} s"
    print(f"{took}: {told}\n{options.out / 'grades.csv'}, and a file a student in {options.out / 'feedback'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
