"""What a run consists of: a model, training settings and a few numbers, from a preset or a file, with changes; and what
memory it will take."""

import json
import math
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch

from helpers import runtime
from helpers.gpt import GPT, PRESETS, GPTConfig, TrainConfig, gpt2, preset, require_known, require_whole
from helpers.labs import budget
from helpers.storage import read_json


@dataclass(frozen=True)
class Plan:
    """All that decides how a run goes, its texts aside: two runs of one plan are the same run.

    model       GPTConfig
    train       TrainConfig
    batch_size  sequences of a batch, over all ranks
    seed        of weights, order and dropout
    shift       windows start at another place in each epoch
    save_every  updates between checkpoints
    keep        good checkpoints that stay
    gradient_checkpointing  as `GPT` has it: changes what a run takes, and no weight

    ValueError: sizes below 1 or not whole, and whatever its parts refuse.
    """

    model: GPTConfig
    train: TrainConfig
    batch_size: int = 8
    seed: int = 0
    shift: bool = True
    save_every: int = 200
    keep: int = 2
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        require_whole(batch_size=self.batch_size, save_every=self.save_every, keep=self.keep)
        if self.model.n_layers > MAX_LAYERS:
            raise ValueError(f"n_layers must be at most {MAX_LAYERS:,}, got {self.model.n_layers}")
        for name in ("shift", "gradient_checkpointing"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be true or false, got {getattr(self, name)!r}")
        for name, value in (vars(self) | vars(self.model) | vars(self.train)).items():
            if value == math.inf or (isinstance(value, int) and abs(value) >= MOST):
                raise ValueError(f"{name} is too large, got {value!s:.20}")

    def identity(self) -> dict[str, Any]:
        """Plain numbers and words, as JSON keeps them, without what may change between two parts of one run."""
        values = json.loads(json.dumps(asdict(self)))
        return {name: value for name, value in values.items() if name not in MAY_CHANGE}


MAY_CHANGE = ("gradient_checkpointing", "keep", "save_every")  # and n_steps may grow
PARTS = {"model": GPTConfig, "train": TrainConfig}
FIELDS = {f.name: part for part, kind in PARTS.items() for f in fields(kind)}  # name of a field -> part that has it
FIELDS |= {f.name: "" for f in fields(Plan) if f.name not in PARTS}
DEFAULT_STEPS, MAX_LAYERS = 1000, 10_000
MOST = 2**63  # torch's whole numbers end there


def read_plan(source: str, changes: list[str], precision: str) -> Plan:
    """The plan named by `--config`, with each "field=value" of `changes` applied.

    source     name of a model preset, or path of a JSON file with the fields of Plan
    precision  where neither says one

    ValueError: no such preset or file, no JSON, an unknown field, a value of the wrong kind.
    """
    values = {"model": asdict(preset(source))} if source in PRESETS else _read_json(source)
    require_known("field of a plan", values, Plan.__dataclass_fields__)
    for part, kind in PARTS.items():
        if not isinstance(values.setdefault(part, {}), dict):
            raise ValueError(f"{part} should be an object with fields, got {values[part]!r}")
        require_known(f"field of {part}", values[part], kind.__dataclass_fields__)
    values["train"] = {"n_steps": DEFAULT_STEPS, "precision": precision} | values["train"]
    for change in changes:
        name, equals, text = change.partition("=")
        if not equals or name not in FIELDS:
            raise ValueError(f"--set takes field=value, a field being one of {', '.join(FIELDS)}; got {change!r}")
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = {"None": None, "True": True, "False": False}.get(text, text)
        (values[FIELDS[name]] if FIELDS[name] else values)[name] = value
    for name, value in (values | values["model"] | values["train"]).items():
        if isinstance(value, str) and re.fullmatch(r"-?\d+,\d+", value) and name != "betas":
            raise ValueError(f"{name}={value}: write a decimal point, as in 0.001")
    try:
        return Plan(**values | {part: kind(**values[part]) for part, kind in PARTS.items()})
    except TypeError as error:
        raise ValueError(f"the plan does not fit: {error}") from error


def differences(one: dict[str, Any], other: dict[str, Any], prefix: str = "") -> list[str]:
    """Lines that name every field in which two runs' identities differ: "model.emb_dim: 160 there, 128 here".

    A run of more updates is no other one: it goes on where the shorter one ended.
    """
    found = []
    for name in sorted((one.keys() | other.keys()) - {*MAY_CHANGE}):  # a checkpoint may come from an older edition
        a, b = one.get(name), other.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            found += differences(a, b, f"{prefix}{name}.")
        elif a != b and not (name == "n_steps" and isinstance(a, int) and b > a):
            found.append(f"{prefix}{name}: {a!r} there, {b!r} here")
    return found


def new_model(config: GPTConfig) -> GPT:
    """ValueError: too few rows for GPT-2's tokens, or more weights than can be had."""
    if config.vocab_size < gpt2().n_vocab:
        raise ValueError(
            f"vocab_size must be at least {gpt2().n_vocab}, which GPT-2's tokenizer has, got {config.vocab_size}"
        )
    try:
        return GPT(config)
    except (RuntimeError, MemoryError) as error:
        raise ValueError(f"a model of these sizes cannot be made here ({str(error).splitlines()[0]})") from error


def forecast(plan: Plan, device: torch.device, world_size: int = 1) -> budget.Fit | None:
    """The predicted peak of one rank's updates beside what its device has; None: on a device without a prediction.

    world_size  each rank takes its share of the batch, and on a CPU its share of the machine's memory
    """
    room = runtime.memory_bytes(device)
    if device.type not in budget.DEVICES or room is None:
        return None
    share = math.ceil(plan.batch_size / world_size)
    predicted = budget.memory(
        plan.model,
        min(plan.train.micro_batch_size or share, share),
        precision=plan.train.precision,
        gradient_checkpointing=plan.gradient_checkpointing,
        device=device.type,
    )
    return budget.fits(predicted, room if device.type == "cuda" else room // world_size)


def _read_json(path: str) -> dict[str, Any]:
    try:
        if not Path(path).is_file():  # a pipe could be read once only
            raise OSError("no plain file of that name")
        values = read_json(path)
    except OSError as error:
        raise ValueError(
            f"--config: {path!r} is neither a preset ({', '.join(PRESETS)}) nor a file that can be read ({error})"
        ) from error
    except ValueError as error:
        raise ValueError(f"--config: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"--config: {path} should hold one object, got a {type(values).__name__}")
    return values
