"""What a run says: progress on standard output, warnings on standard error, from the first worker alone."""

from __future__ import annotations

import sys

from tqdm import tqdm


class Console:
    """The voice of a run. Warnings with a topic are kept, so that they are not lost above a long run's output.

    rank  of this worker; all but worker 0 are silent
    """

    def __init__(self, rank: int = 0) -> None:
        self.rank = rank
        self._kept: dict[str, list[str]] = {}

    def say(self, text: str) -> None:
        if self.rank == 0:
            with tqdm.external_write_mode(file=sys.stdout):  # a progress bar steps aside
                print(text, flush=True)

    def warn(self, text: str, topic: str | None = None) -> None:
        if topic:
            self._kept.setdefault(topic, []).append(text)
        self.complain(f"warning: {text}")

    def complain(self, text: str) -> None:
        if self.rank == 0:
            with tqdm.external_write_mode(file=sys.stderr):
                print(text, file=sys.stderr, flush=True)

    def warn_again(self) -> None:
        """The last warning of each topic once more, with how many there were."""
        for texts in self._kept.values():
            times = f" ({len(texts)} times, this is the last)" if len(texts) > 1 else ""
            self.complain(f"warning, again{times}: {texts[-1]}")
        self._kept.clear()
