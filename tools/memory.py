"""Memory of training, predicted beside measured: `python -m tools.memory`, a fresh process for each setting.

Prints a table and writes notebooks/data/memory_cpu.json (memory_cuda.json with `--device cuda`), the machine with it.
`--only small logits` measures the settings whose names hold a word; `--recorded` measures nothing and sets today's
predictions beside the peaks in the file. On a CPU the peak is that of the resident set above what the imports took, on
a graphics card `torch.cuda.max_memory_allocated`; the second has not been tried on a card so far.

On a CPU each setting is measured twice. The system's allocator (glibc's) keeps freed blocks below a size that grows by
itself, up to 32 MiB, and so holds more than the tensors; the prediction is compared with a process that gives every
large block back, and the record has the other peak too, as `measured_default_bytes`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

import helpers.gpt.model
from helpers import runtime
from helpers.gpt import GPT, PRESETS, GPTConfig, TrainConfig, Trainer, make_optimizer, next_token_loss, preset
from helpers.labs import budget, measuring
from helpers.labs.measuring.device import check_device, peak_bytes, wait
from helpers.labs.measuring.processes import ROOT, run_worker

FOLDER = ROOT / "notebooks" / "data"
THREADS = 2
N_UPDATES = 2  # the moments are there from the end of the first on
MIB = 2**20
MEASURED = ("measured_bytes", "measured_default_bytes")
GIVES_BACK = {"MALLOC_MMAP_THRESHOLD_": str(2**17)}  # of glibc: from this size on a freed block goes to the system


@dataclass(frozen=True)
class Setting:
    """A training run whose memory is measured; fields as `budget.memory` has them, `changes` to the named size."""

    name: str
    size: str
    batch_size: int
    changes: dict = field(default_factory=dict)
    precision: str = "float32"
    chunked_loss: bool = True
    fused_attention: bool = True
    gradient_checkpointing: bool = False

    @property
    def config(self) -> GPTConfig:
        if self.size in PRESETS:
            return preset(self.size, **self.changes)
        return GPTConfig(**SIZES[self.size] | {"drop_rate": 0.0} | self.changes)

    def predicted(self, device: str) -> budget.Memory:
        return budget.memory(
            self.config,
            self.batch_size,
            precision=self.precision,
            chunked_loss=self.chunked_loss,
            fused_attention=self.fused_attention,
            gradient_checkpointing=self.gradient_checkpointing,
            device=device,
        )


SIZES = {
    "1m": {"vocab_size": 4096, "context_length": 128, "emb_dim": 128, "n_heads": 4, "n_layers": 4},
    "5m": {"vocab_size": 8192, "context_length": 256, "emb_dim": 256, "n_heads": 8, "n_layers": 4},
    "30m": {"context_length": 256, "emb_dim": 384, "n_heads": 6, "n_layers": 6},
    "51m": {"context_length": 256, "emb_dim": 512, "n_heads": 8, "n_layers": 8},
}


DROPPED, UNTIED = {"drop_rate": 0.1}, {"tied_head": False}
SETTINGS = (
    Setting("1M", "1m", 32),
    Setting("1M, bfloat16", "1m", 32, precision="bfloat16"),
    Setting("1M, all logits, without fusion", "1m", 64, chunked_loss=False, fused_attention=False),
    Setting("5M", "5m", 16),
    Setting("5M, dropout", "5m", 16, DROPPED),
    Setting("5M, without fusion", "5m", 16, fused_attention=False),
    Setting("5M, dropout, without fusion", "5m", 16, DROPPED, fused_attention=False),
    Setting("5M, all logits", "5m", 16, chunked_loss=False),
    Setting("course-small", "course-small", 16),
    Setting("course-small, all logits", "course-small", 16, chunked_loss=False),
    Setting("course-small, all logits, bfloat16", "course-small", 16, precision="bfloat16", chunked_loss=False),
    Setting("30M", "30m", 8),
    Setting("30M, untied", "30m", 8, UNTIED),
    Setting("30M, untied, all logits", "30m", 8, UNTIED, chunked_loss=False),
    Setting("30M, dropout, checkpointing", "30m", 16, DROPPED, gradient_checkpointing=True),
    Setting("30M, context 512, without fusion", "30m", 4, {"context_length": 512}, fused_attention=False),
    Setting("51M", "51m", 8),
    Setting("51M, bfloat16", "51m", 8, precision="bfloat16"),
    Setting("51M, dropout, bfloat16", "51m", 8, DROPPED, precision="bfloat16"),
    Setting("51M, checkpointing", "51m", 8, gradient_checkpointing=True),
    Setting("51M, one row", "51m", 1),
    Setting("124M", "gpt2-124m", 4, {"context_length": 256, "drop_rate": 0.0}),
    Setting("124M, all logits", "gpt2-124m", 4, {"context_length": 256, "drop_rate": 0.0}, chunked_loss=False),
    Setting("124M, dropout, untied", "book-124m", 2),
    Setting("124M, bfloat16, context 512", "gpt2-124m", 2, {"context_length": 512, "drop_rate": 0.0}, "bfloat16"),
    Setting("OPT-125M, context 512", "opt-125m", 2, {"context_length": 512}),
)


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    if len(arguments) == 1 and arguments[0].startswith("{"):  # the process of one setting
        print(json.dumps(measure(**json.loads(arguments[0]))))
        return 0
    options = parse(arguments)
    path = options.output or FOLDER / f"memory_{options.device}.json"
    if options.recorded:
        record = json.loads(path.read_text(encoding="utf-8"))
        old = {row["name"]: row for row in record["rows"]}
        record["rows"] = [
            _row(s, *(old[s.name][key] for key in MEASURED), record["machine"]["device"])
            for s in SETTINGS
            if s.name in old
        ]
    else:
        record = {"machine": _machine(options.device), "rows": []}
        for setting in SETTINGS:
            if not options.only or any(word in setting.name for word in options.only):
                print(setting.name, file=sys.stderr, flush=True)
                peaks = [run(setting, options.device, give_back) for give_back in (True, False)]
                record["rows"].append(_row(setting, *peaks, options.device))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(table(record["rows"]))
    return 0


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.memory", description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--only", nargs="+", metavar="WORD", help="settings whose names hold one of these")
    parser.add_argument("--recorded", action="store_true", help="measure nothing: predict again beside the record")
    parser.add_argument("--output", type=Path, help="where the record lies; in notebooks/data if not given")
    return parser.parse_args(arguments)


def run(setting: Setting, device: str = "cpu", give_back: bool = True) -> int:
    """The measured peak in bytes, from a process of its own. RuntimeError: it did not end well.

    give_back  freed memory goes back to the system at once, so that the peak is that of the tensors
    """
    job = {"setting": asdict(setting), "device": device}
    report = run_worker("tools.memory", job, THREADS, GIVES_BACK if give_back else None)
    if "peak_bytes" not in report:
        raise RuntimeError(f"{setting.name}: {report['reason']}")
    return report["peak_bytes"]


def measure(setting: dict, device: str) -> dict:
    """{"peak_bytes"}: the most that N_UPDATES updates held above what the imports took, on the CPU or on the card."""
    check_device(device)
    setting = Setting(**setting)
    runtime.start(0)
    at_rest = peak_bytes(device)
    model = GPT(setting.config).to(device)
    if setting.gradient_checkpointing:
        model.gradient_checkpointing = True
    ids = torch.randint(setting.config.vocab_size, (N_UPDATES, setting.batch_size, setting.config.context_length + 1))
    batches = [(rows[:, :-1], rows[:, 1:]) for rows in ids]
    config = TrainConfig(N_UPDATES, precision=setting.precision)
    with _attention(setting.fused_attention):
        if setting.chunked_loss:
            list(Trainer(model, batches, config))
        else:
            _train_with_all_logits(model, batches, config)
    wait(device)
    return {"peak_bytes": peak_bytes(device) - at_rest}


def _train_with_all_logits(model: GPT, batches: list[tuple[Tensor, Tensor]], config: TrainConfig) -> None:
    """The trainer's update where the model's scores are made all at once."""
    optimizer = make_optimizer(model.train(), config)
    kind = model.token_embedding.weight.device.type
    dtype = getattr(torch, config.precision)
    for token_ids, targets in batches:
        with torch.autocast(kind, dtype=dtype, enabled=dtype != torch.float32):
            loss = next_token_loss(model(token_ids.to(kind)), targets.to(kind))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        optimizer.step()
        optimizer.zero_grad()


@contextmanager
def _attention(fused: bool) -> Iterator[None]:
    """Inside the block, where not `fused`: one product after the other, each of which keeps its (B, H, T, T) result."""
    if fused:
        yield
        return
    ours = helpers.gpt.model.causal_attention
    helpers.gpt.model.causal_attention = _step_by_step
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        helpers.gpt.model.causal_attention = ours


def _step_by_step(q: Tensor, k: Tensor, v: Tensor, drop_rate: float, same_segment: Tensor | None) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, dropout_p=drop_rate, is_causal=True)


def _row(setting: Setting, measured: int, measured_default: int, device: str) -> dict:
    prediction = setting.predicted(device)
    predicted = prediction.peak_bytes if device == "cpu" else prediction.tensors_bytes  # what each of them counts
    return asdict(setting) | {
        "context_length": setting.config.context_length,
        "n_params": budget.parameter_count(setting.config)["total"],
        "measured_bytes": measured,
        "measured_default_bytes": measured_default,
        "predicted_bytes": predicted,
        "phase": prediction.phase,
        "ratio": round(predicted / measured, 4),
    }


def _machine(device: str) -> dict:
    return {
        "device": device,
        "cpu": measuring.machine.cpu_model(measuring.machine.read_cpuinfo()),
        "cores": os.cpu_count(),
        "threads": THREADS,
        "card": torch.cuda.get_device_name() if device == "cuda" else None,
        "system": platform.system(),
        "libc": " ".join(platform.libc_ver()),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def table(rows: list[dict]) -> str:
    """A line for each setting: measured and predicted MiB, how far the prediction is off, and the default's peak."""
    lines = [f"{'setting':<36} {'measured':>9} {'predicted':>10} {'off':>7}  {'peak in':<15} {'default':>8}"]
    for row in rows:
        sizes = [row[key] / MIB for key in ("measured_bytes", "predicted_bytes", "measured_default_bytes")]
        lines.append(
            f"{row['name']:<36} {sizes[0]:>9,.0f} {sizes[1]:>10,.0f} {row['ratio'] - 1:>7.1%}  {row['phase']:<15} "
            f"{sizes[2]:>8,.0f}"
        )
    worst = max(abs(row["ratio"] - 1) for row in rows)
    return "\n".join([*lines, f"MiB above the imports; farthest off: {worst:.1%}"])


if __name__ == "__main__":
    raise SystemExit(main())
