"""Arguments of a wrong Python type, one at a time: what comes is a result, or an error that says what was expected."""

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers import classroom, gpt, labs, storage
from helpers.gpt import GPT, GPTConfig, TrainConfig, data, loss
from helpers.labs import budget, changes, metrics, pretrain, quantise, scaling, speed, texts, training_grid
from helpers.storage import checkpoint, weights

WRONG = (None, "text", 3.5, [1, 2], {}, object())
SAYS = re.compile(r"expected|must|got|should|\bno |not |needs|No such|could not convert|invalid literal")
DOORS = (gpt, storage, checkpoint, weights, labs, budget, changes, metrics, pretrain, quantise, scaling, speed, texts)
V, T = 11, 5
CONFIG, ONE = GPTConfig(V, T, emb_dim=8, n_heads=2, n_layers=1, drop_rate=0.0), TrainConfig(1)
MODEL, GPT2 = GPT(CONFIG).eval(), GPT(GPTConfig(50257, T, emb_dim=2, n_heads=1, n_layers=1))
STATE = checkpoint.RunState(1, MODEL.state_dict())
IDS = torch.arange(40) % V
LOGITS, TARGETS = torch.zeros(2, 3, V), torch.zeros(2, 3, dtype=torch.int64)
SCORED, SEEN = {"logits": LOGITS, "targets": TARGETS}, torch.zeros(V, dtype=torch.bool)
BATCHES = [gpt.Batch(IDS[None, :T], IDS[None, 1 : T + 1])]
PROTOCOL = metrics.Protocol("story", "test", T, T, 9, 30, "none", "tokens", "gpt2", "last")
RESULT = metrics.Result(1.0, PROTOCOL)
OPTIONS = {"temperature": 1.0, "top_k": 3, "top_p": 0.5, "min_p": 0.1, "repetition_penalty": 1.1}
RUN = {"n_steps": 2, "learning_rate": 0.1, "warmup_steps": 1, "min_lr_ratio": 0.1, "weight_decay": 0.1}
RUN |= {"betas": (0.9, 0.95), "clip_norm": 1.0, "micro_batch_size": 1, "eval_every": 1, "precision": "float32"}
SAVED = Path("run/step-00000001")  # in a folder as `made` makes it


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    checkpoint.save(folder / "run", STATE)
    checkpoint.save_model(folder / "model", MODEL.state_dict(), asdict(CONFIG))
    weights.save(MODEL, folder / "gpt2")
    storage.write_ids(folder / "ids.npy", [[1]], vocab_size=V, end_of_text=0)
    (folder / "log.jsonl").touch()
    return folder


def enter(path: Any) -> None:
    with storage.write_aside(path) as file:
        file.write(b"x")


CASES: list[tuple[Callable, dict[str, Any]]] = [  # what is called, and its arguments, each of which is exchanged
    (GPTConfig, asdict(CONFIG)),
    (gpt.preset, {"name": "course-small", "n_layers": 1}),
    (gpt.check_ids, {"ids": IDS, "vocab_size": V}),
    (gpt.token_labels, {"token_ids": [1, 2]}),
    (GPT, {"config": CONFIG}),
    (MODEL.forward, {"token_ids": IDS[None, :T]}),
    (MODEL.residual_stream, {"token_ids": IDS[None, :T]}),
    (MODEL.new_cache, {"batch_size": 1, "capacity": 2}),
    (gpt.KeyValueCache, {"n_layers": 1, "batch_size": 1, "n_heads": 1, "capacity": 1, "head_dim": 1}),
    (loss.six_steps, SCORED),
    (loss.token_losses, SCORED),
    (loss.next_token_loss, SCORED),
    (loss.entropy, {"logits": LOGITS}),
    (loss.perplexity, {"loss_nats": 1.0}),
    (loss.bits_per_byte, {"loss_nats": 1.0, "n_tokens": 2, "n_bytes": 3}),
    (loss.token_weighted_loss, {"model": MODEL, "batches": BATCHES}),
    (gpt.LossReport, {"loss_nats": 1.0, "n_tokens": 2}),
    (gpt.loss_from_hidden, {"hidden": torch.zeros(2, 3, 8), "head_weight": torch.zeros(V, 8), "targets": TARGETS}),
    (partial(gpt.loss_from_hidden, LOGITS, torch.zeros(V, V), TARGETS), {"chunk_tokens": 2, "vocab_size": V}),
    (data.split_by_text, {"documents": ["a", "b"], "validation_share": 0.5, "seed": 0}),
    (data.cut, {"token_ids": IDS, "validation_share": 0.5}),
    (data.join, {"documents": [[1], [2]], "end_of_text": 0}),
    (data.Windows, {"token_ids": IDS, "context_length": T, "stride": 2, "offset": 0}),
    (data.Batches, {"token_ids": IDS, "context_length": T, "batch_size": 2, "stride": 2, "seed": 0}),
    (data.scoring_batches, {"token_ids": IDS, "context_length": T, "batch_size": 2, "stride": 2}),
    (gpt.Schedule, {"peak": 0.1, "n_steps": 3, "warmup_steps": 1, "min_lr_ratio": 0.1}),
    (gpt.Schedule(0.1, 3).__call__, {"step": 1}),
    (TrainConfig, RUN),
    (gpt.make_optimizer, {"model": MODEL, "config": ONE}),
    (gpt.evaluate, {"model": MODEL, "batches": BATCHES, "precision": "float32"}),
    (gpt.Trainer, {"model": MODEL, "batches": BATCHES, "config": ONE}),
    (gpt.quick_fit, {"model": MODEL, "token_ids": IDS, "n_steps": 1, "batch_size": 1, "learning_rate": 0.1}),
    (gpt.SamplingParams, OPTIONS),
    (gpt.next_probs, {"logits": LOGITS[0, 0], "seen": SEEN} | OPTIONS),
    (gpt.keep_top_k, {"logits": LOGITS, "k": 2}),
    (gpt.keep_top_p, {"logits": LOGITS, "p": 0.5}),
    (gpt.keep_min_p, {"logits": LOGITS, "share": 0.5}),
    (partial(gpt.penalise_repetition, seen=SEEN), {"logits": LOGITS[0, 0], "penalty": 1.1}),
    (gpt.generate, {"model": MODEL, "prompts": [[1, 2]], "n_new": 1, "end_id": 3, "generator": None} | OPTIONS),
    (gpt.stream, {"model": MODEL, "prompts": IDS[None, :2], "n_new": 1, "end_id": 3, "generator": None}),
    (gpt.stream_text, {"model": GPT2, "tokenizer": gpt.gpt2(), "prompt": "It", "n_new": 1}),
    (storage.as_path, {"path": "x"}),
    (enter, {"path": Path("x")}),
    (storage.open_ids, {"path": Path("ids.npy")}),
    (storage.read_json, {"path": Path("model/config.json")}),
    (storage.sha256, {"path": Path("ids.npy")}),
    (storage.write_ids, {"path": Path("new"), "documents": [[1]], "vocab_size": V, "end_of_text": 0}),
    (checkpoint.RunState, vars(STATE)),
    (checkpoint.save, {"folder": Path("new"), "state": STATE, "keep": 2}),
    (checkpoint.load, {"path": SAVED}),
    (checkpoint.find, {"folder": SAVED.parent}),
    (checkpoint.verify, {"path": SAVED}),
    (checkpoint.restore_rng, {"rng": checkpoint.capture_rng("cpu")}),
    (checkpoint.restore, {"model": MODEL, "optimizer": None, "state": STATE}),
    (checkpoint.load_model, {"folder": Path("model")}),
    (checkpoint.save_model, {"folder": Path("new"), "model_state": STATE.model, "config": {}, "extra": {}}),
    (partial(checkpoint.save_model, "new", STATE.model, {}), {"dtype": torch.bfloat16}),
    (weights.load, {"folder": Path("gpt2"), "drop_rate": 0.0}),
    (weights.save, {"model": MODEL, "folder": Path("new"), "model_type": "gpt2", "dtype": torch.float32}),
    (partial(weights.check_vocabulary, n_tokens=V), {"model": MODEL}),
    (weights.resize_vocabulary, {"model": MODEL, "vocab_size": 13, "initialisation": "mean"}),
    (weights.check_sums, {"folder": Path("gpt2")}),
    (weights.find, {"name": "smollm2-135m", "cache": Path("new")}),
    (budget.all_reduce_bytes, {"n_params": 3, "world_size": 2}),
    (budget.bytes_per_rank, {"n_params": 3, "world_size": 2, "gathered_params": 1}),
    (budget.cache_bytes, {"config": CONFIG, "n_tokens": 2, "element_bytes": 4}),
    (budget.cost, {"n_tokens": 2.0, "tokens_per_s": 1.0, "price_per_hour": 1.0, "watts": 3.0}),
    (partial(budget.fits, budget.memory(CONFIG, 2)), {"available_bytes": 2**30}),
    (budget.matmul_flops_per_token, {"config": CONFIG, "context_length": T}),
    (budget.memory, {"config": CONFIG, "batch_size": 2, "context_length": T, "precision": "float32", "device": "cpu"}),
    (partial(budget.memory, CONFIG, 2), {"optimizer": "adamw", "kept_logits_for_evaluation": 0}),
    (budget.parameter_count, {"config": CONFIG}),
    (budget.ranks_needed, {"n_params": 3, "available_bytes": 2**30, "gathered_params": 1}),
    (budget.readable_bytes, {"n": 3}),
    (budget.readable_count, {"n": 3}),
    (budget.readable_time, {"seconds": 3}),
    (budget.replicated_limit, {"available_bytes": 3}),
    (partial(budget.scaling, 3, 1), {"tokens_per_s": 1, "world_size": 2, "interconnect": "PCIe 4.0 x16"}),
    (budget.training_seconds, {"n_tokens": 3, "tokens_per_s": 1}),
    (budget.updates_within, {"hours": 3, "tokens_per_s": 1, "tokens_per_update": 1}),
    (metrics.accuracy, SCORED),
    (metrics.block_bootstrap, {"values": torch.ones(4), "block": 2, "n_resamples": 2}),
    (metrics.calibration, {"probs": torch.eye(3), "targets": torch.arange(3), "n_bins": 2}),
    (metrics.distinct_n, {"texts": [[1, 2]], "n": 1}),
    (metrics.longest_overlap, {"token_ids": [1, 2], "source": [2]}),
    (metrics.mean_log_likelihood, {"model": MODEL, "token_ids": IDS[:T], "n_prompt": 1}),
    (metrics.repetition, {"token_ids": [1, 2], "window": 2}),
    (metrics.Protocol, vars(PROTOCOL)),
    (metrics.compare, {"a": RESULT, "b": RESULT}),
    (labs.rows_of, {"documents": [[1, 2]], "context_length": 2, "how": "pad", "end_id": 0, "pad_id": 1}),
    (labs.questions.Scores((1.0, 2.0), (1, 1), (1, 1)).choice, {"per": "token"}),
    (labs.scores.words, {"text": "a b"}),
    (quantise.rounded, {"weights": torch.zeros(32), "n_bits": 4}),
    (quantise.quantised_copy, {"model": MODEL, "bits": {"attention": 4}}),
    (quantise.size_bytes, {"model": MODEL, "bits": {"attention": 4}}),
    (quantise.surprisals, {"model": MODEL, "token_ids": IDS, "context": T}),
    (quantise.read, {"path": str(quantise.RECORD)}),
    (training_grid.read, {"path": training_grid.RECORD}),
    (scaling.Law, {"form": "sum", "E": 1.0, "A": 1.0, "a": 1.0, "B": 1.0, "b": 1.0}),
    (partial(scaling.best_plan, scaling.PUBLISHED["Hoffmann et al. 2022"]), {"flops": 1e20}),
    (scaling.rule_of_thumb, {"flops": 1e20, "tokens_per_param": 20.0}),
    (texts.toy_language, {"name": "english"}),
    (pretrain.read_log, {"path": Path("log.jsonl")}),
    (partial(classroom.reveal, measured=4), {"guess": 3}),
    (partial(classroom.reveal, measured=4.5, unit="nats"), {"guess": 3.5}),
]
LEFT_OUT = {
    "the checks themselves": "require_kind require_known require_number require_one_of require_whole store_plain",
    "no argument": "gpt2 current_versions documents peak_resident_bytes authors",
    "what holds numbers, looks at none": "Batch Evaluation Update Found SavedModel Fit Result Documents Runs "
    "Setting Authors Record ToyLanguage Difference",
    "another name of Memory": "memory",
    "errors": "CheckpointError Damaged Foreign Future StorageError NonFiniteError",
    "parts of GPT": "CausalSelfAttention TransformerBlock evaluating rotate halves_to_adjacent summed_loss",
    "a device, which torch refuses, or a network": "capture_rng fetch",
    "takes what another function gave": "Plan plan read_tokenizer markdown_table markdown_text kind_of "
    "bits_per_weight relative_error bootstrap fit interval rms_error differences excess_by_position best_rate "
    "config_of ablate for_reading read_lines write_aside story",
    "makes records, and takes minutes": "main make measure record train train_once model initialised excess "
    "word_excess validation verify",
}


def name_of(function: Callable) -> str:
    return name_of(function.func) if isinstance(function, partial) else function.__name__


@pytest.mark.parametrize(("function", "arguments"), CASES, ids=[name_of(function) for function, _ in CASES])
def test_a_wrong_type_is_refused_in_words(function, arguments, made, tmp_path, monkeypatch):
    found = []
    for name, value in [(None, None), *((name, value) for name in arguments for value in WRONG)]:
        folder = tmp_path / f"{name}-{type(value).__name__}"
        shutil.copytree(made, folder) if any(isinstance(x, Path) for x in arguments.values()) else folder.mkdir()
        monkeypatch.chdir(folder)
        try:
            result = function(**arguments | ({name: value} if name else {}))
            if isinstance(result, Iterator):  # what comes one at a time is looked at when it is asked for
                list(islice(result, 2))
        except Exception as error:
            refused = isinstance(error, ValueError | FileNotFoundError) and SAYS.search(str(error))
            if name is None or not refused:
                found.append(f"{name}={value!r}: {type(error).__name__}: {error}")
    assert found == []


def test_every_public_name_is_tried_or_left_out_for_a_reason():
    known = {name_of(function) for function, _ in CASES}.union(*(names.split() for names in LEFT_OUT.values()))
    functions = set()
    for door in DOORS:
        own = [name for name, what in vars(door).items() if getattr(what, "__module__", None) == door.__name__]
        names = getattr(door, "__all__", [name for name in own if not name.startswith("_")])
        functions |= {name for name in names if callable(getattr(door, name))}
    assert functions - known == set()
