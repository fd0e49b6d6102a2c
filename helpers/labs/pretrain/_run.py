"""One run from its first to its last update, however often it is interrupted."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, replace

import torch

from helpers import runtime
from helpers.gpt import GPT, PRECISIONS, Evaluation, Trainer, Update, Workers, data, gpt2
from helpers.labs.pretrain import _texts
from helpers.labs.pretrain._console import Console
from helpers.labs.pretrain._folder import BEST, FINAL, IDS, LOG, Checkpoints, locked
from helpers.labs.pretrain._forecast import forecast
from helpers.labs.pretrain._log import Log
from helpers.labs.pretrain._plan import Plan, leaves_open
from helpers.labs.pretrain._stop import StopRequest, listening
from helpers.labs.pretrain._together import gather, together
from helpers.storage import checkpoint

FAILED = 1


def has_precision(device: torch.device, precision: str) -> bool:
    """Whether the device multiplies in `precision` itself: cards before compute capability 8.0 emulate bfloat16."""
    return precision != "bfloat16" or device.type != "cuda" or runtime.pick_precision(device) == torch.bfloat16


class Run:
    """A plan carried out in a folder.

    options  of the command line: text, validation, config, set, out, also, resume, shard, threads, minutes
    device   where to train
    console  says how it goes
    """

    def __init__(self, plan: Plan, options: argparse.Namespace, device: torch.device, console: Console) -> None:
        self.plan, self.options, self.device, self.console = plan, options, device, console
        self.workers = Workers.current()
        self.checkpoints = Checkpoints(options.out, options.also, console)
        self.best_loss = float("inf")
        self._log: Log | None = None  # the first worker's
        self._tried_step = self._kept_step = -1  # of the last checkpoint that was attempted, and that is on a disk
        self._weights_failed: set[str] = set()
        self._started = time.monotonic()
        self._trained_from = 0, 0.0  # tokens and seconds when training began in this process

    def go(self) -> int:
        """Train to the end, or until told to stop; return the exit status.

        ValueError: something that is wrong before training begins, the same on every worker.
        """
        with ExitStack() as stack:
            if self.workers.rank == 0:
                together(self.workers, lambda: stack.enter_context(locked(self.options.out, self.options.also)))
            else:
                together(self.workers, lambda: None)
            trainer = self._prepare()
            stop = stack.enter_context(listening(self.workers, self.device))
            try:
                return self._train(trainer, stop)
            finally:
                self.console.warn_again()

    def _prepare(self) -> Trainer:
        runtime.start(self.plan.seed)
        if self.options.threads:
            torch.set_num_threads(self.options.threads)
        found = together(self.workers, self._find)
        self._identity = together(self.workers, lambda: self._identify(found))
        together(self.workers, self._write_ids)
        training, validation = together(self.workers, lambda: _texts.open_both(self.options.out / IDS))
        model = GPT(self.plan.model)  # before anything else is drawn: the same weights for every worker
        if found:  # before they are sharded: a checkpoint holds them whole
            together(self.workers, lambda: checkpoint.restore(model, None, found.state))
        torch.manual_seed(self.plan.seed + self.workers.rank)  # dropout differs between workers
        T, B = self.plan.model.context_length, self.plan.batch_size
        batches = together(
            self.workers, lambda: data.Batches(training, T, B, seed=self.plan.seed, shift=self.plan.shift)
        )
        self.console.say(f"{len(training):,} tokens to train on, {len(validation):,} to judge by")
        trainer = self._trainer(model, batches, lambda: data.scoring_batches(validation, T, B))
        if found:
            together(self.workers, lambda: self._load(trainer, found.state))
            self.best_loss = gather(self.workers, self.best_loss)[0]  # all must agree on what is better
            self.console.say(f"going on from step {trainer.step} ({found.path})")
        together(self.workers, lambda: self._open_log(trainer.step))
        return trainer

    def _trainer(self, model: GPT, batches: data.Batches, validation: Callable) -> Trainer:
        model.gradient_checkpointing = self.plan.gradient_checkpointing
        shard_on = self.device if self.options.shard else None
        model = model if shard_on else model.to(self.device)
        trainer = Trainer(model, batches, self.plan.train, validation, shard_on)
        layout = f", in shards on {self.workers.count} workers" if shard_on else ""
        self.console.say(f"{model.n_params:,} parameters, {self.plan.train.precision} on {self.device.type}{layout}")
        expected = None if shard_on else forecast(self.plan, self.device, self.workers.count)
        if expected:
            (self.console.say if expected.fits else self.console.warn)(f"memory, predicted: {expected}")
        return trainer

    def _find(self) -> checkpoint.Found | None:
        """The newest good checkpoint of all folders, where there is one and it is wanted."""
        found = self.checkpoints.newest(must=self.options.resume == "must")
        if found and self.options.resume == "never":
            raise ValueError(f"{found.path} is there already: choose another --out, or let it resume")
        return found

    def _identify(self, found: checkpoint.Found | None) -> dict:
        """What makes this run this run; a checkpoint with another one is refused."""
        open_precision = leaves_open(self.options.config, self.options.set, "precision")
        if found and open_precision:
            self._keep_precision(found.state.config)
        if self.plan.batch_size < self.workers.count:
            raise ValueError(
                f"batch_size {self.plan.batch_size} leaves some of {self.workers.count} workers without a row: "
                f"take at least {self.workers.count}"
            )
        if self.plan.model.vocab_size < gpt2().n_vocab:
            raise ValueError(
                f"vocab_size must be at least {gpt2().n_vocab}, which GPT-2's tokenizer has, "
                f"got {self.plan.model.vocab_size}"
            )
        identity = self.plan.identity() | {
            "texts": _texts.fingerprint([*self.options.text, *self.options.validation]),
            "n_validation_files": len(self.options.validation),
        }
        self.checkpoints.require_ours(identity, any_precision=open_precision)
        return identity

    def _keep_precision(self, config: dict) -> None:
        """Go on in the precision that the run was saved in, whatever this device would choose, if it has that one."""
        saved, chosen = config.get("train", {}).get("precision"), self.plan.train.precision
        if saved == chosen or saved not in PRECISIONS:
            return
        if has_precision(self.device, saved):
            self.plan = replace(self.plan, train=replace(self.plan.train, precision=saved))
            self.console.say(f"the run was saved in {saved} and goes on in it, where this device would take {chosen}")
        else:
            self.console.warn(f"the run was saved in {saved}, which this device lacks: it goes on in {chosen}")

    def _write_ids(self) -> None:
        if self.workers.rank == 0:
            of_files = self.options.text, self.options.validation
            folder = self.options.out / IDS
            if _texts.prepare(folder, *of_files, self.plan.seed, self._identity["texts"]):
                self.console.warn(f"{folder} was damaged: its ids were written anew")

    def _load(self, trainer: Trainer, state: checkpoint.RunState) -> None:
        checkpoint.check_fit(None, trainer.optimizer, state)
        same_precision = state.config["train"]["precision"] == self.plan.train.precision
        trainer.load_state(
            {
                "step": state.step,
                "n_tokens": state.data["n_tokens"],
                "optimizer": state.optimizer,
                "scaler": state.scaler if same_precision else trainer.state()["scaler"],
            }
        )
        of_workers = state.rng["workers"]
        if len(of_workers) == self.workers.count:
            left_out = checkpoint.restore_rng(of_workers[self.workers.rank], self.device)
            if left_out and self.plan.model.drop_rate:
                names = ", ".join(left_out)
                self.console.warn(f"the random numbers of {names} cannot be repeated here: dropout draws others")
        elif self.plan.model.drop_rate:
            n = self.workers.count
            self.console.warn(f"saved by {len(of_workers)} workers, now {n}: dropout draws other numbers")
        self.best_loss = float("inf") if state.extra["best_loss"] is None else state.extra["best_loss"]
        if self.best_loss < float("inf") and not (self.options.out / BEST).exists():
            self.console.warn(f"{self.options.out / BEST} is gone: the next evaluation counts as the best so far")
            self.best_loss = float("inf")
        self._tried_step = self._kept_step = state.step

    def _open_log(self, step: int) -> None:
        if self.workers.rank == 0:
            self._log = Log(self.options.out / LOG, step, self.console)

    def _train(self, trainer: Trainer, stop: StopRequest) -> int:
        n_steps = self.plan.train.n_steps
        from helpers.classroom import progress  # TODO: a room above

        records = progress.bar(trainer, n_steps, trainer.step) if self.workers.rank == 0 else trainer
        self._trained_from = trainer.n_tokens, self._running()
        for record in records:
            if self._log:
                self._log.write(record, self._log.seconds + self._running())
            if isinstance(record, Evaluation):
                self._judge(trainer, record)
            if trainer.step == n_steps and isinstance(record, Update):
                continue  # the last evaluation comes next, and its verdict belongs into the last checkpoint
            status = stop.status(self._is_late()) if trainer.step < n_steps else None
            due = trainer.step % self.plan.save_every == 0 or trainer.step == n_steps or status is not None
            if due and trainer.step != self._tried_step:
                self._save(trainer)
            if status is not None:
                return self._stopped(trainer, status)
        return self._finish(trainer)

    def _judge(self, trainer: Trainer, record: Evaluation) -> None:
        tokens, seconds = record.n_tokens - self._trained_from[0], self._running() - self._trained_from[1]
        speed = f" · {tokens / seconds:,.0f} tokens/s" if tokens else ""
        self.console.say(
            f"step {record.step:,} · {record.n_tokens:,} tokens · validation {record.loss_nats:.4f} nats, "
            f"perplexity {record.perplexity:.2f}{speed}"
        )
        if record.loss_nats < self.best_loss and self._save_weights(trainer, BEST, asdict(record)):
            self.best_loss = record.loss_nats  # of what stands there: after a failure the next one is tried again

    def _save(self, trainer: Trainer) -> None:
        state = self._state(trainer)
        if self._log:
            self._log.sync()
        if self.workers.rank or self.checkpoints.save(state, self.plan.keep):
            self._kept_step = trainer.step
        self._tried_step = trainer.step
        gather(self.workers, None)  # nobody runs ahead of the writing

    def _state(self, trainer: Trainer) -> checkpoint.RunState:
        state = trainer.state()
        schedule = self.plan.train.schedule
        return checkpoint.RunState(
            step=trainer.step,
            model=trainer.weights(),
            optimizer=state["optimizer"],
            scaler=state["scaler"],
            schedule=asdict(schedule) | {"learning_rate": schedule(trainer.step)},
            rng={"workers": gather(self.workers, checkpoint.capture_rng(self.device))},
            data={"next_batch": trainer.step, "n_tokens": trainer.n_tokens},
            config=self._identity,
            extra={"best_loss": self.best_loss if self.best_loss < float("inf") else None},
        )

    def _save_weights(self, trainer: Trainer, name: str, said: dict) -> bool:
        """Whether they are on the disk; all workers get the first one's answer."""
        weights = trainer.weights()
        self._weights_failed.discard(name)
        try:
            if self.workers.rank == 0:
                checkpoint.save_model(self.options.out / name, weights, asdict(self.plan.model), said)
        except checkpoint.CheckpointError as error:
            self._weights_failed.add(name)
            self.console.warn(f"the weights were not written: {error}", name)
        return gather(self.workers, name not in self._weights_failed)[0]

    def _stopped(self, trainer: Trainer, status: int) -> int:
        if self._lost(trainer):
            return FAILED
        self.console.say(f"stopped after step {trainer.step}; the same command goes on from there")
        return status

    def _finish(self, trainer: Trainer) -> int:
        self._save_weights(trainer, FINAL, {"step": trainer.step, "n_tokens": trainer.n_tokens})
        final = self.options.out / FINAL
        if self._lost(trainer):
            return FAILED
        if FINAL in self._weights_failed:
            self.console.complain(f"pretrain: {final} was not written; the same command writes it from the checkpoint")
            return FAILED
        if BEST in self._weights_failed:
            best = self.options.out / BEST
            self.console.complain(f"pretrain: {best} is not of the lowest loss, whose weights were not written")
            return FAILED
        self.console.say(f"done: {trainer.step:,} updates, best validation loss {self.best_loss:.4f} nats; {final}")
        return 0

    def _lost(self, trainer: Trainer) -> bool:
        """Whether the last checkpoint is on no disk; says so."""
        lost = self._kept_step != trainer.step
        if lost:
            since = f"all since step {self._kept_step} is lost" if self._kept_step >= 0 else "all is lost"
            names = ", ".join(map(str, self.checkpoints.folders))
            self.console.complain(f"pretrain: step {trainer.step} could be saved nowhere ({names}): {since}")
        return lost

    def _is_late(self) -> bool:
        return self.options.minutes is not None and self._running() > 60 * self.options.minutes

    def _running(self) -> float:
        return time.monotonic() - self._started
