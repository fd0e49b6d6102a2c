"""Memory of training, predicted beside measured: the third part of `tools.bench`, a fresh process for each setting.

On a CPU the peak is that of the resident set above what the imports took, in a process that gives every large block
back: by default glibc's allocator keeps freed blocks up to some size, and holds more than the tensors. On a GPU it is
`torch.cuda.max_memory_allocated`; that has not been tried.
"""

from contextlib import nullcontext
from dataclasses import asdict, dataclass, field

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from helpers.gpt import GPT, PRESETS, GPTConfig, TrainConfig, Trainer, make_optimizer, preset
from helpers.labs import budget, speed
from tools.bench import plain

THREADS = 2
N_UPDATES = 2  # the moments are there from the end of the first on
MIB = 2**20
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
        names = ("precision", "chunked_loss", "fused_attention", "gradient_checkpointing")
        switches = {name: getattr(self, name) for name in names}
        return budget.memory(self.config, self.batch_size, device=device, **switches)


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


def measure(setting: dict, device: str) -> dict:
    """A job of the harness: {"peak_bytes"}, the most that N_UPDATES updates held above what the imports took."""
    setting = Setting(**setting)
    at_rest = speed.machine.peak_bytes(device)
    model = GPT(setting.config).to(device)
    model.gradient_checkpointing = setting.gradient_checkpointing
    ids = torch.randint(setting.config.vocab_size, (N_UPDATES, setting.batch_size, setting.config.context_length + 1))
    batches = [(rows[:, :-1], rows[:, 1:]) for rows in ids]
    config = TrainConfig(N_UPDATES, precision=setting.precision)
    with nullcontext() if setting.fused_attention else sdpa_kernel(SDPBackend.MATH):
        if setting.chunked_loss:
            list(Trainer(model, batches, config))
        else:  # the trainer's update where the model's logits are made all at once
            optimizer = make_optimizer(model.train(), config)
            for batch in batches:
                plain.nano_step(model, optimizer, *(part.to(device) for part in batch), setting.precision)
    speed.machine.wait(device)
    return {"peak_bytes": speed.machine.peak_bytes(device) - at_rest}


def peak_of(setting: Setting, device: str) -> int:
    """The measured peak in bytes, from a process of its own. RuntimeError: it did not end well."""
    job = {"setting": asdict(setting), "device": device}
    report = speed.harness.run("tools.bench.memory:measure", job, THREADS, GIVES_BACK)
    if report["status"] != "ok":
        raise RuntimeError(f"{setting.name}: {report['reason']}")
    return report["peak_bytes"]


def row_of(setting: Setting, device: str, measured: dict) -> dict:
    """A row of the record: the setting, what was measured, and today's prediction."""
    prediction = setting.predicted(device)
    predicted = prediction.peak_bytes if device == "cpu" else prediction.tensors_bytes  # what each of them counts
    return asdict(setting) | measured | {
        "context_length": setting.config.context_length,
        "n_params": budget.parameter_count(setting.config)["total"],
        "predicted_bytes": predicted,
        "phase": prediction.phase,
        "ratio": round(predicted / measured["measured_bytes"], 4),
    }  # fmt: skip


def table(rows: list[dict]) -> str:
    """A line for each setting: measured and predicted MiB, how far the prediction is off, and in which phase."""
    lines = []
    for row in rows:
        sizes = [f"{row[key] / MIB:,.0f}" for key in ("measured_bytes", "predicted_bytes")]
        lines.append([row["name"], *sizes, f"{row['ratio'] - 1:+.1%}", row["phase"]])
    columns = ("setting", "measured", "predicted", "off", "peak in")
    worst = max(abs(row["ratio"] - 1) for row in rows)
    return f"{speed.harness.text_table(columns, lines)}\n\nMiB above the imports; farthest off: {worst:.1%}"
