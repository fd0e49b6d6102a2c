"""What a run consists of: a model, training settings and a few numbers, from a preset or a file, with changes."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from helpers.gpt import PRESETS, GPTConfig, TrainConfig, preset

PRECISION = "train.precision"  # as `differences` names it


@dataclass(frozen=True)
class Plan:
    """All that decides how a run goes, its texts aside: two runs of one plan are the same run.

    model       GPTConfig
    train       TrainConfig
    batch_size  rows of a batch, over all workers
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
        for name in ("batch_size", "save_every", "keep"):
            value = getattr(self, name)
            if not _is_whole(value) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
        for name in ("n_steps", "warmup_steps", "micro_batch_size", "eval_every"):
            value = getattr(self.train, name)
            if value is not None and not _is_whole(value):
                raise ValueError(f"{name} must be a whole number, got {value!r}")
        for name in ("shift", "gradient_checkpointing"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be true or false, got {getattr(self, name)!r}")

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers and words, as JSON keeps them."""
        return json.loads(json.dumps(asdict(self)))

    def identity(self) -> dict[str, Any]:
        """`as_dict` without what may change between two parts of one run."""
        return {name: value for name, value in self.as_dict().items() if name != "gradient_checkpointing"}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Plan:
        """The plan that `as_dict` came from; fields that are left out have their defaults.

        ValueError: a field that there is not (the message lists those there are), or a value that is refused.
        """
        known = {"model": GPTConfig, "train": TrainConfig}
        _require_known(values, cls, "a plan")
        for name, kind in known.items():
            if not isinstance(values.get(name, {}), dict):
                raise ValueError(f"{name} should be an object with fields, got {values[name]!r}")
            _require_known(values.get(name, {}), kind, name)
        try:
            parts = {name: kind(**values.get(name, {})) for name, kind in known.items()}
            return cls(**{**values, **parts})
        except TypeError as error:
            raise ValueError(f"the plan does not fit: {error}") from error


def read_plan(source: str, changes: list[str], defaults: dict[str, Any]) -> Plan:
    """The plan named by `--config`, with each "field=value" of `changes` applied.

    source    name of a model preset, or path of a JSON file with the fields of Plan
    defaults  fields of TrainConfig for what neither says

    ValueError: no such preset or file, no JSON, an unknown field, a value of the wrong kind.
    """
    values = _values_of(source)
    for part, given in (("model", {}), ("train", defaults)):
        if isinstance(values.setdefault(part, {}), dict):  # else from_dict says what is wrong
            values[part] = given | values[part]
    for change in changes:
        name, equals, text = change.partition("=")
        place = _place_of(name, values)
        if not equals or not isinstance(place, dict):
            raise ValueError(
                f"--set takes field=value, a field being one of {', '.join(_all_fields())}; got {change!r}"
            )
        place[name] = _value(text)
    return Plan.from_dict(values)


def leaves_open(source: str, changes: list[str], name: str) -> bool:
    """Whether neither the plan nor the changes, which `read_plan` has taken, say the field `name` of TrainConfig."""
    return name not in _values_of(source).get("train", {}) and name not in [c.partition("=")[0] for c in changes]


def changes_to(one: dict[str, Any], other: dict[str, Any]) -> str:
    """The options that turn plan `other` into `one`, both as dicts: "--set precision=float16 seed=1"; "" for none."""
    given: list[str] = []
    for part in ("", "model", "train"):
        there, here = (values.get(part, {}) if part else values for values in (one, other))
        names = [name for name in _all_fields() if name in there and there[name] != here.get(name)]
        given += [shlex.quote(f"{name}={_text(there[name])}") for name in names]
    return " ".join(["--set", *given]) if given else ""


def differences(one: dict[str, Any], other: dict[str, Any], prefix: str = "") -> list[str]:
    """Lines that name every field in which two plans, as dicts, differ: "model.emb_dim: 160 there, 128 here"."""
    found = []
    for name in sorted(one.keys() | other.keys()):
        a, b = one.get(name), other.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            found += differences(a, b, f"{prefix}{name}.")
        elif a != b:
            found.append(f"{prefix}{name}: {a!r} there, {b!r} here")
    return found


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _values_of(source: str) -> dict[str, Any]:
    return {"model": asdict(preset(source)), "train": {}} if source in PRESETS else _read_json(source)


def _read_json(path: str) -> dict[str, Any]:
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(
            f"--config: {path!r} is neither a preset ({', '.join(PRESETS)}) nor a file that can be read ({error})"
        ) from error
    except ValueError as error:  # also where it is no UTF-8
        raise ValueError(f"--config: {path} is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"--config: {path} should hold one object, got a {type(values).__name__}")
    return values


def _require_known(values: dict[str, Any], kind: type, what: str) -> None:
    names = [f.name for f in fields(kind)]
    unknown = sorted(set(values) - set(names))
    if unknown:
        raise ValueError(f"{what} has no field {', '.join(unknown)}; it has {', '.join(names)}")


def _place_of(name: str, values: dict[str, Any]) -> dict[str, Any] | None:
    for part, kind in (("model", GPTConfig), ("train", TrainConfig)):
        if name in {f.name for f in fields(kind)}:
            return values[part]
    return values if name in {f.name for f in fields(Plan)} - {"model", "train"} else None


def _all_fields() -> list[str]:
    return [f.name for kind in (GPTConfig, TrainConfig, Plan) for f in fields(kind) if f.name not in ("model", "train")]


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return {"None": None, "True": True, "False": False}.get(text, text)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
