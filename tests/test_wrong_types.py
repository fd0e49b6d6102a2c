"""Arguments of a wrong Python type, one at a time: what comes is a result, or an error that says what was expected."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from helpers import classroom, gpt, labs, storage
from helpers.gpt import GPT, GPTConfig, TrainConfig, data, loss
from helpers.labs import budget, changes, metrics, pretrain, quantise, scaling, speed, texts, training_grid
from helpers.storage import checkpoint, weights

WRONG = (None, "text", 3.5, [1, 2], {}, object())
SAYS = re.compile(
    r"expected|must|got|should|\bno \w+|not |between|outside|needs|No such|could not convert|invalid literal"
)
DOORS = (gpt, storage, checkpoint, weights, labs, budget, changes, metrics, pretrain, quantise, scaling, speed, texts)
V, T = 11, 5
CONFIG = GPTConfig(V, T, emb_dim=8, n_heads=2, n_layers=1, drop_rate=0.0)
MODEL, GPT2 = GPT(CONFIG).eval(), GPT(GPTConfig(50257, T, emb_dim=2, n_heads=1, n_layers=1))
IDS = torch.arange(40) % V
LOGITS, TARGETS = torch.zeros(2, 3, V), torch.zeros(2, 3, dtype=torch.int64)
SEEN = torch.zeros(V, dtype=torch.bool)
BATCHES = [gpt.Batch(IDS[None, :T], IDS[None, 1 : T + 1])]
MEMORY = budget.memory(CONFIG, 2)
PROTOCOL = metrics.Protocol("story", "test", T, T, 9, 30, "none", "tokens", "gpt2", "last")
OPTIONS = {"temperature": 1.0, "top_k": 3, "top_p": 0.5, "min_p": 0.1, "repetition_penalty": 1.1}
RUN = {"n_steps": 2, "learning_rate": 0.1, "warmup_steps": 1, "min_lr_ratio": 0.1, "weight_decay": 0.1}
RUN |= {"betas": (0.9, 0.95), "clip_norm": 1.0, "micro_batch_size": 1, "eval_every": 1, "precision": "float32"}


def state() -> checkpoint.RunState:
    return checkpoint.RunState(1, MODEL.state_dict())


def saved(folder: Path) -> Path:
    return checkpoint.save(folder / "run", state())


def model_of(folder: Path) -> Path:
    return checkpoint.save_model(folder / "model", MODEL.state_dict(), asdict(CONFIG))


def enter(path: Any) -> None:
    with storage.write_aside(path) as file:
        file.write(b"x")


def ids_of(folder: Path) -> Path:
    storage.write_ids(folder / "ids.npy", [[1]], vocab_size=V, end_of_text=0)
    return folder / "ids.npy"


def log_of(folder: Path) -> Path:
    (folder / "log.jsonl").touch()
    return folder / "log.jsonl"


def gpt2_folder(folder: Path) -> Path:
    return weights.save(MODEL, folder / "gpt2")


def tokens_of(folder: Path) -> Path:
    (folder / "tokenizer.json").touch()
    return folder


# what is called, and its arguments, each of which is exchanged; of a folder, where it needs one
CASES: list[tuple[Callable, Callable[[Path], dict[str, Any]]]] = [
    (GPTConfig, lambda _: asdict(CONFIG)),
    (gpt.preset, lambda _: {"name": "course-small", "n_layers": 1}),
    (gpt.check_ids, lambda _: {"ids": IDS, "vocab_size": V}),
    (gpt.is_number, lambda _: {"value": 1}),
    (gpt.token_labels, lambda _: {"token_ids": [1, 2]}),
    (GPT, lambda _: {"config": CONFIG}),
    (MODEL.forward, lambda _: {"token_ids": IDS[None, :T]}),
    (MODEL.residual_stream, lambda _: {"token_ids": IDS[None, :T]}),
    (MODEL.new_cache, lambda _: {"batch_size": 1, "capacity": 2}),
    (gpt.KeyValueCache, lambda _: {"n_layers": 1, "batch_size": 1, "n_heads": 1, "capacity": 1, "head_dim": 1}),
    (loss.six_steps, lambda _: {"logits": LOGITS, "targets": TARGETS}),
    (loss.token_losses, lambda _: {"logits": LOGITS, "targets": TARGETS}),
    (loss.next_token_loss, lambda _: {"logits": LOGITS, "targets": TARGETS}),
    (loss.entropy, lambda _: {"logits": LOGITS}),
    (loss.perplexity, lambda _: {"loss_nats": 1.0}),
    (loss.bits_per_byte, lambda _: {"loss_nats": 1.0, "n_tokens": 2, "n_bytes": 3}),
    (loss.token_weighted_loss, lambda _: {"model": MODEL, "batches": BATCHES}),
    (gpt.LossReport, lambda _: {"loss_nats": 1.0, "n_tokens": 2}),
    (
        gpt.loss_from_hidden,
        lambda _: (
            {"hidden": torch.zeros(2, 3, 8), "head_weight": torch.zeros(V, 8), "targets": TARGETS}
            | {"chunk_tokens": 2, "vocab_size": V}
        ),
    ),
    (data.split_by_text, lambda _: {"documents": ["a", "b"], "validation_share": 0.5, "seed": 0}),
    (data.cut, lambda _: {"token_ids": IDS, "validation_share": 0.5}),
    (data.join, lambda _: {"documents": [[1], [2]], "end_of_text": 0}),
    (data.Windows, lambda _: {"token_ids": IDS, "context_length": T, "stride": 2, "offset": 0}),
    (data.Batches, lambda _: {"token_ids": IDS, "context_length": T, "batch_size": 2, "stride": 2, "seed": 0}),
    (data.scoring_batches, lambda _: {"token_ids": IDS, "context_length": T, "batch_size": 2, "stride": 2}),
    (gpt.Schedule, lambda _: {"peak": 0.1, "n_steps": 3, "warmup_steps": 1, "min_lr_ratio": 0.1}),
    (gpt.Schedule(0.1, 3).__call__, lambda _: {"step": 1}),
    (TrainConfig, lambda _: RUN),
    (gpt.make_optimizer, lambda _: {"model": MODEL, "config": TrainConfig(1)}),
    (gpt.evaluate, lambda _: {"model": MODEL, "batches": BATCHES, "precision": "float32"}),
    (gpt.Trainer, lambda _: {"model": MODEL, "batches": BATCHES, "config": TrainConfig(1)}),
    (
        gpt.quick_fit,
        lambda _: {"model": GPT(CONFIG), "token_ids": IDS, "n_steps": 1, "batch_size": 1, "learning_rate": 0.1},
    ),
    (gpt.SamplingParams, lambda _: OPTIONS),
    (gpt.next_probs, lambda _: {"logits": LOGITS[0, 0], "seen": SEEN} | OPTIONS),
    (gpt.keep_top_k, lambda _: {"logits": LOGITS, "k": 2}),
    (gpt.keep_top_p, lambda _: {"logits": LOGITS, "p": 0.5}),
    (gpt.keep_min_p, lambda _: {"logits": LOGITS, "share": 0.5}),
    (partial(gpt.penalise_repetition, seen=SEEN), lambda _: {"logits": LOGITS[0, 0], "penalty": 1.1}),
    (
        gpt.generate,
        lambda _: {"model": MODEL, "prompts": [[1, 2]], "n_new": 1, "end_id": 3, "generator": None} | OPTIONS,
    ),
    (gpt.stream, lambda _: {"model": MODEL, "prompts": IDS[None, :2], "n_new": 1, "end_id": 3, "generator": None}),
    (gpt.stream_text, lambda _: {"model": GPT2, "tokenizer": gpt.gpt2(), "prompt": "It", "n_new": 1}),
    (storage.as_path, lambda _: {"path": "x"}),
    (enter, lambda folder: {"path": folder / "x"}),
    (storage.open_ids, lambda folder: {"path": ids_of(folder)}),
    (
        storage.write_ids,
        lambda folder: {"path": folder / "ids", "documents": [[1]], "vocab_size": V, "end_of_text": 0},
    ),
    (checkpoint.RunState, lambda _: vars(state())),
    (checkpoint.save, lambda folder: {"folder": folder / "run", "state": state(), "keep": 2}),
    (checkpoint.load, lambda folder: {"path": saved(folder)}),
    (checkpoint.find, lambda folder: {"folder": saved(folder).parent}),
    (checkpoint.verify, lambda folder: {"path": saved(folder)}),
    (checkpoint.restore_rng, lambda _: {"rng": checkpoint.capture_rng("cpu")}),
    (checkpoint.load_model, lambda folder: {"folder": model_of(folder)}),
    (
        checkpoint.save_model,
        lambda folder: (
            {"folder": folder / "m", "model_state": MODEL.state_dict(), "config": asdict(CONFIG)}
            | {"extra": {}, "dtype": torch.bfloat16}
        ),
    ),
    (checkpoint.restore, lambda _: {"model": MODEL, "optimizer": None, "state": state()}),
    (weights.load, lambda folder: {"folder": gpt2_folder(folder), "drop_rate": 0.0, "dtype": torch.float32}),
    (
        weights.save,
        lambda folder: {"model": MODEL, "folder": folder / "new", "model_type": "gpt2", "dtype": torch.float32},
    ),
    (weights.check_vocabulary, lambda _: {"model": MODEL, "n_tokens": V}),
    (weights.resize_vocabulary, lambda _: {"model": MODEL, "vocab_size": 13, "initialisation": "mean"}),
    (weights.check_sums, lambda folder: {"folder": folder}),
    (weights.find, lambda folder: {"name": "smollm2-135m", "cache": folder}),
    (budget.all_reduce_bytes, lambda _: {"n_params": 3, "world_size": 2}),
    (budget.bytes_per_rank, lambda _: {"n_params": 3, "world_size": 2, "gathered_params": 1}),
    (budget.cache_bytes, lambda _: {"config": CONFIG, "n_tokens": 2, "element_bytes": 4}),
    (budget.cost, lambda _: {"n_tokens": 2.0, "tokens_per_s": 1.0, "price_per_hour": 1.0, "watts": 3.0}),
    (budget.fits, lambda _: {"memory": MEMORY, "available_bytes": 2**30}),
    (budget.matmul_flops_per_token, lambda _: {"config": CONFIG, "context_length": T}),
    (
        budget.memory,
        lambda _: (
            {"config": CONFIG, "batch_size": 2, "context_length": T, "precision": "float32"}
            | {"optimizer": "adamw", "kept_logits_for_evaluation": 0, "device": "cpu"}
        ),
    ),
    (budget.parameter_count, lambda _: {"config": CONFIG}),
    (budget.ranks_needed, lambda _: {"n_params": 3, "available_bytes": 2**30, "gathered_params": 1}),
    (budget.readable_bytes, lambda _: {"n": 3}),
    (budget.readable_count, lambda _: {"n": 3}),
    (budget.readable_time, lambda _: {"seconds": 3}),
    (budget.replicated_limit, lambda _: {"available_bytes": 3}),
    (
        budget.scaling,
        lambda _: (
            {"n_params": 3, "tokens_per_step": 1, "tokens_per_s": 1, "world_size": 2} | {"interconnect": "PCIe 4.0 x16"}
        ),
    ),
    (budget.training_seconds, lambda _: {"n_tokens": 3, "tokens_per_s": 1}),
    (budget.updates_within, lambda _: {"hours": 3, "tokens_per_s": 1, "tokens_per_update": 1}),
    (metrics.accuracy, lambda _: {"logits": LOGITS, "targets": TARGETS}),
    (metrics.block_bootstrap, lambda _: {"values": torch.ones(4), "block": 2, "n_resamples": 2}),
    (metrics.calibration, lambda _: {"probs": torch.eye(3), "targets": torch.arange(3), "n_bins": 2}),
    (metrics.distinct_n, lambda _: {"texts": [[1, 2]], "n": 1}),
    (metrics.longest_overlap, lambda _: {"token_ids": [1, 2], "source": [2]}),
    (metrics.mean_log_likelihood, lambda _: {"model": MODEL, "token_ids": IDS[:T], "n_prompt": 1}),
    (metrics.repetition, lambda _: {"token_ids": [1, 2], "window": 2}),
    (metrics.Protocol, lambda _: vars(PROTOCOL)),
    (metrics.compare, lambda _: {"a": metrics.Result(1.0, PROTOCOL), "b": metrics.Result(1.0, PROTOCOL)}),
    (labs.rows_of, lambda _: {"documents": [[1, 2]], "context_length": 2, "how": "pad", "end_id": 0, "pad_id": 1}),
    (labs.questions.Scores((1.0, 2.0), (1, 1), (1, 1)).choice, lambda _: {"per": "token"}),
    (labs.scores.words, lambda _: {"text": "a b"}),
    (quantise.rounded, lambda _: {"weights": torch.zeros(32), "n_bits": 4}),
    (quantise.quantised_copy, lambda _: {"model": MODEL, "bits": {"attention": 4}}),
    (quantise.size_bytes, lambda _: {"model": MODEL, "bits": {"attention": 4}}),
    (quantise.surprisals, lambda _: {"model": MODEL, "token_ids": IDS, "context": T}),
    (quantise.read, lambda _: {"path": quantise.RECORD}),
    (training_grid.read, lambda _: {"path": training_grid.RECORD}),
    (changes.read, lambda _: {"path": str(changes.RECORD)}),
    (scaling.read, lambda _: {"path": scaling.RECORD}),
    (scaling.Law, lambda _: {"form": "sum", "E": 1.0, "A": 1.0, "a": 1.0, "B": 1.0, "b": 1.0}),
    (partial(scaling.best_plan, scaling.PUBLISHED["Hoffmann et al. 2022"]), lambda _: {"flops": 1e20}),
    (scaling.rule_of_thumb, lambda _: {"flops": 1e20, "tokens_per_param": 20.0}),
    (texts.toy_language, lambda _: {"name": "english"}),
    (pretrain.read_log, lambda folder: {"path": log_of(folder)}),
    (partial(classroom.reveal, measured=4), lambda _: {"guess": 3}),
    (partial(classroom.reveal, measured=4.5, unit="nats"), lambda _: {"guess": 3.5}),
]
LEFT_OUT = {
    "the checks themselves": "require_kind require_known require_number require_one_of require_whole unique_keys",
    "nothing to exchange": "gpt2 current_versions documents peak_resident_bytes authors",
    "what holds numbers, and looks at none": "Batch Evaluation Update Found SavedModel Fit Memory Interval Overlap "
    "Result Documents Runs Setting Authors Record ToyLanguage StorageError NonFiniteError",
    "errors": "CheckpointError Damaged Foreign Future",
    "parts of GPT, which looks": "CausalSelfAttention TransformerBlock evaluating rotate halves_to_adjacent "
    "summed_loss",
    "a device, which torch refuses by RuntimeError": "capture_rng",
    "a network": "fetch",
    "takes what another function gave": "Plan plan read_tokenizer dequantise markdown_table markdown_text kind_of "
    "bits_per_weight relative_error bootstrap fit interval rms_error differences excess_by_position "
    "best_rate config_of ablate for_reading read_lines write_aside story",
    "makes records, takes minutes": "main make measure record train train_once model initialised excess word_excess "
    "validation verify settings n_block_params",
}


def name_of(function: Callable) -> str:
    return name_of(function.func) if isinstance(function, partial) else function.__name__


def gone_through(result: Any) -> None:
    """What comes one at a time is looked at when it is asked for."""
    if isinstance(result, Iterator):
        list(islice(result, 2))


@pytest.mark.parametrize(("function", "make"), CASES, ids=[name_of(function) for function, _ in CASES])
def test_a_wrong_type_is_refused_in_words(function, make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    gone_through(function(**make(tmp_path)))
    found = []
    (tmp_path / "names").mkdir()
    for name in make(tmp_path / "names"):
        for value in WRONG:
            (folder := tmp_path / f"{name}-{type(value).__name__}").mkdir()
            try:
                gone_through(function(**make(folder) | {name: value}))
            except (ValueError, FileNotFoundError, IndexError) as error:
                if not SAYS.search(str(error)):
                    found.append(f"{name}={value!r}: {type(error).__name__}: {error}")
            except Exception as error:
                found.append(f"{name}={value!r}: {type(error).__name__}: {error}")
    assert found == []


def test_every_public_name_is_tried_or_left_out_for_a_reason():
    tried = {name_of(function) for function, _ in CASES} | {
        name for names in LEFT_OUT.values() for name in names.split()
    }
    offered = {
        name
        for door in DOORS
        for name in door.__all__
        if callable(getattr(door, name)) and not isinstance(getattr(door, name), ModuleType)
    }
    assert offered - tried == set()
