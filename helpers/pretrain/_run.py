"""One run from its first to its last update, however often it is interrupted."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path

import torch
import torch.distributed as dist

from helpers import checkpoint, data, progress, runtime
from helpers.model import GPT
from helpers.pretrain import _texts
from helpers.pretrain._log import rewind, write_line
from helpers.pretrain._plan import Plan, differences
from helpers.train import Evaluation, Record, Trainer, Workers

CHECKPOINTS, IDS, LOG, BEST, FINAL = "checkpoints", "ids", "log.jsonl", "best", "model"


class Run:
    """A plan carried out in a folder.

    options  of the command line: text, validation, out, also, resume, minutes
    device   where to train
    """

    def __init__(self, plan: Plan, options: argparse.Namespace, device: torch.device) -> None:
        self.plan, self.options, self.device, self.out = plan, options, device, options.out
        self.workers = Workers.current()
        self.best_loss = float("inf")
        self.stop_signal = 0
        self._saved_step: int | None = None
        self._seconds_before, self._started = 0.0, time.monotonic()

    def go(self) -> int:
        """Train to the end, or until told to stop; return the exit status."""
        runtime.start(self.plan.seed)
        self._identity = self.plan.as_dict() | {
            "texts": _texts.fingerprint([*self.options.text, *self.options.validation]),
            "n_validation_files": len(self.options.validation),
        }
        model = GPT(self.plan.model)  # before anything else is drawn: the same weights for every worker
        torch.manual_seed(self.plan.seed + self.workers.rank)  # dropout differs between workers
        trainer = self._trainer(model.to(self.device))
        self._say(f"{model.n_params:,} parameters, {trainer.config.precision} on {self.device.type}")
        self._resume(trainer)
        self._listen()
        if self.workers.rank == 0:
            with open(self.out / LOG, "a", encoding="utf-8") as log:
                status = self._train(trainer, log)
        else:
            status = self._train(trainer, None)
        return status

    def _trainer(self, model: GPT) -> Trainer:
        folder = self.out / IDS
        if self.workers.rank == 0 and not self._ids_are_here(folder):
            folder.mkdir(parents=True, exist_ok=True)
            _texts.prepare(folder, self.options.text, self.options.validation, self.plan.seed)
            (folder / "texts.sha256").write_text(self._identity["texts"] + "\n")
        self._wait()
        training, validation = _texts.open_both(folder)
        T, B = self.plan.model.context_length, self.plan.batch_size
        batches = data.Batches(training, T, B, seed=self.plan.seed, shift=self.plan.shift)
        self._say(f"{len(training):,} tokens to train on, {len(validation):,} to judge by")
        return Trainer(model, batches, self.plan.train, lambda: data.scoring_batches(validation, T, B))

    def _ids_are_here(self, folder: Path) -> bool:
        mark = folder / "texts.sha256"  # written last
        return mark.exists() and mark.read_text().strip() == self._identity["texts"]

    def _resume(self, trainer: Trainer) -> None:
        """Go on from the newest good checkpoint of all folders, where there is one and it is wanted."""
        found = [checkpoint.find(folder) for folder in self._folders()]
        for path, reason in (refused for one in found for refused in one.refused):
            self._warn(f"{path} is passed over: {reason}")
        good = [one for one in found if one.state is not None]
        if not good:
            if self.options.resume == "must" or any(one.refused for one in found):
                raise ValueError(
                    f"no good checkpoint under {', '.join(map(str, self._folders()))} to go on from: "
                    "remove the folder to begin anew"
                )
            if self.workers.rank == 0:
                (self.out / LOG).unlink(missing_ok=True)
            return
        if self.options.resume == "never":
            raise ValueError(f"{good[0].path} is there already: choose another --out, or let it resume")
        newest = max(good, key=lambda one: one.state.step)
        self._load(trainer, newest.state)
        self._say(f"going on from step {trainer.step} ({newest.path})")

    def _load(self, trainer: Trainer, state: checkpoint.RunState) -> None:
        other = differences(state.config, self._identity)
        if other:
            raise ValueError(
                f"{self.out} holds another run; what differs: {'; '.join(other)}. Choose another --out, or its settings"
            )
        checkpoint.restore(trainer.model, None, state)
        trainer.load_state(
            {
                "step": state.step,
                "n_tokens": state.data["n_tokens"],
                "optimizer": state.optimizer,
                "scaler": state.scaler,
            }
        )
        of_workers = state.rng["workers"]
        if len(of_workers) == self.workers.count:
            for device in checkpoint.restore_rng(of_workers[self.workers.rank]):
                self._warn(f"{device} is not here: its random numbers cannot be repeated")
        else:
            self._warn(f"saved by {len(of_workers)} workers, now {self.workers.count}: dropout draws other numbers")
        self.best_loss = state.extra["best_loss"]
        self._saved_step = state.step
        if self.workers.rank == 0:
            self._seconds_before = rewind(self.out / LOG, state.step)

    def _train(self, trainer: Trainer, log) -> int:
        n_steps = self.plan.train.n_steps
        records = progress.bar(trainer, n_steps, trainer.step) if self.workers.rank == 0 else trainer
        for record in records:
            if log:
                write_line(log, record, self._seconds())
            if isinstance(record, Evaluation):
                self._judge(trainer, record)
            stopping = self._stopping()
            due = trainer.step % self.plan.save_every == 0 or trainer.step == n_steps or stopping
            if due and trainer.step != self._saved_step and self._is_settled(trainer, record):
                self._save(trainer)
            if stopping:
                self._say(f"stopped after step {trainer.step}; the same command goes on from there")
                return 128 + self.stop_signal if self.stop_signal else 0
        return self._finish(trainer)

    def _is_settled(self, trainer: Trainer, record: Record) -> bool:
        """At the end the last evaluation comes first, so that the best weights are known when the run is over."""
        return trainer.step < self.plan.train.n_steps or isinstance(record, Evaluation)

    def _judge(self, trainer: Trainer, record: Evaluation) -> None:
        speed = (record.n_tokens - getattr(self, "_tokens_at_start", record.n_tokens)) / max(self._running(), 1e-9)
        self._tokens_at_start = getattr(self, "_tokens_at_start", record.n_tokens)
        self._say(
            f"step {record.step:,} · {record.n_tokens:,} tokens · validation {record.loss_nats:.4f} nats, "
            f"perplexity {record.perplexity:.2f} · {speed:,.0f} tokens/s"
        )
        if record.loss_nats < self.best_loss:
            self.best_loss = record.loss_nats
            self._save_weights(trainer, BEST, asdict(record))

    def _save(self, trainer: Trainer) -> None:
        state = self._state(trainer)
        if self.workers.rank == 0:
            for folder in self._folders():
                try:
                    checkpoint.save(folder, state, keep=self.plan.keep)
                    self._saved_step = trainer.step
                except checkpoint.StorageError as error:
                    self._warn(f"step {trainer.step} was not saved: {error}. Training goes on")
        self._saved_step = trainer.step
        self._wait()

    def _state(self, trainer: Trainer) -> checkpoint.RunState:
        rng = [checkpoint.capture_rng(self.device)]
        if self.workers.count > 1:
            gathered: list = [None] * self.workers.count
            dist.all_gather_object(gathered, rng[0])
            rng = gathered
        state = trainer.state()
        return checkpoint.RunState(
            step=trainer.step,
            model=trainer.model.state_dict(),
            optimizer=state["optimizer"],
            scaler=state["scaler"],
            schedule=asdict(self.plan.train.schedule) | {"learning_rate": self.plan.train.schedule(trainer.step)},
            rng={"workers": rng},
            data={"next_batch": trainer.step, "n_tokens": trainer.n_tokens},
            config=self._identity,
            extra={"best_loss": self.best_loss},
        )

    def _save_weights(self, trainer: Trainer, name: str, said: dict) -> None:
        if self.workers.rank:
            return
        try:
            checkpoint.save_model(self.out / name, trainer.model.state_dict(), asdict(self.plan.model), said)
        except checkpoint.StorageError as error:
            self._warn(f"the weights were not written: {error}. Training goes on")

    def _finish(self, trainer: Trainer) -> int:
        self._save_weights(trainer, FINAL, {"step": trainer.step, "n_tokens": trainer.n_tokens})
        self._say(f"done: {trainer.step:,} updates, best validation loss {self.best_loss:.4f} nats; {self.out / FINAL}")
        return 0

    def _folders(self) -> list[Path]:
        """Where checkpoints go, the nearest first."""
        also = [self.options.also] if self.options.also else []
        return [self.out / CHECKPOINTS, *also]

    def _listen(self) -> None:
        """The first SIGTERM or Ctrl-C asks to save and stop; a second one ends the process at once."""

        def ask(number: int, _frame: object) -> None:
            self.stop_signal = number
            signal.signal(number, signal.SIG_DFL)

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, ask)

    def _stopping(self) -> bool:
        late = self.options.minutes is not None and self._running() > 60 * self.options.minutes
        return self.workers.total(float(late or self.stop_signal > 0), device=self.device)[0] > 0

    def _running(self) -> float:
        return time.monotonic() - self._started

    def _seconds(self) -> float:
        return self._seconds_before + self._running()

    def _wait(self) -> None:
        if self.workers.count > 1:
            dist.barrier()

    def _say(self, text: str) -> None:
        if self.workers.rank == 0:
            print(text, flush=True)

    def _warn(self, text: str) -> None:
        if self.workers.rank == 0:
            print(f"warning: {text}", file=sys.stderr, flush=True)
