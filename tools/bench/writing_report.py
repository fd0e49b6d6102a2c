"""From the rounds of writing to a summary and a table: speed beside both baselines, cache, how far the tokens agree."""

from __future__ import annotations

import statistics

from tools.bench.report import ratio, spread

BASELINES = ("plain", "transformers")
NOTE = (
    "ms/tok and tok/s: medians over rounds of each process's median, the prompt's reading included. Ratios are of "
    "tok/s\nwithin a round: median (least to most). All variants have the same random weights. Same: how many new "
    "tokens, from the\nfirst on, are those of {reference}; bfloat16 rounds, and may leave it anywhere."
)


def summarise(rounds: list[dict[str, dict]], new_tokens: list[int]) -> dict[str, dict]:
    """Per variant: status, and where it ran its numbers for each count of new tokens.

    rounds  one dict per round, variant name -> the report of a `writing` worker
    return  name -> {"status", "reason"} or {"status", "n_params", "lengths": {"100": {"seconds_per_token",
            "tokens_per_s", "cache_bytes", "same_tokens", "x_plain", "x_transformers"}}}; a ratio is {"median", "min",
            "max", "n"}, or None where no round has both; same_tokens is None where there is nothing to compare with

    ValueError: no round.
    """
    if not rounds:
        raise ValueError("expected at least one round, got none")
    return {name: _of_variant(name, rounds, new_tokens) for name in rounds[0]}


def reference(rounds: list[dict[str, dict]]) -> str | None:
    """The variant whose tokens the others are compared with: the first baseline that ran."""
    return next((name for name in BASELINES if rounds[0].get(name, {}).get("status") == "ok"), None)


def _of_variant(name: str, rounds: list[dict[str, dict]], new_tokens: list[int]) -> dict:
    reports = [round_[name] for round_ in rounds]
    if worst := next((report for report in reports if report["status"] != "ok"), None):
        return {"status": worst["status"], "reason": worst["reason"]}
    lengths = {str(n_new): _of_length(name, rounds, str(n_new)) for n_new in new_tokens}
    return {"status": "ok", "n_params": reports[0]["n_params"], "lengths": lengths}


def _of_length(name: str, rounds: list[dict[str, dict]], n_new: str) -> dict:
    flat = [{other: r.get("lengths", {}).get(n_new, {}) for other, r in round_.items()} for round_ in rounds]
    mine = [round_[name] for round_ in flat]
    middle = {key: statistics.median(found[key] for found in mine) for key in ("seconds_per_token", "tokens_per_s")}
    ratios = {f"x_{baseline}": ratio(name, "tokens_per_s", flat, baseline) for baseline in BASELINES}
    base = reference(rounds)
    same = [_agreement(found["tokens"], flat[0][base]["tokens"]) for found in mine] if base else []
    return middle | ratios | {"cache_bytes": mine[0]["cache_bytes"], "same_tokens": min(same, default=None)}


def _agreement(tokens: list[int], expected: list[int]) -> int:
    """How many tokens agree before the first that does not."""
    pairs = zip(tokens, expected, strict=True)
    return next((index for index, (one, other) in enumerate(pairs) if one != other), len(tokens))


def table(writing: dict) -> str:
    """The summary as text, one line per variant and count of new tokens, under how it was measured."""
    how = writing["settings"]
    lines = [
        f"generation, {how['preset']}: prompt of {how['prompt_length']} tokens, one row, greedy; {how['rounds']} "
        f"rounds of {how['repeats']} texts ({how['slow_repeats']} where nothing is cached) after a warm-up, "
        "a fresh process each",
        "",
        f"{'variant':<18} {'new':>4} {'ms/tok':>7} {'tok/s':>7}  {'x plain':<20} {'x transformers':<20} "
        f"{'cache MB':>8} {'same':>5}",
    ]
    for name, row in writing["summary"].items():
        lines += _rows(name, row)
    return "\n".join([*lines, "", NOTE.format(reference=reference(writing["rounds"]) or "nothing that ran")])


def _rows(name: str, row: dict) -> list[str]:
    if row["status"] != "ok":
        return [f"{name:<18} {row['status']}: {row['reason']}"]
    return [
        f"{name:<18} {n_new:>4} {found['seconds_per_token'] * 1e3:>7.1f} {found['tokens_per_s']:>7.1f}  "
        f"{spread(found['x_plain']):<20} {spread(found['x_transformers']):<20} {_cache(found['cache_bytes']):>8} "
        f"{'-' if found['same_tokens'] is None else found['same_tokens']:>5}"
        for n_new, found in row["lengths"].items()
    ]


def _cache(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.2f}" if n_bytes else "-"
