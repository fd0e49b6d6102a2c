"""Several processes that train one model: the loop of `gpt.train`, with the work shared among the ranks of a group.

Whole copies (DDP): every rank has the model, and gradients are averaged. Sharded (FSDP): every rank keeps a part of
each weight, gradient and moment, and has a block whole in its turn: 1 / world_size of the memory for half as much again
to send. Matmuls run in autocast's dtype on float32 weights either way, so that the numbers are the same.

Source: Li et al. 2020 (PyTorch Distributed); Rajbhandari et al. 2020 (ZeRO), stage 3; Zhao et al. 2023 (PyTorch FSDP).
"""

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from helpers.gpt import GPT, IGNORED_TARGET, LossReport, Trainer, evaluating, summed_loss, train

T = TypeVar("T")
# In torch 2.6 gloo's thread, which frees the last exchange's tensors, and who leaves the group may wait for each other
# for ever; so long the thread has to be done before. Mended in https://github.com/pytorch/pytorch/pull/154976.
LAST_TENSORS_S = 0.05


def rank() -> int:
    """This process's number in its group; 0 where it is alone."""
    return dist.get_rank() if world_size() > 1 else 0


def world_size() -> int:
    """How many processes the group has; 1 where this one is alone."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def join(device: str | None) -> None:
    """Join the process group that torchrun describes in the environment, if any.

    ValueError: a device that several processes cannot share, or more of them than GPUs.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return
    cuda = torch.cuda.is_available() and (device or "cuda") == "cuda"
    if not cuda and device not in (None, "cpu"):
        raise ValueError(f"--device {device}: several ranks take cpu, or cuda for a GPU each")
    if cuda:
        gpu = int(os.environ.get("LOCAL_RANK", "0"))
        if gpu >= torch.cuda.device_count():
            raise ValueError(f"rank {gpu} has no GPU, there are {torch.cuda.device_count()}: start fewer processes")
        torch.cuda.set_device(gpu)
    dist.init_process_group("nccl" if cuda else "gloo")


def leave() -> None:
    """Leave the process group, if any."""
    if dist.is_available() and dist.is_initialized():
        time.sleep(LAST_TENSORS_S if dist.get_backend() == "gloo" else 0)
        dist.destroy_process_group()


def lost(error: RuntimeError) -> bool:
    """Whether an exchange failed because another process of the group has ended."""
    return world_size() > 1 and (isinstance(error, dist.DistBackendError) or "gloo" in str(error).lower())


def total(*values: float, device: torch.device) -> list[float]:
    """The sum of each value over all ranks, in float64; every rank gets it."""
    if world_size() == 1:
        return list(values)
    summed = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(summed)
    return summed.tolist()


def gather(value: T) -> list[T]:
    """The value of each rank, in order; every rank gets all of them."""
    gathered: list[Any] = [value] * world_size()
    if world_size() > 1:
        dist.all_gather_object(gathered, value)
    return gathered


def together(work: Callable[[], T]) -> T:
    """What `work` returns here, once it has ended well on every rank; nobody waits for one that failed.

    ValueError: it raised a ValueError on this rank (that one), or on another one (its words).
    """
    own, result = None, None
    try:
        result = work()
    except ValueError as error:
        own = error
    reasons = [reason for reason in gather(str(own) if own else None) if reason is not None]
    if reasons:
        raise own or ValueError(reasons[0])
    return result


class DistributedTrainer(Trainer):
    """`Trainer` in each process of a group: a rank trains on its share of every batch, the update is the whole batch's.

    given    batches, config and validation, as `Trainer` has them
    sharded  divide the model among the ranks (FSDP) instead of keeping it whole on each (DDP)
    device   where a rank trains; a model to be sharded may be on the CPU and larger than a GPU

    All ranks have to call `state`, `weights` and `load_state`, which are of the whole model: a run may go on in another
    layout. Of a sharded model rank 0 has the tensors, on its CPU, the others None for each.

    ValueError: no group of several processes, or one that cannot shard, such as the CPU's in torch 2.6.
    """

    def __init__(self, model: GPT, *given: Any, device: torch.device, sharded: bool = False) -> None:
        if world_size() == 1:
            raise ValueError("expected several processes to share the work, got one: start them by torchrun")
        self.sharded, loss = sharded, _SummedLoss(model)
        if sharded:
            _shard(loss, model.blocks, device)
        self._loss = loss if sharded else DistributedDataParallel(loss.to(device))
        super().__init__(model, *given)  # its optimizer is made of the parts

    def _micro_batches(self, batch: tuple[Tensor, ...]) -> Iterator[tuple[Tensor, ...]]:
        """Of this rank's sequences: every world_size-th one."""
        if len(batch[0]) < world_size():
            raise ValueError(f"expected a sequence for each of {world_size()} ranks, got {len(batch[0])}")
        *first, last = super()._micro_batches(tuple(part[rank() :: world_size()] for part in batch))
        if not self.sharded:
            with self._loss.no_sync():  # gradients are averaged once, in the last backward pass
                yield from first
            yield last
            return
        yield from (*first, last)
        most = math.ceil(len(batch[0]) / world_size())  # sequences of rank 0
        for _ in range(math.ceil(most / (self.config.micro_batch_size or most)) - len(first) - 1):
            with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):  # dropout draws no further
                yield unscored(last)  # a block is gathered from all ranks, so that all take equally many

    def _summed_loss(self, *micro_batch: Tensor) -> Tensor:
        return self._loss(*micro_batch) * world_size()  # since gradients are averaged

    def _mean_over_ranks(self, value: Tensor) -> float:
        value = value.full_tensor() if hasattr(value, "full_tensor") else value
        return total(value.item(), device=self.device)[0] / world_size()

    @torch.no_grad()
    def _evaluate(self, batches: Iterable[tuple[Tensor, ...]]) -> LossReport:
        nats, n_tokens = 0.0, 0
        with evaluating(self.model), train.autocast(self.device, self.config.precision):
            for batch in _equally_many(batches):
                loss = self._loss if self.sharded else self._loss.module  # no average of gradients is prepared
                nats += loss(*(part.to(self.device) for part in batch)).item()
                n_tokens += int((batch[1] != IGNORED_TARGET).sum())
        if self.sharded:
            self._loss.reshard()  # the outermost unit waits for a backward pass, which does not come
        nats, n_tokens = total(nats, n_tokens, device=self.device)
        if not n_tokens:
            raise ValueError("no token to score: `batches` is empty, or every target is masked")
        return LossReport(nats / n_tokens, int(n_tokens))

    def _own_part(self, moment: Tensor, parameter: Tensor) -> Tensor:
        whole_one = super()._own_part(moment, parameter)
        if not self.sharded or not moment.ndim:
            return whole_one
        from torch.distributed.tensor import distribute_tensor

        return distribute_tensor(whole_one.to(parameter.device), parameter.device_mesh, parameter.placements)

    def state(self) -> dict[str, Any]:
        """As `Trainer.state`, whole."""
        return _whole(super().state()) if self.sharded else super().state()


def weights(trainer: Trainer) -> dict[str, Tensor | None]:
    """The model's state_dict, whole."""
    if isinstance(trainer, DistributedTrainer) and trainer.sharded:
        return _whole(trainer.model.state_dict(keep_vars=True))
    return trainer.model.state_dict()


class _SummedLoss(nn.Module):
    """The model and its loss in one forward pass, which is what DDP and FSDP wrap."""

    def __init__(self, model: GPT) -> None:
        super().__init__()
        self.model = model

    def forward(self, token_ids: Tensor, targets: Tensor, segments: Tensor | None = None) -> Tensor:
        return summed_loss(self.model, token_ids, targets, segments)


def _shard(root: nn.Module, blocks: Iterable[nn.Module], device: torch.device) -> None:
    """Divide the weights among the ranks, in place: each of `blocks`, modules inside `root`, a unit, all else another.

    ValueError: the group lacks what it takes.
    """
    from torch.distributed.device_mesh import init_device_mesh  # not in every build of torch
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (world_size(),))
    trial = fully_shard(nn.LayerNorm(2, device=device.type), mesh=mesh)
    try:
        trial(torch.ones(1, 2, device=device.type)).sum().backward()
    except (RuntimeError, AttributeError) as error:  # the latter in editions that know streams on a GPU only
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"these ranks cannot shard: torch {torch.__version__} does not do it on {device.type} over "
            f"{dist.get_backend()} ({reason}). Take a newer torch, a GPU for each rank, or do not shard"
        ) from error
    for block in blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(root, mesh=mesh)


def _whole(values: Any, _seen: dict[int, Tensor | None] | None = None) -> Any:
    """`values`, such as a state_dict, with each sharded tensor whole on rank 0's CPU and None on the others.

    All ranks have to ask. A matrix that stands under two names is one tensor afterwards too, given keep_vars=True.
    """
    from torch.distributed.tensor import DTensor

    seen = {} if _seen is None else _seen
    if isinstance(values, dict):
        return {key: _whole(value, seen) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return type(values)(_whole(value, seen) for value in values)
    if not isinstance(values, DTensor):
        return values
    if id(values) not in seen:
        full = values.detach().full_tensor()  # a tensor at a time: a GPU need not hold them all
        seen[id(values)] = full.cpu() if rank() == 0 else None
    return seen[id(values)]


def _equally_many(batches: Iterable[tuple[Tensor, ...]]) -> Iterator[tuple[Tensor, ...]]:
    """This rank's batches, every world_size-th; the last one scores nothing where other ranks have one more."""
    n = 0
    for batch in batches:
        if n % world_size() == rank():
            yield batch
        n += 1
    if 0 < n % world_size() <= rank():
        yield unscored(batch)


def unscored(batch: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """A sequence of the batch with no target to score, for a rank that has none left while the others go on."""
    token_ids, targets, *segments = (part[:1] for part in batch)
    return token_ids, torch.full_like(targets, IGNORED_TARGET), *segments
