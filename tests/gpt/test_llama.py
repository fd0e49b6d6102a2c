"""The parts of a Llama in the course's GPT: each by hand, and the whole beside transformers' LlamaForCausalLM."""

import math
from dataclasses import replace

import pytest
import torch
import transformers
from torch import Tensor

from helpers.gpt import GPT, GPTConfig, generate, halves_to_adjacent, next_token_loss, rotate
from tests.support import refused

LLAMA = {"norm": "rmsnorm", "positions": "rotary", "feed_forward": "swiglu", "qkv_bias": False, "linear_bias": False}
TINY = GPTConfig(101, 53, emb_dim=36, n_heads=6, n_kv_heads=2, n_layers=2, ff_dim=41, drop_rate=0.0, **LLAMA)
CLOSE = {"atol": 1e-4, "rtol": 0}


def ids_of(config: GPTConfig, *shape: int) -> Tensor:
    return torch.randint(config.vocab_size, shape, generator=torch.Generator().manual_seed(1))


def stacked(theirs: transformers.LlamaForCausalLM, config: GPTConfig, of=lambda parameter: parameter.detach()) -> dict:
    """`of` each of their parameters, under our names and in our order of rows."""
    order = halves_to_adjacent if config.rotary_pairs == "adjacent" else lambda rows, n_heads: rows
    body = theirs.model
    found = {"token_embedding": of(body.embed_tokens.weight), "final_norm": of(body.norm.weight)}
    found["head"] = of(theirs.lm_head.weight)
    for i, layer in enumerate(body.layers):
        q, k, v, out = (of(getattr(layer.self_attn, f"{name}_proj").weight) for name in "qkvo")
        parts = {
            "norm1": of(layer.input_layernorm.weight),
            "attention.qkv": torch.cat([order(q, config.n_heads), order(k, config.kv_heads), v]),
            "attention.out_proj": out,
            "norm2": of(layer.post_attention_layernorm.weight),
            "feed_forward.expand": of(layer.mlp.up_proj.weight),
            "feed_forward.gate": of(layer.mlp.gate_proj.weight),
            "feed_forward.out_proj": of(layer.mlp.down_proj.weight),
        }
        found |= {f"blocks.{i}.{name}": value for name, value in parts.items()}
    return {f"{name}.weight": value for name, value in found.items()}


def equal_pair(config: GPTConfig) -> tuple[GPT, transformers.LlamaForCausalLM]:
    """Our model and transformers' with the same random weights, gains of the norms among them."""
    torch.manual_seed(7)
    shape = transformers.LlamaConfig(
        vocab_size=config.vocab_size, hidden_size=config.emb_dim, intermediate_size=config.hidden_ff_dim,
        num_hidden_layers=config.n_layers, num_attention_heads=config.n_heads, num_key_value_heads=config.kv_heads,
        max_position_embeddings=config.context_length, tie_word_embeddings=config.tied_head, initializer_range=0.2,
        rope_parameters={"rope_type": "default", "rope_theta": config.rotary_base}, rms_norm_eps=config.norm_eps,
        bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    theirs = transformers.LlamaForCausalLM(shape).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.3)
    with torch.device("meta"):  # takes no time for weights that are replaced
        ours = GPT(config).eval()
    ours.load_state_dict(stacked(theirs, config), assign=True)
    if config.tied_head:
        ours.head.weight = ours.token_embedding.weight
    return ours, theirs


def compare_logits_loss_and_gradients(ours: GPT, theirs: transformers.LlamaForCausalLM, token_ids: Tensor) -> None:
    logits, their_output = ours(token_ids), theirs(token_ids, labels=token_ids)
    assert their_output.logits.std() > 0.5, "scores that are all alike would prove little"
    torch.testing.assert_close(logits, their_output.logits, **CLOSE)
    loss = next_token_loss(logits[:, :-1], token_ids[:, 1:])
    torch.testing.assert_close(loss, their_output.loss, **CLOSE)
    loss.backward()
    their_output.loss.backward()
    gradients = stacked(theirs, ours.config, of=lambda parameter: parameter.grad)
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], **CLOSE)


@pytest.mark.parametrize("rotary_pairs", ["adjacent", "halves"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"n_kv_heads": 1, "tied_head": False, "norm_eps": 0.1},
        {"n_heads": 9, "n_kv_heads": 3, "rotary_base": 100.0},
        {"n_kv_heads": None, "n_heads": 3},
    ],
)
def test_logits_loss_gradients_and_greedy_text_equal_llama(changes, rotary_pairs):
    config = replace(TINY, rotary_pairs=rotary_pairs, **changes)
    ours, theirs = equal_pair(config)
    compare_logits_loss_and_gradients(ours, theirs, ids_of(config, 3, 47))
    prompts = ids_of(config, 3, 17)
    wanted = theirs.generate(prompts, max_new_tokens=30, do_sample=False, attention_mask=torch.ones_like(prompts))
    assert wanted[:, 17:].unique().numel() > 5, "one token again and again would prove little"
    for use_cache in (True, False):
        assert torch.equal(generate(ours, prompts, 30, temperature=0, use_cache=use_cache), wanted)


def test_smollm2_135m_has_the_published_number_of_parameters():
    shape = {"emb_dim": 576, "n_heads": 9, "n_kv_heads": 3, "n_layers": 30, "ff_dim": 1536}
    with torch.device("meta"):
        assert GPT(GPTConfig(49152, 8192, **shape, **LLAMA)).n_params == 134_515_008


@pytest.mark.parametrize(
    ("pairs", "turned"), [("adjacent", [-2.0, 1.0, -3.0, -4.0]), ("halves", [-3.0, -2.0, 1.0, -4.0])]
)
def test_a_rotation_by_hand(pairs, turned):
    """Angles of 90 and 180 degrees: (a, b) becomes (-b, a), and (-a, -b)."""
    angles = torch.tensor([[[math.pi / 2, math.pi]]])
    got = rotate(torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 1, 1, 4), (angles.cos(), angles.sin()), pairs)
    torch.testing.assert_close(got.flatten(), torch.tensor(turned).float())


@torch.no_grad()
def test_rotary_reads_on_beyond_the_length_that_it_was_made_for():
    short = GPT(TINY).eval()
    long = GPT(replace(TINY, context_length=100)).eval()
    long.load_state_dict(short.state_dict())  # no table of positions that would have to grow
    token_ids = ids_of(TINY, 2, 100)
    torch.testing.assert_close(long(token_ids)[:, :53], short(token_ids[:, :53]))
    refused("context of 53", short, token_ids)


@torch.no_grad()
def test_cache_segments_and_residual_stream_know_the_rotation():
    model = equal_pair(TINY)[0]
    token_ids = ids_of(TINY, 2, 23)
    whole = model.hidden(token_ids)
    cache = model.new_cache(2, 23)
    assert cache.keys.shape == (2, 2, 2, 23, 6)  # layers, B, heads of keys and values, tokens, D
    read = torch.cat([model.hidden(piece, cache) for piece in token_ids.split([7, 1, 1, 14], dim=1)], 1)
    torch.testing.assert_close(read, whole)
    torch.testing.assert_close(model.final_norm(model.residual_stream(token_ids)[-1]), whole)
    segments = (torch.arange(23) // 9).expand(2, 23)  # a document alone, wherever it stands: only distances count
    alone = model.hidden(token_ids[:, 9:18])
    torch.testing.assert_close(model.hidden(token_ids, segments=segments)[:, 9:18], alone)
