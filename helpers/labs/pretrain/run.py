"""One run from its first to its last update, however often it is interrupted."""

import argparse
import math
import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict

import torch
from tqdm import tqdm

from helpers import runtime
from helpers.gpt import GPT, Evaluation, NonFiniteError, Record, Trainer, Update, data
from helpers.labs import budget, distributed
from helpers.labs.distributed import DistributedTrainer, gather, rank, together, world_size
from helpers.labs.pretrain import checkpoints, ids
from helpers.labs.pretrain.checkpoints import BEST, CHECKPOINTS, FINAL, IDS, LOG, Checkpoints, differences, locked
from helpers.labs.pretrain.log import Log, complain, say, warn
from helpers.labs.pretrain.plan import Plan, forecast, new_model, read_plan
from helpers.labs.pretrain.stop import SIGNALS, listening
from helpers.storage import checkpoint

FAILED = 1


class Run:
    """A plan carried out in a folder.

    options       of the command line: text, validation, config, set, out, also, shard, threads, minutes
    device        where to train
    after_record  as `main` has it
    """

    def __init__(
        self,
        plan: Plan,
        options: argparse.Namespace,
        device: torch.device,
        after_record: Callable[[Record], None] | None = None,
    ) -> None:
        self.plan, self.options, self.device = plan, options, device
        self.after_record = after_record or (lambda record: None)
        self.checkpoints = Checkpoints(options.out, options.also)
        self.best_loss = float("inf")
        self._log: Log | None = None  # rank 0's
        self._tried_step = self._kept_step = -1  # of the last checkpoint that was attempted, and that is on a disk
        self._weights_failed: set[str] = set()
        self._started = time.monotonic()

    def go(self) -> int:
        """Train to the end, or until told to stop; return the exit status.

        ValueError: something that is wrong before training begins, the same on every rank.
        """
        options = self.options
        with ExitStack() as stack:
            together(lambda: stack.enter_context(locked(options.out, options.also)) if rank() == 0 else None)
            trainer = self._prepare()
            asked = stack.enter_context(listening())
            try:
                return self._train(trainer, asked)
            except ValueError as error:  # what was given was good: weights, for one, have become no numbers
                complain(f"stopped: {error}")
                return FAILED

    def _prepare(self) -> Trainer:
        runtime.start(self.plan.seed)
        if self.options.threads:
            torch.set_num_threads(self.options.threads)
        found = together(self._find)
        self._identity = together(self._identify)
        together(self._write_ids)
        training, validation = together(lambda: ids.open_both(self.options.out / IDS))
        T, B = self.plan.model.context_length, self.plan.batch_size
        batches = together(lambda: data.Batches(training, T, B, seed=self.plan.seed, shift=self.plan.shift))
        say(f"{len(training):,} tokens to train on, {len(validation):,} to judge by")
        self._say_size()
        # before anything else is drawn: the same weights on every rank
        model = together(lambda: new_model(self.plan.model))
        if found:  # before they are sharded: a checkpoint holds them whole
            together(lambda: checkpoint.restore(model, None, found.state))
        torch.manual_seed(self.plan.seed + rank())  # dropout differs between ranks
        trainer = self._trainer(model, batches, lambda: data.scoring_batches(validation, T, B))
        if found:
            together(lambda: self._load(trainer, found.state))
            self.best_loss = gather(self.best_loss)[0]  # all must agree on what is better
            say(f"going on from step {trainer.step} ({found.path})")
        together(lambda: self._open_log(found))
        return trainer

    def _trainer(self, model: GPT, batches: data.Batches, validation: Callable) -> Trainer:
        model.gradient_checkpointing = self.plan.gradient_checkpointing
        given = batches, self.plan.train, validation
        if world_size() > 1:
            return DistributedTrainer(model, *given, device=self.device, sharded=self.options.shard)
        return Trainer(model.to(self.device), *given)

    def _say_size(self) -> None:
        """Before the memory is taken."""
        n_params = budget.parameter_count(self.plan.model)["total"]
        layout = f", sharded on {world_size()} ranks" if self.options.shard else ""
        say(f"{n_params:,} parameters, {self.plan.train.precision} on {self.device.type}{layout}")
        expected = None if self.options.shard else forecast(self.plan, self.device, world_size())
        if expected:
            (say if expected.fits else warn)(f"memory, predicted: {expected}")

    def _find(self) -> checkpoint.Found | None:
        """The newest good checkpoint of all folders; where no precision was asked for, its own is kept."""
        found, chosen = self.checkpoints.newest(), self.plan.train.precision
        for path, n_made in () if found else checkpoints.traces(self.options.out):
            if n_made:  # the best weights of step 0 are written before its checkpoint
                raise ValueError(
                    f"{path} knows {n_made} updates, and no checkpoint of them is there: put one back into "
                    f"{CHECKPOINTS}, name its folder by --also, or move {self.options.out} away to begin anew"
                )
        if found:
            self.plan = read_plan(self.options.config, self.options.set, found.state.config["train"]["precision"])
            if self.plan.train.precision != chosen:
                saved = self.plan.train.precision
                warn(f"the run goes on in {saved}, as it began; this device would take {chosen}")
            there, here = found.state.config["train"]["n_steps"], self.plan.train.n_steps
            if there < here:
                warn(f"n_steps was {there} and is {here}: the run is extended, from step "
                    f"{found.state.step} on at the learning rates of {here} steps, and is not one of {here} from the "
                    "beginning")  # fmt: skip
        return found

    def _identify(self) -> dict:
        """What makes this run this run; a checkpoint with another one is refused."""
        if self.plan.batch_size < world_size():
            raise ValueError(
                f"batch_size {self.plan.batch_size} leaves some of {world_size()} ranks without a sequence: "
                f"take at least {world_size()}"
            )
        texts = ids.fingerprint_of(self.options.text, self.options.validation)
        identity = self.plan.identity() | {"texts": texts, "n_validation_files": len(self.options.validation)}
        self.checkpoints.require_ours(identity)
        return identity

    def _write_ids(self) -> None:
        if rank() == 0:
            of_files = self.options.text, self.options.validation
            for remark in ids.prepare(self.options.out / IDS, *of_files, self.plan.seed, self._identity["texts"]):
                warn(remark)

    def _load(self, trainer: Trainer, state: checkpoint.RunState) -> None:
        """ValueError: the state is of another model, or damaged."""
        at = {"step": state.step, "n_tokens": state.data["n_tokens"]}
        trainer.load_state({**at, "optimizer": state.optimizer, "scaler": state.scaler})
        of_ranks = state.rng["ranks"]
        if len(of_ranks) == world_size():
            left_out = checkpoint.restore_rng(of_ranks[rank()], self.device)
            if left_out and self.plan.model.drop_rate:
                names = ", ".join(left_out)
                warn(f"the random numbers of {names} cannot be repeated here: dropout draws others")
        other = checkpoints.differences_of_machines(state, self.device)
        if len(of_ranks) != world_size():
            other.append(f"ranks {len(of_ranks)}, now {world_size()}")
        if other:
            warn(f"saved with {'; '.join(other)}: the run goes on, and not bit for bit")
        if rank() == 0:
            if state.extra["best_loss"] is not None:
                self.best_loss = self._loss_of_best()
            self.checkpoints.catch_up(state, self.plan.keep)
        self._tried_step = self._kept_step = state.step

    def _loss_of_best(self) -> float:
        """Of the weights that stand there, by which the next ones are judged; infinite where none do."""
        best = self.options.out / BEST
        try:
            said = checkpoint.load_model(best).extra
            loss, other = said["loss_nats"], differences(said.get("run", self._identity), self._identity)
            if isinstance(loss, int | float) and not other:
                return loss
            reason = f"of another run ({'; '.join(other)})" if other else f"damaged (its loss is {loss!r:.50})"
        except (KeyError, ValueError) as error:
            reason = f"damaged ({error})" if os.path.lexists(best) else "gone"
        warn(f"{best} is {reason}: the next evaluation counts as the best so far")
        return float("inf")

    def _open_log(self, found: checkpoint.Found | None) -> None:
        if rank() == 0:
            step, train = found.state.step if found else 0, self.plan.train
            evaluated = step > 0 and step % (train.eval_every or train.n_steps) != 0 and step < train.n_steps
            last_loss = found.state.extra.get("last_loss") if found else None
            self._log = Log(self.options.out / LOG, step, evaluated, last_loss)

    def _train(self, trainer: Trainer, asked: list[int]) -> int:
        n_steps = self.plan.train.n_steps
        begun = trainer.n_tokens, self._running()
        disable = None if rank() == 0 and sys.stderr else True  # None: where it is no terminal; there may be no stream
        with tqdm(total=n_steps, initial=trainer.step, unit="step", disable=disable) as bar:
            for record in trainer:
                bar.update(isinstance(record, Update))
                if self._log:
                    self._log.write(record, self._log.seconds + self._running())
                self.after_record(record)
                if isinstance(record, Evaluation):
                    self._judge(trainer, record, *begun)
                if trainer.step == n_steps and isinstance(record, Update):
                    continue  # the last evaluation comes next, and its verdict belongs into the last checkpoint
                status = self._status(asked) if trainer.step < n_steps else None
                due = trainer.step % self.plan.save_every == 0 or trainer.step == n_steps or status is not None
                if due and trainer.step != self._tried_step:
                    self._save(trainer)
                never_kept = self._kept_step < 0 <= self._tried_step  # to go on could be hours for nothing
                if never_kept or (status is not None and self._kept_step != trainer.step):
                    return self._failed(self._lost(trainer))
                if status is not None:
                    say(f"stopped after step {trainer.step}; the same command goes on from there")
                    return status
        return self._finish(trainer)

    def _status(self, asked: list[int]) -> int | None:
        """Exit status to stop with now: 128 + n after signal n, 0 where the time is up; None: go on.

        All ranks agree on it: one of them may have been told earlier than the others.
        """
        late = self.options.minutes is not None and self._running() > 60 * self.options.minutes
        found = distributed.total(*(float(number in asked) for number in SIGNALS), float(late), device=self.device)
        statuses = [*(128 + number for number in SIGNALS), 0]
        return next((status for status, count in zip(statuses, found, strict=True) if count), None)

    def _judge(self, trainer: Trainer, record: Evaluation, tokens_before: int, seconds_before: float) -> None:
        if not math.isfinite(record.loss_nats):
            cause = "try a lower learning rate, a longer warm-up, or float32"
            raise NonFiniteError(f"a validation loss of {record.loss_nats} after step {record.step}: {cause}")
        tokens, seconds = record.n_tokens - tokens_before, self._running() - seconds_before
        speed = f" · {tokens / seconds:,.0f} tokens/s" if tokens else ""
        say(
            f"step {record.step:,} · {record.n_tokens:,} tokens · validation {record.loss_nats:.4f} nats, "
            f"perplexity {record.perplexity:.2f}{speed}"
        )
        if record.loss_nats < self.best_loss and self._save_weights(
            trainer, BEST, asdict(record) | {"run": self._identity}
        ):
            self.best_loss = record.loss_nats  # of what stands there: after a failure the next one is tried again

    def _save(self, trainer: Trainer) -> None:
        state, schedule = trainer.state(), self.plan.train.schedule
        best_loss = self.best_loss if math.isfinite(self.best_loss) else None
        run_state = checkpoint.RunState(
            step=trainer.step,
            model=distributed.weights(trainer),
            optimizer=state["optimizer"],
            scaler=state["scaler"],
            schedule=asdict(schedule) | {"learning_rate": schedule(trainer.step)},
            rng={"ranks": gather(checkpoint.capture_rng(self.device))},
            data={"next_batch": trainer.step, "n_tokens": trainer.n_tokens},
            config=self._identity,
            extra={"best_loss": best_loss, "last_loss": self._log and self._log.last_loss}
            | checkpoints.machine(self.device),
        )
        if self._log:
            self._log.sync()
        if together(lambda: rank() > 0 or self.checkpoints.save(run_state, self.plan.keep)):  # nobody runs ahead
            self._kept_step = trainer.step
        self._tried_step = trainer.step

    def _save_weights(self, trainer: Trainer, name: str, said: dict) -> bool:
        """Whether they are on the disk; all ranks get rank 0's answer."""
        weights = distributed.weights(trainer)
        self._weights_failed.discard(name)
        try:
            if rank() == 0:
                checkpoint.save_model(self.options.out / name, weights, asdict(self.plan.model), said)
        except ValueError as error:  # whatever it is, the other ranks wait for the answer
            self._weights_failed.add(name)
            warn(f"the weights were not written: {error}")
        return gather(name not in self._weights_failed)[0]

    def _finish(self, trainer: Trainer) -> int:
        self._save_weights(trainer, FINAL, {"step": trainer.step, "n_tokens": trainer.n_tokens})
        final, best, failed = self.options.out / FINAL, self.options.out / BEST, self._weights_failed
        if self._kept_step != trainer.step:
            left = "" if FINAL in failed else f"; {final} has the weights of the end"
            return self._failed(self._lost(trainer) + left)
        if FINAL in failed:
            return self._failed(f"{final} was not written; the same command writes it from the checkpoint")
        if BEST in failed:
            return self._failed(f"{best} is not of the lowest loss, whose weights were not written")
        say(f"done: {trainer.step:,} updates, best validation loss {self.best_loss:.4f} nats; {final}")
        return 0

    def _failed(self, reason: str) -> int:
        complain(f"pretrain: {reason}")
        return FAILED

    def _lost(self, trainer: Trainer) -> str:
        """That the last checkpoint is on no disk, and what is left."""
        since = f"the run can go on from step {self._kept_step}" if self._kept_step >= 0 else "there is no other one"
        return f"step {trainer.step} could be saved nowhere ({', '.join(map(str, self.checkpoints.folders))}): {since}"

    def _running(self) -> float:
        return time.monotonic() - self._started
