"""Putting a saved state into a model and an optimizer: all of it, or nothing and the reason."""

from __future__ import annotations

import copy

from torch import Tensor, nn
from torch.optim import Optimizer

from helpers.gpt import require_kind
from helpers.storage.checkpoint.model import SavedModel
from helpers.storage.checkpoint.run import RunState

MAX_LISTED = 8
_SHAPED_AS_PARAM = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer")


def restore(
    model: nn.Module, optimizer: Optimizer | None, state: RunState | SavedModel, *, same_dtype: bool = True
) -> None:
    """Load weights and optimizer state once every name, shape and dtype has been compared; `state` stays as it is.

    optimizer   as the one that was saved; None: weights only
    same_dtype  False: weights stored in another precision are cast to the model's

    ValueError: what is missing, what is left over, what has another shape or dtype, with expected and got; model and
    optimizer are then untouched.
    """
    require_kind(nn.Module, model=model)
    require_kind(RunState | SavedModel, state=state)
    problems = _model_problems(model.state_dict(), state.model, same_dtype)
    if optimizer is not None:
        problems += _optimizer_problems(optimizer, getattr(state, "optimizer", None))
    if problems:
        more = f"\n  and {len(problems) - MAX_LISTED} more" if len(problems) > MAX_LISTED else ""
        lines = "\n  ".join(problems[:MAX_LISTED])
        raise ValueError(
            f"the checkpoint does not fit, nothing was loaded:\n  {lines}{more}\nbuild it from state.config"
        )
    model.load_state_dict(state.model)
    if optimizer is not None:
        optimizer.load_state_dict(copy.deepcopy(state.optimizer))  # else training would change `state`


def _model_problems(expected: dict, got: dict, same_dtype: bool) -> list[str]:
    problems = [f"missing: {name} {_what(value)}" for name, value in expected.items() if name not in got]
    problems += [f"left over: {name} {_what(value)}" for name, value in got.items() if name not in expected]
    for name in expected.keys() & got.keys():
        ours, theirs = expected[name], got[name]
        if ours.shape != theirs.shape or (ours.dtype != theirs.dtype and same_dtype):
            problems.append(f"{name}: expected {_what(ours)}, got {_what(theirs)}")
    return sorted(problems)


def _optimizer_problems(optimizer: Optimizer, saved: dict | None) -> list[str]:
    if saved is None:
        return ["optimizer: the checkpoint has none; pass None to load the weights only"]
    ours, theirs, state = optimizer.param_groups, saved["param_groups"], saved["state"]
    expected, got = ([len(group["params"]) for group in groups] for groups in (ours, theirs))
    if expected != got:
        return [f"optimizer: expected groups of {expected} parameters, got {got}"]
    problems, params = [], {}
    for i, (group, other) in enumerate(zip(ours, theirs, strict=True)):
        params |= zip(other["params"], group["params"], strict=True)
        # an edition of torch may add a setting; another optimizer lacks some and has others
        if not (set(group) <= set(other) or set(other) <= set(group)):
            problems.append(f"optimizer: group {i}: expected settings {sorted(group)}, got {sorted(other)}")
    problems += [f"optimizer: state of parameter {key}, which no group has" for key in state.keys() - params.keys()]
    needed = set().union(*state.values()) & {"step", *_SHAPED_AS_PARAM}
    for key, param in params.items():
        held = state.get(key, {})
        if lacks := sorted(needed - held.keys()):
            problems.append(f"optimizer: parameter {key} lacks {', '.join(lacks)}, which others have")
        for name in held.keys() & set(_SHAPED_AS_PARAM):
            if _what(held[name]) not in (_what(param), "NoneType"):
                said = f"expected {_what(param)}, got {_what(held[name])}"
                problems.append(f"optimizer: {name} of parameter {key}: {said}")
    return problems


def _what(value: object) -> str:
    if isinstance(value, Tensor):
        return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
    return type(value).__name__
