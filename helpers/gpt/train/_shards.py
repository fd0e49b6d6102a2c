"""A model in shards: every worker keeps a part of each weight, gradient and moment, and has a layer whole in its turn.

`DistributedDataParallel` keeps all of them on every worker; here each holds 1 / count of them, for half as much again
to send. Products run in autocast's dtype on float32 weights, as they do there, so that the numbers are the same.

Source: Rajbhandari et al. 2020 (ZeRO), stage 3; Zhao et al. 2023 (PyTorch FSDP); torch's `fully_shard` does it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from helpers.gpt.loss import IGNORED_TARGET


def shard(root: nn.Module, blocks: Iterable[nn.Module], device: torch.device) -> None:
    """Divide the weights among the workers of the process group, in place: each block a unit, all else another.

    root    what is called in training; a matrix that two layers outside the blocks share stays shared
    blocks  modules inside it
    device  where the shards go, a unit at a time: the model may be on the CPU and larger than a card, but each process
            has it whole in the machine's memory until then

    ValueError: no process group of several workers, or one that cannot, such as the CPU's in torch 2.6.
    """
    n = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
    if n == 1:
        raise ValueError("a model is sharded over several workers, got one: start them by torchrun, or do not shard")
    from torch.distributed.device_mesh import init_device_mesh  # not in every build of torch
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (n,))
    _require_collectives(mesh)
    for block in blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(root, mesh=mesh)


def _require_collectives(mesh: Any) -> None:
    from torch.distributed.fsdp import fully_shard

    trial = fully_shard(nn.LayerNorm(2, device=mesh.device_type), mesh=mesh)
    try:
        trial(torch.ones(1, 2, device=mesh.device_type)).sum().backward()
    except (RuntimeError, AttributeError) as error:  # the latter in editions that know streams on a card only
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"these workers cannot shard: torch {torch.__version__} does not do it on {mesh.device_type} over "
            f"{dist.get_backend()} ({reason}). Take a newer torch, a card for each worker, or do not shard"
        ) from error


def whole(values: Any, keep: bool, _seen: dict[int, Tensor | None] | None = None) -> Any:
    """`values` with each shard in it replaced by the whole tensor on the CPU; every worker has to ask at the same time.

    values  a tensor, or dicts, lists and tuples of tensors and other things, such as a state_dict. With
            `state_dict(keep_vars=True)` a matrix that stands under two names is one tensor afterwards too
    keep    False: None stands in place of each whole tensor, so that one worker alone holds them
    """
    from torch.distributed.tensor import DTensor

    seen = {} if _seen is None else _seen
    if isinstance(values, dict):
        return {key: whole(value, keep, seen) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return type(values)(whole(value, keep, seen) for value in values)
    if not isinstance(values, DTensor):
        return values
    if id(values) not in seen:
        full = values.detach().full_tensor()  # a tensor at a time: the card need not hold them all
        seen[id(values)] = full.cpu() if keep else None
    return seen[id(values)]


def in_shards(saved: dict[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """A copy of an optimizer's whole state_dict, divided as the optimizer's parameters are.

    ValueError: it is of another number of parameters.
    """
    params = [param for group in optimizer.param_groups for param in group["params"]]
    keys = [key for group in saved["param_groups"] for key in group["params"]]
    if len(keys) != len(params):
        raise ValueError(f"expected the optimizer's state of {len(params)} parameters, got {len(keys)}")
    state = {
        key: {name: _as(param, value) for name, value in saved["state"][key].items()}
        for key, param in zip(keys, params, strict=True)
        if key in saved["state"]
    }
    return {**saved, "state": state}


def _as(param: Any, value: Any) -> Any:
    """A copy of `value`: this worker's part of it where it has the parameter's shape."""
    from torch.distributed.tensor import distribute_tensor

    if not isinstance(value, Tensor):
        return value
    if value.shape != param.shape:
        return value.clone()
    return distribute_tensor(value.to(param.device), param.device_mesh, param.placements)


def unscored(batch: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """A row of the batch with no target to score, for a worker that has none left while the others go on."""
    token_ids, targets, *segments = (part[:1] for part in batch)
    return token_ids, torch.full_like(targets, IGNORED_TARGET), *segments
