"""Every published shape, all layers, random weights: the course's model against transformers', from the same files.

    python -m tools.parity [--models gpt2-124m ...]

transformers draws the weights and saves them; `storage.weights.load` reads them. Compared are the scores over the whole
context, loss, gradients and a greedy continuation. The largest model takes 7 GB of disk where TMPDIR says, and about
16 GB of memory, each model in a process of its own. Exit code 1 where something lies outside the tolerance. No network
is used.
"""

import argparse
import sys
import tempfile

import torch
from torch import Tensor, nn

from helpers import runtime
from helpers.gpt import GPTConfig, generate, next_token_loss, preset
from helpers.labs import speed
from helpers.storage import weights

MODELS = ("gpt2-124m", "gpt2-355m", "gpt2-774m", "gpt2-1558m", "opt-125m")
TOLERANCE = 1e-4  # of logits and loss; relative, of the gradient norm and of the token embedding's gradient
NUDGE = 0.02  # random biases and gains too: zeros and ones would hide a swap
N_PROMPT, N_NEW = 5, 20
LENGTH = 128  # tokens of the text for loss and gradients


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.parity", description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    options = parser.parse_args(arguments)
    rows = []
    for name in options.models:
        print(name, file=sys.stderr, flush=True)
        rows.append(speed.harness.run("tools.parity:compare", {"name": name}, runtime.DEFAULT_THREADS) | {"name": name})
    print(table(rows))
    return 0 if all(row.get("equal") for row in rows) else 1


def compare(name: str) -> dict:
    """How far the two models lie apart, and whether that is "equal"."""
    config = preset(name)
    runtime.start(0)
    ids = torch.randint(config.vocab_size, (1, config.context_length))
    with tempfile.TemporaryDirectory() as folder:
        theirs = reference(config)
        theirs.save_pretrained(folder)
        n_params = sum(p.numel() for p in theirs.parameters())
        expected = _of_theirs(theirs, ids)
        del theirs  # before ours comes: the largest two would not fit beside each other
        ours = weights.load(folder)
    found = _of_ours(ours, ids)
    gradients = found["embedding_gradient"], expected["embedding_gradient"]
    distances = {
        "logits": (found["logits"] - expected["logits"]).abs().max().item(),
        "loss": abs(found["loss"] - expected["loss"]),
        "gradient_norm": abs(found["gradient_norm"] / expected["gradient_norm"] - 1),
        "embedding_gradient": ((gradients[0] - gradients[1]).norm() / gradients[1].norm()).item(),
        "other_tokens": sum(a != b for a, b in zip(found["tokens"], expected["tokens"], strict=True)),
        "other_size": abs(ours.n_params - n_params),
    }
    return {"n_params": n_params, **distances, "equal": all(off <= TOLERANCE for off in distances.values())}


def table(rows: list[dict]) -> str:
    """A line for each model: parameters, how far scores, loss and gradients lie apart, and the verdict."""
    columns, lines = ("model", "parameters", "logits", "loss", "|gradient|", "embedding", "tokens", "verdict"), []
    for row in rows:
        cells = [row.get("reason", ""), *[""] * 5]
        if "equal" in row:
            off = [f"{row[key]:.1e}" for key in ("logits", "loss", "gradient_norm", "embedding_gradient")]
            cells = [f"{row['n_params']:,}", *off, "OTHERS" if row["other_tokens"] else "the same"]
        lines.append([row["name"], *cells, "equal" if row.get("equal") else "NOT EQUAL"])
    return speed.harness.text_table(columns, lines)


def reference(shape: GPTConfig) -> nn.Module:
    """transformers' model of this shape with random weights, in evaluation mode: GPT-2, or OPT where it has ReLU."""
    import transformers

    transformers.logging.set_verbosity_error()
    fields = dict(vocab_size=shape.vocab_size, bos_token_id=None, eos_token_id=None)
    if shape.activation == "relu":  # without a padding id, whose row theirs would never train
        fields |= dict(max_position_embeddings=shape.context_length, ffn_dim=shape.hidden_ff_dim, pad_token_id=None)
        fields |= dict(hidden_size=shape.emb_dim, word_embed_proj_dim=shape.emb_dim)
        fields |= dict(num_attention_heads=shape.n_heads, num_hidden_layers=shape.n_layers)
        model = transformers.OPTForCausalLM(transformers.OPTConfig(**fields))
    else:
        fields |= dict(n_positions=shape.context_length, n_embd=shape.emb_dim)
        fields |= dict(n_head=shape.n_heads, n_layer=shape.n_layers)
        model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**fields))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += NUDGE * torch.randn_like(parameter)
    return model.eval()


def _of_theirs(model: nn.Module, ids: Tensor) -> dict:
    text, prompt = ids[:, :LENGTH], ids[:, :N_PROMPT]
    greedy = dict(max_new_tokens=N_NEW, do_sample=False, eos_token_id=None, pad_token_id=1)
    with torch.no_grad():
        logits = model(ids).logits
    tokens = model.generate(prompt, attention_mask=torch.ones_like(prompt), **greedy)
    return _with_gradients(model, model.get_input_embeddings(), logits, tokens, model(text, labels=text).loss)


def _of_ours(model: nn.Module, ids: Tensor) -> dict:
    with torch.no_grad():
        logits = model(ids)
    tokens = generate(model, ids[:, :N_PROMPT], N_NEW, temperature=0)
    loss = next_token_loss(model(ids[:, : LENGTH - 1]), ids[:, 1:LENGTH])
    return _with_gradients(model, model.token_embedding, logits, tokens, loss)


def _with_gradients(model: nn.Module, embedding: nn.Embedding, logits: Tensor, tokens: Tensor, loss: Tensor) -> dict:
    loss.backward()
    squares = sum(p.grad.double().square().sum().item() for p in model.parameters() if p.grad is not None)
    gradients = {"gradient_norm": squares**0.5, "embedding_gradient": embedding.weight.grad}
    return {"logits": logits, "tokens": tokens[0].tolist(), "loss": loss.item()} | gradients


if __name__ == "__main__":
    raise SystemExit(main())
