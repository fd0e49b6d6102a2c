"""Will it fit? The memory of an update, phase by phase, beside a GPU's memory, and what to change, in the page."""

from __future__ import annotations

from collections.abc import Mapping

from helpers.classroom.cards._card import Card
from helpers.gpt import PRESETS, GPTConfig, preset
from helpers.labs import budget

MODELS = ("course-small", "gpt2-124m", "opt-125m", "gpt2-355m", "gpt2-774m", "gpt2-1558m")
GIB = 2**30
# What torch says is there, of "24 GB" on a GPU that corrects errors, and of "80 GB".
ROOMS = {
    "T4 16 GB": int(14.75 * GIB),
    "L4 24 GB": 22 * GIB,
    "A100 40 GB": int(39.56 * GIB),
    "H100 80 GB": int(79.1 * GIB),
}
PRECISIONS, OPTIMIZERS = ("float32", "bfloat16", "float16"), ("adamw", "sgd")
LARGEST_BATCH, LARGEST_KEPT = 4096, 10**8
MAX_MODELS, MAX_ROOMS, MAX_NAME = 8, 6, 24


def memory_calculator(
    model: str = "opt-125m",
    batch_size: int = 4,
    context_length: int = 512,
    *,
    precision: str = "float32",
    optimizer: str = "adamw",
    fused_attention: bool = True,
    gradient_checkpointing: bool = False,
    chunked_loss: bool = True,
    kept_logits_for_evaluation: int = 0,
    room: str = "T4 16 GB",
    rooms: Mapping[str, int] | None = None,
    models: Mapping[str, GPTConfig] | None = None,
) -> Card:
    """What an update of `model` holds in each phase on a GPU, whether it fits, and if not, what to change.

    model            where the card starts: a name among `models`
    batch_size       sequences in a micro-batch, in [1, 4096]
    context_length   T, tokens in a sequence, in [1, the model's own]
    precision, optimizer, fused_attention, gradient_checkpointing, chunked_loss, kept_logits_for_evaluation
                     as for `budget.memory`; the last one in [0, 1e8]
    room             where the card starts: a name among `rooms`
    rooms            name -> bytes that a GPU has for the run, at most 6; None: those of 16, 24, 40 and 80 GB
    models           name -> config, at most 8; None: presets of the course, without dropout

    return  Card. Its numbers are those of `budget.memory(..., device="cuda")` and `budget.fits`, to the byte

    ValueError: a name that is not among those, a number outside its range, or a switch that is not True or False.
    """
    models = {name: preset(name, drop_rate=0.0) for name in MODELS} if models is None else dict(models)
    rooms = dict(ROOMS if rooms is None else rooms)
    _check(models, rooms, model, room)
    _whole("batch_size", batch_size, 1, LARGEST_BATCH)
    _whole("context_length", context_length, 1, models[model].context_length)
    _whole("kept_logits_for_evaluation", kept_logits_for_evaluation, 0, LARGEST_KEPT)
    _one_of("precision", precision, PRECISIONS)
    _one_of("optimizer", optimizer, OPTIMIZERS)
    switches = {
        "fused_attention": fused_attention,
        "gradient_checkpointing": gradient_checkpointing,
        "chunked_loss": chunked_loss,
    }
    for name, value in switches.items():
        if not isinstance(value, bool):
            raise ValueError(f"{name} must be True or False, got {value!r}")
    start = {"model": model, "room": room, "precision": precision, "optimizer": optimizer}
    start |= {"batch": batch_size, "tokens": context_length, "kept": kept_logits_for_evaluation}
    return _card(start, switches, models, rooms)


def _card(start: dict, switches: dict[str, bool], models: dict[str, GPTConfig], rooms: dict[str, int]) -> Card:
    predicted = budget.memory(
        models[start["model"]],
        start["batch"],
        start["tokens"],
        precision=start["precision"],
        optimizer=start["optimizer"],
        **switches,
        kept_logits_for_evaluation=start["kept"],
        device="cuda",
    )
    slack = predicted.peak_bytes - max(predicted.phases.values())  # the libraries', the same throughout
    held_in = {phase: budget.readable_bytes(held + slack) for phase, held in predicted.phases.items()}
    sizes = {name: _sizes(config) for name, config in models.items()}
    return Card(
        kind="memory",
        title="Will it fit? Memory of an update on a GPU",
        sentence=_sentence(predicted, start, rooms[start["room"]]),
        values=start | switches,
        config={"start": start, "models": sizes, "rooms": rooms, "precisions": PRECISIONS, "optimizers": OPTIMIZERS},
        table=[("phase", "memory"), *held_in.items()],
    )


def _sizes(config: GPTConfig) -> dict[str, int | bool]:
    """What the script needs to know of a model, in its formulas' letters."""
    parameters = budget.parameter_count(config)
    return {
        "V": config.vocab_size,
        "C": config.emb_dim,
        "F": config.hidden_ff_dim,
        "H": config.n_heads,
        "L": config.n_layers,
        "longest": config.context_length,
        "relu": config.activation == "relu",
        "dropout": config.drop_rate > 0,
        "parameters": parameters["total"],
        "of_a_block": (parameters["attention"] + parameters["feed_forward"]) // config.n_layers,
    }


def _sentence(predicted: budget.Memory, start: dict, n_bytes: int) -> str:
    peak, there = budget.readable_bytes(predicted.peak_bytes), budget.readable_bytes(n_bytes)
    said = "fits" if predicted.peak_bytes <= n_bytes else "does not fit"
    sequences = f"{start['batch']:,} sequence{'s' * (start['batch'] > 1)} of {start['tokens']:,} tokens"
    return f"{start['model']}, {sequences}: {said}, {peak} of {there} ({start['room']}). Peak: {predicted.phase}."


def _check(models: dict, rooms: dict, model: str, room: str) -> None:
    for what, names, most in (("models", models, MAX_MODELS), ("rooms", rooms, MAX_ROOMS)):
        if not 1 <= len(names) <= most or not all(isinstance(n, str) and 0 < len(n) <= MAX_NAME for n in names):
            raise ValueError(
                f"{what} must have 1 to {most} names of 1 to {MAX_NAME} characters, got {', '.join(map(str, names))}"
            )
    for name, config in models.items():
        if not isinstance(config, GPTConfig):
            raise ValueError(
                f"models[{name!r}] must be a GPTConfig, such as one of {', '.join(PRESETS)}, got {config!r}"
            )
    for name, n_bytes in rooms.items():
        _whole(f"rooms[{name!r}]", n_bytes, 1, 2**50)
    _one_of("model", model, models)
    _one_of("room", room, rooms)


def _whole(name: str, value: object, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"{name} must be a whole number in [{least}, {most}], got {value!r}")


def _one_of(name: str, value: object, known: object) -> None:
    if value not in tuple(known):
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
