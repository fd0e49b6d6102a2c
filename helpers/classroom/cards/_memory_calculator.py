"""Will it fit? The memory of an update, phase by phase, beside a card's memory, and what to change, in the page."""

from __future__ import annotations

from collections.abc import Mapping

from helpers.classroom.cards._card import Card, State
from helpers.classroom.cards._memory_forms import PHASES, forms
from helpers.classroom.cards._memory_view import SEGMENTS, plain, template
from helpers.gpt import CHUNK_TOKENS, PRESETS, GPTConfig, preset
from helpers.labs import budget
from helpers.labs.budget import (
    A100_BYTES,
    CHANGES,
    CUDA_CONTEXT,
    CUDA_FRAGMENTS,
    ELEMENT_BYTES,
    GIB,
    MOMENTS,
    T4_BYTES,
)

MODELS = ("course-small", "gpt2-124m", "opt-125m", "gpt2-355m", "gpt2-774m", "gpt2-1558m")
# What torch says is there, of "24 GB" on a card that corrects errors, and of "80 GB".
ROOMS = {"T4 16 GB": T4_BYTES, "L4 24 GB": 22 * GIB, "A100 40 GB": A100_BYTES, "H100 80 GB": int(79.1 * GIB)}
ROWS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
CONTEXTS = (32, 64, 128, 256, 384, 512, 768, 1024, 1536, 2048)
KEPT_TOKENS = (0, *(digit * 10**power for power in (3, 4, 5, 6) for digit in (1, 2, 5)), 10**7)
LARGEST_BATCH, LARGEST_KEPT = 4096, 10**8
PRECISIONS, OPTIMIZERS = tuple(ELEMENT_BYTES), tuple(MOMENTS)
MAX_MODELS, MAX_ROOMS, MAX_NAME = 8, 6, 24
SWITCHES = {"fused": "fused attention", "gradient_checkpointing": "activation checkpointing", "chunked": "chunked loss"}


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
    """What an update of `model` holds in each phase on a graphics card, whether it fits, and if not, what to change.

    model            where the card starts: a name among `models`
    batch_size       rows in a micro-batch, in [1, 4096]
    context_length   T, tokens in a row, in [1, the model's own]
    precision, optimizer, fused_attention, gradient_checkpointing, chunked_loss, kept_logits_for_evaluation
                     as for `budget.memory`; the last one in [0, 1e8]
    room             where the card starts: a name among `rooms`
    rooms            name -> bytes that a graphics card has for the run, at most 6; None: those of 16, 24, 40 and 80 GB
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
    on = {"fused": fused_attention, "gradient_checkpointing": gradient_checkpointing, "chunked": chunked_loss}
    for name, value in on.items():
        if not isinstance(value, bool):
            raise ValueError(f"{SWITCHES[name]} must be True or False, got {value!r}")
    stops = _stops(models, batch_size, context_length, kept_logits_for_evaluation)
    values = {name: int(value) for name, value in on.items()} | {
        "model": list(models).index(model),
        "room": list(rooms).index(room),
        "precision": PRECISIONS.index(precision),
        "optimizer": OPTIMIZERS.index(optimizer),
        "rows": stops["rows"].index(batch_size),
        "tokens": stops["tokens"].index(context_length),
        "kept": stops["kept"].index(kept_logits_for_evaluation),
    }
    return _card(models, rooms, stops, values)


def _stops(models: dict[str, GPTConfig], rows: int, tokens: int, kept: int) -> dict[str, list[int]]:
    longest = {config.context_length for config in models.values()}
    return {
        "rows": sorted({*ROWS, rows}),
        "tokens": [T for T in sorted({*CONTEXTS, *longest, tokens}) if max(longest) >= T],
        "kept": sorted({*KEPT_TOKENS, kept}),
    }


def _card(models: dict[str, GPTConfig], rooms: dict[str, int], stops: dict, values: dict[str, int]) -> Card:
    names = {"models": list(models), "rooms": list(rooms), "changes": [what for what, _, _ in CHANGES]}
    config = {**names, **stops, "bytes": list(rooms.values()), **_constants(), **forms(models)}
    of_name = dict(models)  # what the page knows only as coefficients
    state = memory_state(values, config, of_name)
    return Card(
        kind="memory",
        title="Will it fit? Memory of an update on a graphics card",
        template=template(values, config, PRECISIONS, OPTIMIZERS, SWITCHES),
        values=values,
        config=config,
        compute=lambda values, config: memory_state(values, config, of_name),
        text=f"memory calculator: {state['summary']}",
        plain=plain(state),
    )


def _constants() -> dict[str, object]:
    return {
        "chunk": CHUNK_TOKENS,
        "per_weight": [MOMENTS[name] for name in OPTIMIZERS],
        "slack": [CUDA_CONTEXT, CUDA_FRAGMENTS],
    }


def predicted(values: dict[str, float], config: dict, models: Mapping[str, GPTConfig]) -> budget.Memory:
    """The prediction at the positions of the controls; a switch is on at an odd number."""
    model = models[config["models"][int(values["model"])]]
    return budget.memory(
        model,
        config["rows"][int(values["rows"])],
        min(config["tokens"][int(values["tokens"])], model.context_length),
        precision=PRECISIONS[int(values["precision"])],
        optimizer=OPTIMIZERS[int(values["optimizer"])],
        fused_attention=values["fused"] % 2 == 1,
        gradient_checkpointing=values["gradient_checkpointing"] % 2 == 1,
        chunked_loss=values["chunked"] % 2 == 1,
        kept_logits_for_evaluation=config["kept"][int(values["kept"])],
        device="cuda",
    )


def memory_state(values: dict[str, float], config: dict, models: Mapping[str, GPTConfig]) -> State:
    """Every text and attribute of the card, from `helpers.labs.budget`; memory.js finds the same from coefficients."""
    now, room = predicted(values, config, models), config["bytes"][int(values["room"])]
    run, name, card = now.run, config["models"][int(values["model"])], config["rooms"][int(values["room"])]
    ok, size, there = now.peak_bytes <= room, budget.readable_bytes(now.peak_bytes), budget.readable_bytes(room)
    rows = f"{run.batch_size:,} row{'s' * (run.batch_size > 1)}"
    kept = f"{now.kept_tokens:,} tokens" if now.kept_tokens else "none kept"
    shortened = run.context_length < config["tokens"][int(values["tokens"])]
    tokens = f"{run.context_length:,} tokens{', its longest' if shortened else ''}"
    said = "fits" if ok else "does not fit"
    state: State = {
        "summary": f"{name}, {rows} of {run.context_length:,} tokens: {said}, {size} of {there} ({card}). "
        f"Peak: {now.phase}.",
        "frame@class": "mc-card mc-ok" if ok else "mc-card mc-bad",
        "sign": "✓" if ok else "✗",
        "verdict": "It fits" if ok else "It does not fit",
        "peak": size,
        "peak@data-bytes": f"{now.peak_bytes}",
        "of": f"of {there} on {card}",
        "fused@aria-pressed": "true" if run.fused_attention else "false",
        "gradient_checkpointing@aria-pressed": "true" if run.gradient_checkpointing else "false",
        "chunked@aria-pressed": "true" if run.chunked_loss else "false",
    }
    for key, text in (("rows", rows), ("tokens", tokens), ("kept", kept)):
        state |= {f"{key}_text": text, f"{key}_in@aria-valuetext": text}
    return state | _bars(now, room, card) | _changes(now, room, config)


def _bars(now: budget.Memory, room: int, card: str) -> State:
    scale, slack, by_phase = max(room, now.peak_bytes), now.slack_bytes, now.parts_by_phase()
    at = 100 * room / scale
    state: State = {
        "limit@style": f"left:{at:.2f}%",
        "beyond@style": f"left:{at:.2f}%",
        "limit_text": f"{card}: {budget.readable_bytes(room)}",
        "limit_text@style": f"right:{100 - at:.2f}%" if at > 50 else f"left:{at:.2f}%",
        "at_peak": f"at the peak: {now.phase}",
    }
    for i, phase in enumerate(PHASES):
        parts = [*by_phase[phase].values(), slack] if phase in by_phase else [0] * len(SEGMENTS)
        state[f"size{i}"] = budget.readable_bytes(sum(parts)) if phase in by_phase else "–"
        state[f"phase{i}@class"] = "mc-phase mc-peak" if phase == now.phase else "mc-phase"
        for j, n_bytes in enumerate(parts):
            state[f"s{i}{j}@style"] = f"width:{100 * n_bytes / scale:.2f}%"
            if phase == now.phase:
                state[f"part{j}"] = budget.readable_bytes(n_bytes)
    return state


def _changes(now: budget.Memory, room: int, config: dict) -> State:
    fit = budget.fits(now, room)
    state: State = {"enough": _enough(fit.fits, fit.together, room - now.peak_bytes)}
    for k, (_, _, change) in enumerate(CHANGES):
        changed = change(now, room)
        helps = changed.peak_bytes < now.peak_bytes
        rows = changed.run.batch_size
        fewer = f", {rows} row{'s' * (rows > 1)}" if rows < now.run.batch_size else ""
        state |= {
            f"change{k}@class": None if helps else "mc-none",
            f"alone{k}": budget.readable_bytes(changed.peak_bytes) if helps else "–",
            f"alone{k}@data-bytes": f"{changed.peak_bytes}" if helps else None,
            f"then{k}": ("✓ fits" if changed.peak_bytes <= room else "✗ not enough") + fewer if helps else "no effect",
        }
    return state


def _enough(ok: bool, together: tuple[str, ...], free: int) -> str:
    if ok:
        return f"✓ Nothing has to change: {budget.readable_bytes(free)} stay free."
    if together:
        return f"✗ Change, the cheapest first: {', then '.join(together)}. That is enough."
    return "✗ Not even all of them together are enough: shorter rows, a smaller model, or a larger card."


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
        if isinstance(n_bytes, bool) or not isinstance(n_bytes, int) or not 1 <= n_bytes < 2**50:
            raise ValueError(f"rooms[{name!r}] must be a whole number of bytes in [1, 2**50), got {n_bytes!r}")
    _one_of("model", model, models)
    _one_of("room", room, rooms)


def _whole(name: str, value: object, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"{name} must be a whole number in [{least}, {most}], got {value!r}")


def _one_of(name: str, value: object, known: object) -> None:
    if value not in tuple(known):
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
