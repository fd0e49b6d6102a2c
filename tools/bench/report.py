"""From the rounds of training to a summary and a table: medians, and ratios that are paired within a round."""

from __future__ import annotations

import statistics

BASELINE = "plain"
PEAK = "peak_above_imports_bytes"
NOTE = (
    "tok/s: median over rounds of each process's median step. Ratios are taken to {baseline} within a round: median "
    "(least to most). Peak: of the whole process, and above what it held after the imports; ratio of the second."
)


def summarise(rounds: list[dict[str, dict]]) -> dict[str, dict]:
    """Per variant: status, and where it ran medians and ratios to the plain version.

    rounds  one dict per round, variant name -> a worker's report
    return  name -> {"status", "reason"} or {"status", "tokens_per_s", "peak_bytes", "peak_above_imports_bytes",
            "n_params", "speed_ratio", "peak_ratio"}; a ratio is {"median", "min", "max", "n"}, or None where no
            round has both

    ValueError: no round.
    """
    if not rounds:
        raise ValueError("expected at least one round, got none")
    return {name: _of_variant(name, rounds) for name in rounds[0]}


def _of_variant(name: str, rounds: list[dict[str, dict]]) -> dict:
    reports = [round_[name] for round_ in rounds]
    if worst := next((report for report in reports if report["status"] != "ok"), None):
        return {"status": worst["status"], "reason": worst["reason"]}
    middle = {key: statistics.median(report[key] for report in reports) for key in ("tokens_per_s", "peak_bytes", PEAK)}
    ratios = {"speed_ratio": ratio(name, "tokens_per_s", rounds), "peak_ratio": ratio(name, PEAK, rounds)}
    return {"status": "ok", "n_params": reports[0]["n_params"]} | middle | ratios


def ratio(name: str, key: str, rounds: list[dict[str, dict]], baseline: str = BASELINE) -> dict | None:
    """{"median", "min", "max", "n"} of `key`, the variant's over the baseline's in a round; None: none has both."""
    values = [
        round_[name][key] / round_[baseline][key]
        for round_ in rounds
        if key in round_[name] and round_.get(baseline, {}).get(key)
    ]
    if not values:
        return None
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "n": len(values)}


def table(training: dict) -> str:
    """The summary as text, one line per variant, under how it was measured."""
    how = training["settings"]
    config = how["config"]
    lines = [
        f"training, {how['preset']}: batch {how['batch_size']} x {config['context_length']}, dropout "
        f"{config['drop_rate']}; {how['rounds']} rounds of {how['steps']} steps after {how['warmup']}, "
        "a fresh process each",
        "",
        f"{'variant':<20} {'params':>7} {'tok/s':>8}  {'x plain':<19} {'peak MB':>8} {'above':>7}  {'of plain':<19}",
    ]
    lines += [_row(name, row) for name, row in training["summary"].items()]
    return "\n".join([*lines, "", NOTE.format(baseline=BASELINE)])


def _row(name: str, row: dict) -> str:
    if row["status"] != "ok":
        return f"{name:<20} {row['status']}: {row['reason']}"
    return (
        f"{name:<20} {row['n_params'] / 1e6:>6.1f}M {row['tokens_per_s']:>8.0f}  {spread(row['speed_ratio']):<19} "
        f"{row['peak_bytes'] / 1e6:>8.0f} {row[PEAK] / 1e6:>7.0f}  {spread(row['peak_ratio']):<19}"
    )


def spread(found: dict | None) -> str:
    return "-" if found is None else f"{found['median']:.2f} ({found['min']:.2f} to {found['max']:.2f})"


def torch_version(rounds: list[dict[str, dict]]) -> str:
    return next((r["torch"] for round_ in rounds for r in round_.values() if "torch" in r), "not started")
