"""Will it fit? The memory of an update, phase by phase, beside a GPU's memory, and what to change, in the page."""

from helpers.classroom.cards._card import Card
from helpers.gpt import CHUNK_TOKENS, PRECISIONS, GPTConfig, preset, require_one_of
from helpers.labs import budget
from helpers.language import t

MODELS = ("course-small", "gpt2-124m", "opt-125m", "gpt2-355m", "gpt2-774m", "gpt2-1558m")
GIB = 2**30
# What torch says is there, of "24 GB" on a GPU that corrects errors, and of "80 GB".
ROOMS = {
    "T4 16 GB": int(14.75 * GIB),
    "L4 24 GB": 22 * GIB,
    "A100 40 GB": int(39.56 * GIB),
    "H100 80 GB": int(79.1 * GIB),
}
ASSUMED = {
    "chunk_tokens": CHUNK_TOKENS,
    "moments": budget.MOMENTS,
    "cuda_context": budget.CUDA_CONTEXT,
    "cuda_fragments": budget.CUDA_FRAGMENTS,
}
LARGEST_BATCH = 4096


def memory_calculator(
    model: str = "opt-125m",
    batch_size: int = 4,
    context_length: int = 512,
    *,
    fused_attention: bool = True,
    chunked_loss: bool = True,
) -> Card:
    """What an update of `model` holds in each phase on a GPU, whether it fits, and if not, what to change.

    model            where the card starts: one of `MODELS`
    batch_size       sequences in a micro-batch, in [1, 4096]
    context_length   T, tokens in a sequence, in [1, the model's own]
    fused_attention, chunked_loss  as for `budget.memory`

    return  Card. Its numbers are those of `budget.memory(..., device="cuda")` and `budget.fits`, to the byte

    ValueError: another model, or a number outside its range.
    """
    require_one_of(MODELS, model=model)
    configs = {name: preset(name, drop_rate=0.0) for name in MODELS}
    longest = configs[model].context_length
    for name, value, most in (("batch_size", batch_size, LARGEST_BATCH), ("context_length", context_length, longest)):
        if not isinstance(value, int) or not 1 <= value <= most:
            raise ValueError(f"{name} must be a whole number in [1, {most}], got {value!r}")
    start = {"model": model, "room": "T4 16 GB", "precision": "float32", "optimizer": "adamw"}
    start |= {"batch": batch_size, "tokens": context_length, "kept": 0}
    switches = {"fused_attention": fused_attention, "gradient_checkpointing": False, "chunked_loss": chunked_loss}
    predicted = budget.memory(configs[model], batch_size, context_length, **switches, device="cuda")
    held_in = [(phase, budget.readable_bytes(n + predicted.overhead_bytes)) for phase, n in predicted.phases.items()]
    sizes = {name: _sizes(config) for name, config in configs.items()}
    return Card(
        kind="memory",
        title="Will it fit? Memory of an update on a GPU",
        sentence=_sentence(predicted, start, ROOMS[start["room"]]),
        values=start | switches,
        config={
            "start": start,
            "models": sizes,
            "rooms": ROOMS,
            "precisions": PRECISIONS,
            "optimizers": tuple(budget.MOMENTS),
            "assumed": ASSUMED,
            "changes": [(t(what), t(price)) for what, price, _ in budget.SAVINGS],
        },
        table=[("phase", "memory"), *held_in],
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
