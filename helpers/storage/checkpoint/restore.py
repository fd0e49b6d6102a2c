"""Putting a saved state into a model and an optimizer: all of it, or nothing and the reason."""

from __future__ import annotations

import copy

from torch import Tensor, nn
from torch.optim import Optimizer

from helpers.storage.checkpoint.model import SavedModel
from helpers.storage.checkpoint.run import RunState

MAX_LISTED = 8
_SHAPED_AS_PARAM = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer")


def restore(
    model: nn.Module, optimizer: Optimizer | None, state: RunState | SavedModel, *, same_dtype: bool = True
) -> None:
    """Load weights and optimizer state once every name, shape and dtype has been compared; `state` stays as it is.

    model       built as the one that was saved
    optimizer   built as the one that was saved; None: weights only
    state       what `load` or `load_model` gave
    same_dtype  False: weights stored in another precision are cast to the model's

    ValueError: as `check_fit`; model and optimizer are then untouched.
    """
    check_fit(model, optimizer, state, same_dtype=same_dtype)
    model.load_state_dict(state.model)
    if optimizer is not None:
        optimizer.load_state_dict(copy.deepcopy(state.optimizer))  # else training would change `state`


def check_fit(
    model: nn.Module | None, optimizer: Optimizer | None, state: RunState | SavedModel, *, same_dtype: bool = True
) -> None:
    """Compare a saved state with the model and the optimizer it is to go into; None: that one is not looked at.

    ValueError: what is missing, what is left over, what has another shape or dtype, with expected and got.
    """
    problems = [] if model is None else _model_problems(model.state_dict(), state.model, same_dtype)
    if optimizer is not None:
        problems += _optimizer_problems(optimizer, getattr(state, "optimizer", None))
    if problems:
        more = f"\n  and {len(problems) - MAX_LISTED} more" if len(problems) > MAX_LISTED else ""
        lines = "\n  ".join(problems[:MAX_LISTED])
        raise ValueError(
            f"the checkpoint does not fit, nothing was loaded:\n  {lines}{more}\nbuild it from state.config"
        )


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
    groups, state, ours = saved["param_groups"], saved["state"], optimizer.param_groups
    sizes = [len(group["params"]) for group in ours], [len(group["params"]) for group in groups]
    if sizes[0] != sizes[1]:
        return [f"optimizer: expected groups of {sizes[0]} parameters, got {sizes[1]}"]
    problems = []
    for i, (group, theirs) in enumerate(zip(ours, groups, strict=True)):
        # an edition of torch may add a setting; another optimizer lacks some and has others
        if not (set(group) <= set(theirs) or set(theirs) <= set(group)):
            problems.append(f"optimizer: group {i}: expected settings {sorted(group)}, got {sorted(theirs)}")
    pairs = [pair for g, s in zip(ours, groups, strict=True) for pair in zip(s["params"], g["params"], strict=True)]
    params = dict(pairs)
    problems += [f"optimizer: state of parameter {key}, which no group has" for key in state.keys() - params.keys()]
    needed = set().union(*state.values()) & {"step", *_SHAPED_AS_PARAM}
    for key in params:
        lacks = ", ".join(sorted(needed - state.get(key, {}).keys()))
        problems += [f"optimizer: parameter {key} lacks {lacks}, which others have"] if lacks else []
        for name in state.get(key, {}).keys() & set(_SHAPED_AS_PARAM):
            want, got = _what(params[key]), _what(state[key][name])
            if got not in (want, "NoneType"):
                problems.append(f"optimizer: {name} of parameter {key}: expected {want}, got {got}")
    return problems


def _what(value: object) -> str:
    if isinstance(value, Tensor):
        return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
    return type(value).__name__
