"""Putting a saved state into a model, an optimizer, the random number generators: all, or nothing and the reason."""

import copy
import math
import random

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from helpers.gpt import require_kind
from helpers.storage.checkpoint.run import RunState, SavedModel

MAX_LISTED = 8
WORDS = 624  # of 32 bits in the state of a Mersenne Twister, the generator of Python and of numpy's global functions
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
        plain = isinstance(optimizer, torch.optim.SGD) and not any(g["momentum"] for g in optimizer.param_groups)
        skipped = (state.scaler or {}).get("_growth_tracker") == 0  # perhaps each update, by float16's scaler
        if not (problems or plain or skipped or state.optimizer["state"]) and state.step:
            problems = [f"optimizer: expected moments after {state.step} updates, got none"]
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


def capture_rng(device: str | torch.device | None = None) -> dict:
    """Where every generator stands now, as JSON: the CPU's three always, those of GPUs under "cuda", by index.

    device   None: every CUDA device that this process can see; "cuda:1": that one; "cpu": none

    Source: Matsumoto & Nishimura 1998 (Mersenne Twister), for the 624 words.
    """
    version, words, gauss = random.getstate()
    name, key, position, has_gauss, numpy_gauss = np.random.get_state()
    return {
        "python": [version, list(words), gauss],
        "numpy": [name, key.tolist(), int(position), int(has_gauss), float(numpy_gauss)],
        "torch": _hex(torch.get_rng_state()),
        "cuda": {str(i): _hex(torch.cuda.get_rng_state(i)) for i in _cuda_indices(device)},
    }


def restore_rng(rng: dict, device: str | torch.device | None = None) -> tuple[str, ...]:
    """Put every generator back where `capture_rng` found it; all are looked at before any is touched.

    device   None: each CUDA device gets the state of its index; "cuda:1": that one does, or, where a single state of
             another index was saved, gets that one; "cpu": none does
    return   devices whose draws cannot be repeated, such as ("cuda:1",): no state of theirs, or they are not here

    ValueError: not what `capture_rng` gives.
    """
    try:
        version, words, gauss = rng["python"]
        python, numpy, cpu = (version, tuple(words), gauss), tuple(rng["numpy"]), _tensor(rng["torch"])
        cuda = {int(i): _tensor(text) for i, text in rng["cuda"].items()}
        random.Random().setstate(python)  # each refuses what is no state, on a generator of its own
        np.random.RandomState().set_state(numpy)
        torch.Generator().set_state(cpu)
        if not (0 <= numpy[2] <= WORDS and math.isfinite(numpy[4]) and (gauss is None or isinstance(gauss, float))):
            raise ValueError(f"positions go to {WORDS}, a gauss is finite")  # these they take without looking
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, RuntimeError) as error:
        raise ValueError(f"expected the dict that capture_rng gives, got one that does not fit: {error!r}") from error
    random.setstate(python)
    np.random.set_state(numpy)
    torch.set_rng_state(cpu)
    here, wanted = set(_cuda_indices(device)), set(cuda)
    if device is not None and here:
        wanted = set(here)
        if len(cuda) == 1:
            cuda = dict.fromkeys(here, *cuda.values())
    for index in sorted(here & set(cuda)):
        torch.cuda.set_rng_state(cuda[index], index)
    return tuple(f"cuda:{i}" for i in sorted(wanted - (here & set(cuda))))


def _cuda_indices(device: str | torch.device | None) -> list[int]:
    if device is None:
        return list(range(torch.cuda.device_count()))
    device = torch.device(device)
    if device.type != "cuda":
        return []
    return [torch.cuda.current_device() if device.index is None else device.index]


def _hex(state: Tensor) -> str:
    return bytes(state.cpu().numpy()).hex()


def _tensor(text: str) -> Tensor:
    return torch.tensor(list(bytes.fromhex(text)), dtype=torch.uint8)
