"""How long an action takes until its picture is painted: measured in the page, printed by the tests."""

import statistics
from collections.abc import Iterable
from typing import NamedTuple

N_ACTIONS = 100
# From an action to a message that is sent in the frame after the watched text has changed: [ms, the kernel's own ms].
TIMED = """async ([watched, act, n, pause]) => {
  const text = document.querySelector(watched), card = text.closest(".cw"), times = [];
  const painted = () => new Promise(r => requestAnimationFrame(() => {
    const c = new MessageChannel(); c.port1.onmessage = r; c.port2.postMessage(0); }));
  for (let i = 0; i < n; i++) {
    const begin = performance.now();
    await new Promise((done, failed) => {
      const late = setTimeout(() => failed(new Error(`no change within 10 s at action ${i}`)), 10000);
      const seen = new MutationObserver(() => { seen.disconnect(); clearTimeout(late); done(); });
      seen.observe(text, { childList: true, characterData: true, subtree: true });
      (new Function("card", "i", act))(card, i);
    });
    await painted();
    const fed = document.querySelector("[data-feed]");
    times.push([performance.now() - begin, fed ? JSON.parse(fed.dataset.config).ms : 0]);
    await new Promise(r => setTimeout(r, pause));
  }
  return times; }"""
NEXT_STOP = """const s = card.querySelector('[data-in=%s]'), low = Number(s.min), stops = s.max - low + 1;
  s.value = low + (s.value - low + 1) %% stops; s.dispatchEvent(new Event('input', {bubbles: true}))"""


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


def timed(page, watched: str, act: str, what: str, pause: int = 100) -> Latency:
    """Of N_ACTIONS actions, `pause` ms apart: JavaScript that knows `card` and the action's number `i`.

    watched  selector of what each of them changes the text of, within a card
    """
    times = page.evaluate(TIMED, [watched, act, N_ACTIONS, pause])
    if any(kernel for _, kernel in times):
        summarise("the kernel's share", (kernel for _, kernel in times))
    return summarise(f"{what}: event to picture", (picture for picture, _ in times))
