"""How long a moved slider takes until it is painted: measured in the page, printed by the tests."""

import statistics
from collections.abc import Iterable
from typing import NamedTuple

N_MOVES = 100
# Timed from just before the event until a message that is sent in the frame after it comes back: script, style, paint.
MOVES = """async (root, [input, n]) => { const handle = root.querySelector(input), times = [];
    const low = Number(handle.min), stops = Number(handle.max) - low + 1;
    for (let i = 0; i < n; i++) {
      handle.value = low + (i * 7) % stops;
      await new Promise(requestAnimationFrame); await new Promise(r => setTimeout(r, 3));
      const begin = performance.now(); handle.dispatchEvent(new Event("input", {bubbles: true}));
      const script = performance.now() - begin;
      await new Promise(r => requestAnimationFrame(() => { const c = new MessageChannel();
        c.port1.onmessage = r; c.port2.postMessage(0); }));
      times.push([script, performance.now() - begin]); }
    return times; }"""


class Latency(NamedTuple):
    """Milliseconds."""

    median: float
    p95: float


def summarise(what: str, times: Iterable[float]) -> Latency:
    """Median and 95th percentile, printed as a line."""
    ordered = sorted(times)
    found = Latency(statistics.median(ordered), ordered[int(0.95 * len(ordered))])
    print(f"\n{what}: median {found.median:.1f} ms, p95 {found.p95:.1f} ms over {len(ordered)}", end="")
    return found


def of_moves(page, root: str, slider: str, what: str) -> Latency:
    """From the input event to the painted frame, over N_MOVES moves of `slider`, a selector inside the card `root`."""
    times = page.eval_on_selector(root, MOVES, [slider, N_MOVES])
    assert len(times) == N_MOVES
    summarise(f"{what}: script", (script for script, _ in times))
    return summarise(f"{what}: event to paint", (painted for _, painted in times))
