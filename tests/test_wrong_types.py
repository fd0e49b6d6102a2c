"""Arguments of a wrong Python type, one at a time: what comes is a result, or an error that says what was expected."""

import inspect
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
from helpers.gpt import GPT, GPTConfig, TrainConfig, data
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
SEEN = torch.zeros(V, dtype=torch.bool)
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


NAMED = {  # what a parameter of this name is given, and has exchanged
    **asdict(CONFIG), **RUN, **OPTIONS, "model": MODEL, "config": CONFIG, "token_ids": IDS, "ids": IDS,
    "logits": LOGITS, "targets": TARGETS, "seen": SEEN, "batches": BATCHES, "batch_size": 2, "capacity": 2,
    "head_dim": 1, "hidden": torch.zeros(2, 3, 8), "head_weight": torch.zeros(V, 8), "chunk_tokens": 2,
    "loss_nats": 1.0, "n_tokens": 2, "n_bytes": 3, "documents": [[1], [2]], "validation_share": 0.5, "end_of_text": 0,
    "stride": 2, "offset": 0, "peak": 0.1, "k": 2, "p": 0.5, "share": 0.5, "penalty": 1.1, "n_new": 1, "end_id": 3,
    "generator": None, "prompt": "It",
    "path": SAVED, "folder": Path("new"), "cache": Path("new"), "state": STATE, "model_state": STATE.model, "extra": {},
    "keep": 2, "dtype": torch.float32, "model_type": "gpt2", "initialisation": "mean",
    "n_params": 3, "world_size": 2, "gathered_params": 1, "element_bytes": 4, "tokens_per_s": 1.0, "watts": 3.0,
    "price_per_hour": 1.0, "available_bytes": 2**30, "n": 3, "seconds": 3, "hours": 3, "tokens_per_update": 1,
    "kept_logits_for_evaluation": 0, "values": torch.ones(4), "block": 2, "n_resamples": 2, "probs": torch.eye(3),
    "n_bins": 2, "texts": [[1, 2]], "source": [2], "n_prompt": 1, "window": 2, "how": "pad", "pad_id": 1,
    "weights": torch.zeros(32), "n_bits": 4, "bits": {"attention": 4}, "context": T, "flops": 1e20,
    "tokens_per_param": 20.0,
}  # fmt: skip
OTHERWISE: dict[Callable, dict[str, Any]] = {  # and where that name means something else
    gpt.preset: {"name": "course-small", "n_layers": 1},
    gpt.token_labels: {"token_ids": [1, 2]},
    data.split_by_text: {"documents": ["a", "b"], "seed": 0},
    gpt.Batches: {"seed": 0},
    gpt.Trainer: {"config": ONE},
    gpt.make_optimizer: {"config": ONE},
    gpt.next_probs: {"logits": LOGITS[0, 0]} | OPTIONS,
    gpt.generate: {"prompts": [[1, 2]], "generator": None} | OPTIONS,
    gpt.stream: {"prompts": IDS[None, :2]},
    gpt.stream_text: {"model": GPT2, "tokenizer": gpt.gpt2()},
    storage.open_ids: {"path": Path("ids.npy")},
    storage.read_json: {"path": Path("model/config.json")},
    storage.sha256: {"path": Path("ids.npy")},
    storage.write_ids: {"path": Path("new")},
    checkpoint.RunState: vars(STATE),
    checkpoint.find: {"folder": SAVED.parent},
    checkpoint.restore_rng: {"rng": checkpoint.capture_rng("cpu")},
    checkpoint.restore: {"optimizer": None},
    checkpoint.load_model: {"folder": Path("model")},
    checkpoint.save_model: {"config": {}},
    weights.load: {"folder": Path("gpt2")},
    weights.check_sums: {"folder": Path("gpt2")},
    weights.find: {"name": "smollm2-135m"},
    budget.memory: {"device": "cpu", "optimizer": "adamw"},
    metrics.calibration: {"targets": torch.arange(3)},
    metrics.distinct_n: {"n": 1},
    metrics.longest_overlap: {"token_ids": [1, 2]},
    metrics.mean_log_likelihood: {"token_ids": IDS[:T]},
    metrics.repetition: {"token_ids": [1, 2]},
    metrics.Protocol: vars(PROTOCOL),
    metrics.compare: {"a": RESULT, "b": RESULT},
    labs.rows_of: {"end_id": 0},
    quantise.read: {"path": str(quantise.RECORD)},
    scaling.read: {"path": scaling.RECORD},
    scaling.Law: {"form": "sum", "E": 1.0, "A": 1.0, "a": 1.0, "B": 1.0, "b": 1.0},
    texts.toy_language: {"name": "english"},
    pretrain.read_log: {"path": Path("log.jsonl")},
}
PARTS: list[tuple[Callable, dict[str, Any]]] = [  # methods, what stands behind no door, and arguments that stay
    (MODEL.forward, {"token_ids": IDS[None, :T]}),
    (MODEL.residual_stream, {"token_ids": IDS[None, :T]}),
    (MODEL.new_cache, {"batch_size": 1, "capacity": 2}),
    (partial(gpt.penalise_repetition, seen=SEEN), {"logits": LOGITS[0, 0], "penalty": 1.1}),
    (gpt.Schedule(0.1, 3).__call__, {"step": 1}),
    (enter, {"path": Path("x")}),
    (checkpoint.verify, {"path": SAVED}),
    (training_grid.read, {"path": training_grid.RECORD}),
    (partial(weights.check_vocabulary, n_tokens=V), {"model": MODEL}),
    (partial(budget.fits, budget.memory(CONFIG, 2)), {"available_bytes": 2**30}),
    (partial(budget.scaling, 3, 1), {"tokens_per_s": 1, "world_size": 2, "interconnect": "PCIe 4.0 x16"}),
    (partial(scaling.best_plan, scaling.PUBLISHED["Hoffmann et al. 2022"]), {"flops": 1e20}),
    (labs.questions.Scores((1.0, 2.0), (1, 1), (1, 1)).choice, {"per": "token"}),
    (labs.scores.words, {"text": "a b"}),
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


def cases() -> Iterator[tuple[Callable, dict[str, Any]]]:
    """What is called, and its arguments, each of which is exchanged: all that the doors offer, but for LEFT_OUT."""
    passed_over = set(" ".join(LEFT_OUT.values()).split()) | {f.func.__name__ for f, _ in PARTS if type(f) is partial}
    for door in DOORS:
        own = [name for name, what in vars(door).items() if getattr(what, "__module__", None) == door.__name__]
        for name in getattr(door, "__all__", [name for name in own if not name.startswith("_")]):
            function = getattr(door, name)
            if callable(function) and name not in passed_over:
                given = {p: NAMED[p] for p in inspect.signature(function).parameters if p in NAMED}
                yield function, given | OTHERWISE.get(function, {})
    yield from PARTS


CASES = list(cases())


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
