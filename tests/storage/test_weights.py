"""Published weights against transformers: scores, loss, gradients, tokens; every tensor accounted for; and back."""

import json
import math
import os
import random
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from helpers.gpt import GPT, GPTConfig, TransformerBlock, generate, next_token_loss, preset
from helpers.storage import weights
from tests.support import Payload, lively, refusals, refused

V, T, C, H, L = 53, 23, 28, 7, 3
IDS = torch.arange(2 * T).view(2, T) * 7 % V


def gpt2(**changes) -> transformers.GPT2LMHeadModel:
    fields = dict(vocab_size=V, n_positions=T, n_embd=C, n_head=H, n_layer=L, bos_token_id=None, eos_token_id=None)
    torch.manual_seed(0)
    return lively(transformers.GPT2LMHeadModel(transformers.GPT2Config(**fields | changes)))


def opt(**changes) -> transformers.OPTForCausalLM:
    fields = dict(
        vocab_size=V, max_position_embeddings=T, hidden_size=C, word_embed_proj_dim=C, num_attention_heads=H,
        num_hidden_layers=L, ffn_dim=4 * C, bos_token_id=2, eos_token_id=2,
        pad_token_id=None,  # theirs never trains the padding's row
    )  # fmt: skip
    torch.manual_seed(0)
    return lively(transformers.OPTForCausalLM(transformers.OPTConfig(**fields | changes)))


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        (gpt2, {}),
        (gpt2, {"tie_word_embeddings": False}),
        (gpt2, {"n_inner": 41, "activation_function": "gelu", "layer_norm_epsilon": 0.1}),
        (opt, {}),
        (opt, {"tie_word_embeddings": False}),
        (opt, {"enable_bias": False, "activation_function": "gelu"}),
    ],
)
def test_parity_and_there_and_back(family, changes, tmp_path):
    """Scores, tokens, loss and gradients are theirs; ours saved in their format gives the same tensors again."""
    theirs = family(**changes)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = weights.load(tmp_path / "theirs")
    assert ours.n_params == sum(p.numel() for p in theirs.parameters()) and not ours.training
    with torch.no_grad():
        torch.testing.assert_close(ours(IDS), theirs(IDS).logits, atol=1e-4, rtol=0)
    prompt = IDS[:1, :5]
    options = dict(attention_mask=torch.ones_like(prompt), max_new_tokens=15, do_sample=False, eos_token_id=None)
    expected = theirs.generate(prompt, pad_token_id=1, **options)
    assert generate(ours, prompt, 15, temperature=0).tolist() == expected.tolist()
    loss, their_loss = next_token_loss(ours(IDS[:, :-1]), IDS[:, 1:]), theirs(IDS, labels=IDS).loss
    torch.testing.assert_close(loss, their_loss, atol=1e-5, rtol=0)
    loss.backward(), their_loss.backward()
    embedding = theirs.get_input_embeddings().weight
    torch.testing.assert_close(ours.token_embedding.weight.grad, embedding.grad, atol=1e-5, rtol=1e-4)
    norms = [torch.nn.utils.clip_grad_norm_(model.parameters(), math.inf).item() for model in (ours, theirs)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)

    weights.save(ours, tmp_path / "ours", theirs.config.model_type)
    back = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours").eval()
    assert type(back) is type(theirs)
    with torch.no_grad():
        torch.testing.assert_close(back(IDS).logits, theirs(IDS).logits, atol=1e-6, rtol=0)
    again = weights.load(tmp_path / "ours")
    assert again.config == ours.config
    for (name, a), b in zip(again.named_parameters(), ours.parameters(), strict=True):
        assert torch.equal(a, b), name


def test_a_model_of_the_course_goes_out_also_without_biases(tmp_path):
    config = GPTConfig(V, T, C, H, L, qkv_bias=False, linear_bias=False, tied_head=False, activation="relu")
    torch.manual_seed(0)
    ours = lively(GPT(config))
    weights.save(ours, tmp_path / "m", dtype=torch.float64)
    back = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "m").eval()
    with torch.no_grad():
        torch.testing.assert_close(back(IDS).logits.float(), ours(IDS), atol=1e-5, rtol=0)
    assert json.loads((tmp_path / "m" / "config.json").read_text())["torch_dtype"] == "float64"


@pytest.mark.parametrize("name", ["gpt2-124m", "gpt2-355m", "gpt2-774m", "gpt2-1558m", "opt-125m"])
def test_published_shapes_with_one_layer(name, tmp_path):
    """Width, heads, vocabulary and context as published; one layer of the many, which are alike."""
    config = preset(name)
    if name == "opt-125m":
        theirs = transformers.OPTForCausalLM(transformers.OPTConfig(num_hidden_layers=1))
    else:
        shape = transformers.GPT2Config(n_embd=config.emb_dim, n_head=config.n_heads, n_layer=1)
        theirs = transformers.GPT2LMHeadModel(shape)
    theirs.eval().save_pretrained(tmp_path)
    ours = weights.load(tmp_path)
    assert ours.config == preset(name, n_layers=1, drop_rate=0.0)
    ids = torch.arange(40)[None] * 1201 % config.vocab_size
    with torch.no_grad():
        torch.testing.assert_close(ours(ids), theirs(ids).logits, atol=1e-4, rtol=0)


@pytest.mark.parametrize("how", ["no prefix", "with buffers", "with the tied head", "in shards", "float16", "old .bin"])
def test_the_ways_in_which_it_was_published(how, tmp_path):
    theirs = opt() if how in ("float16", "old .bin") else gpt2()
    if how == "float16":
        theirs = theirs.half()
    theirs.save_pretrained(tmp_path, max_shard_size="10KB" if how == "in shards" else "5GB")
    path = tmp_path / "model.safetensors"
    assert path.exists() == (how != "in shards")
    state = load_file(path) if path.exists() else {}
    if how == "no prefix":
        save_file({name.removeprefix("transformer."): value for name, value in state.items()}, path)
    elif how == "with buffers":
        mask = {"transformer.h.0.attn.bias": torch.ones(1, 1, T, T)}
        save_file(state | mask | {"transformer.h.2.attn.masked_bias": torch.tensor(-1e4)}, path)
    elif how == "with the tied head":
        save_file(state | {"lm_head.weight": state["transformer.wte.weight"].clone()}, path)
        (tmp_path / "model.safetensors.index.json").write_text("no index")  # a whole file goes before shards
    elif how == "old .bin":
        path.unlink()
        state = {name.removeprefix("model."): value for name, value in state.items()}
        torch.save(state, tmp_path / "pytorch_model.bin")
    ours = weights.load(tmp_path, drop_rate=0.2)
    assert ours.config.drop_rate == 0.2 and ours.token_embedding.weight.dtype == torch.float32
    with torch.no_grad():
        torch.testing.assert_close(ours(IDS), theirs.float()(IDS).logits, atol=1e-4, rtol=0)


def published(folder: Path, change) -> Path:
    gpt2().save_pretrained(folder)
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file({k: v.contiguous() for k, v in state.items()}, folder / "model.safetensors")
    return folder


def test_names_are_compared_before_the_model_is_built(tmp_path, monkeypatch):
    """Thousands of blocks take many seconds to build."""
    gpt2().save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors") | {f"h.{i}": torch.zeros(0) for i in range(10_000)}
    save_file(state, tmp_path / "model.safetensors")
    fields = json.loads((tmp_path / "config.json").read_text())
    built, make = [], TransformerBlock.__init__
    monkeypatch.setattr(TransformerBlock, "__init__", lambda self, config: (built.append(self), make(self, config))[1])
    for n, says in (500, r"missing: transformer.h.3.ln_1.weight"), (10_000, "says 10000 blocks, the file has 100"):
        text = "\ufeff" + json.dumps(fields | {"n_layer": n})  # Windows' mark at its start
        (tmp_path / "config.json").write_text(text, encoding="utf-8")
        refused(says, weights.load, tmp_path)
    assert len(built) == 1


def test_every_discrepancy_is_named_at_once(tmp_path):
    def change(state):
        del state["transformer.h.1.attn.c_attn.weight"]
        state["transformer.h.7.ln_1.weight"] = torch.ones(C)
        state["transformer.wpe.weight"] = torch.ones(T + 2, C)

    with pytest.raises(ValueError) as caught:
        weights.load(published(tmp_path, change))
    said = str(caught.value)
    assert "missing: transformer.h.1.attn.c_attn.weight" in said and "extra: transformer.h.7.ln_1.weight" in said
    assert f"transformer.wpe.weight is ({T + 2}, {C}), expected ({T}, {C})" in said


QKV = "h.0.attn.c_attn"


@pytest.mark.parametrize(
    ("name", "changed", "says"),
    [
        (QKV, lambda w: w.T, rf"c_attn.weight is \({3 * C}, {C}\), expected \({C}, {3 * C}\)"),
        (QKV, lambda w: w.to(torch.int64), "not of floating point: transformer.h.0.attn.c_attn.*I64"),
        (QKV, lambda w: w * math.nan, "c_attn.weight holds NaN or infinity"),
        (QKV, lambda w: w.double() * 1e300, "too large for torch.float32"),
        ("wte", lambda w: w + 1, "ties the head to the embedding, but lm_head.weight differs"),
    ],
)
def test_a_matrix_that_is_no_weight(tmp_path, name, changed, says):
    """Transposed, of integers, with what no model computes with, or of another model."""

    def change(state):
        state["lm_head.weight"] = state["transformer.wte.weight"].clone()
        state[f"transformer.{name}.weight"] = changed(state[f"transformer.{name}.weight"])

    refused(says, weights.load, published(tmp_path, change))


@pytest.mark.parametrize(
    ("family", "changes", "says"),
    [
        (gpt2, {"model_type": "mamba"}, "gpt2, opt, llama, got 'mamba'"),
        (gpt2, {"activation_function": "silu"}, "silu"),
        (gpt2, {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
        (gpt2, {"vocab_size": V + 1}, rf"wte.weight is \({V}, {C}\), expected \({V + 1}, {C}\)"),
        (gpt2, {"n_head": 5}, "multiple of n_heads"),
        (gpt2, {"n_embd": None}, "must give n_embd as a whole number, got None"),
        (gpt2, {"n_layer": True}, "must give n_layer as a whole number, got True"),
        (gpt2, {"n_layer": 10**6}, "says 1000000 blocks, the file has"),
        (gpt2, {"n_embd": 7 * 2**60}, r"must give n_embd in \[1, 16,777,216\]"),
        (gpt2, {"model_type": "llama", "hidden_size": C, "num_attention_heads": 0}, "must give "),
        (gpt2, {"tie_word_embeddings": "yes"}, "true or false, got 'yes'"),
        (opt, {"do_layer_norm_before": False}, "do_layer_norm_before"),
        (opt, {"word_embed_proj_dim": 14}, "OPT-350M"),
    ],
)
def test_refuses_configs(family, changes, says, tmp_path):
    family().save_pretrained(tmp_path)
    fields = json.loads((tmp_path / "config.json").read_text()) | changes
    (tmp_path / "config.json").write_text(json.dumps(fields))
    refused(says, weights.load, tmp_path)


def test_a_name_that_stands_twice_is_refused(tmp_path):
    gpt2().save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    first, *others = state
    parts = {"a": {first: state[first]}, "b": {name: state[name] for name in [first, *others]}}
    for name, part in parts.items():
        save_file(part, tmp_path / f"{name}.safetensors")
    (tmp_path / "model.safetensors").unlink()
    index = {"weight_map": dict.fromkeys(state, "b.safetensors") | {first: "a.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(f"{first} stands in b.safetensors and in another shard", weights.load, tmp_path)
    fields = (tmp_path / "config.json").read_text().rstrip().removesuffix("}")
    (tmp_path / "config.json").write_text(f'{fields}, "n_head": 1}}')
    refused("a key stands twice", weights.load, tmp_path)


def test_damaged_files_say_so_and_run_nothing(tmp_path):
    refused(r"no config.json", weights.load, tmp_path, error=FileNotFoundError)
    torch.save({"model": {}, "optimizer": {}}, theirs := tmp_path / "ckpt.pt")
    for path in (theirs, tmp_path):
        refused("ckpt.pt is a checkpoint of a training run, as nanoGPT writes it: take", weights.load, path)
    theirs.unlink()
    gpt2().save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    whole, state = path.read_bytes(), load_file(path)
    for content in [whole[:cut] for cut in (0, 5, 100, len(whole) - 1)] + [(9 << 20).to_bytes(8, "little") + whole]:
        path.write_bytes(content)
        refused("fetch it again", weights.load, tmp_path)
    path.unlink()
    refused(r"no model\.safetensors", weights.load, tmp_path, error=FileNotFoundError)
    path = tmp_path / "pytorch_model.bin"
    torch.save(state, path)
    whole, draw = path.read_bytes(), random.Random(5)
    contents = [whole[: draw.randrange(len(whole))] for _ in range(20)]
    contents += [whole.replace(b"data.pkl", b"date.pkl"), whole.replace(b"FloatStorage", b"FloatStorags")]
    wide = torch.zeros(1).expand(V, 10**9)  # four bytes
    contents += [
        Payload(canary := tmp_path / "made-by-a-pickle"),
        [1, 2],
        {"a": 1},
        {"model": state, "step": 3},
        bytearray(10),
        {"w": wide},
        {**state, 5: torch.ones(1)},
    ]
    for content in [*contents, {"w": torch.eye(2).to_sparse()}]:
        path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
        refused(r"pytorch_model\.bin", weights.load, tmp_path)
    thirty_bytes = b"\x80\x02cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R."  # asks for 2 GiB, and no code is run
    path.write_bytes(thirty_bytes)
    refused("not a zip", weights.load, tmp_path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", thirty_bytes)
    refused("bytearray", weights.load, tmp_path)
    for depth, says in ((10, "a tuple"), (10**6, "more than 20,000 tuples")):  # a key: hashed, it ends the process
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a/data.pkl", b"\x80\x02})" + b"\x85" * depth + b"K\x01s.")
            archive.writestr("a/version", "3\n")
            archive.writestr("a/byteorder", "little")
        refused(says, weights.load, tmp_path)
    assert not canary.exists()
    outside = tmp_path.parent / "x.safetensors"  # there, and sound, and yet none of this folder's
    outside.write_bytes(whole)
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../x.safetensors"}}')
    refused(r"should name files beside it, got '\.\./x", weights.load, tmp_path)
    os.mkfifo(tmp_path / "x.safetensors")  # nobody waits for it
    (tmp_path / "y.safetensors").symlink_to(tmp_path / "y.safetensors")
    for name in "xyz":
        (tmp_path / "model.safetensors.index.json").write_text(f'{{"weight_map": {{"a": "{name}.safetensors"}}}}')
        refused("safetensors', which is no file in", weights.load, tmp_path, error=FileNotFoundError)
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {}}')
    os.mkfifo(tmp_path / "model.safetensors")  # nobody waits for it
    refused("the file has 0 tensors", weights.load, tmp_path)
    (tmp_path / "config.json").write_text("[]")
    refused("JSON", weights.load, tmp_path)


def test_saving_refuses_and_leaves_nothing(tmp_path, monkeypatch):
    model, out = GPT(GPTConfig(V, T, C, H, L)), tmp_path / "a"
    refused("gpt2, opt", weights.save, model, out, "llama")
    refused("position_offset of 2", weights.save, model, out, "opt")
    refused("save it as 'opt'", weights.save, GPT(GPTConfig(V, T, C, H, L, position_offset=2)), out)
    refused(r"dtype must be one of .*got torch.int8", weights.save, model, out, dtype=torch.int8)
    model.token_embedding.weight.data[1, 2] = 1e6
    says = r"NaN or infinity in transformer.wte.weight \(torch.float16\): nothing"
    refused(says, weights.save, model, out, dtype=torch.float16)
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", lambda descriptor: 1 / 0)
        refused("", weights.save, model, out, error=ZeroDivisionError)
    assert not list(tmp_path.iterdir())
    out.mkdir()
    (out / ".DS_Store").touch()
    assert weights.load(weights.save(model, out))
    refused("not empty", weights.save, model, out, error=FileExistsError)


MEASURE = """
import re, sys, time, torch
from helpers.storage import weights
torch.set_num_threads(1)
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1e3
weights.load(sys.argv[1])
for folder in sys.argv[2:]:
    before, began = peak(), time.process_time()
    try:
        said = str(4 * weights.load(folder).n_params)
    except ValueError as error:
        said = str(error)
    print(round(time.process_time() - began, 2), round(peak() - before), said[-150:].replace("\\n", " "), sep="\\t")
"""
on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads peak memory as Linux has it")


def measured(small: Path, *folders: Path) -> list[tuple[float, float, str]]:
    """In a process that has loaded `small`: seconds, MB more, and the model's bytes or the refusal, of each folder."""
    command = [sys.executable, "-c", MEASURE, small, *folders]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told = [line.split("\t") for line in done.stdout.splitlines()]
    return [(float(seconds), float(mb), said) for seconds, mb, said in told]


@on_linux
@pytest.mark.parametrize("as_bin", [False, True])
def test_memory_holds_the_model_and_one_tensor(tmp_path, as_bin):
    gpt2().save_pretrained(tmp_path / "small")
    theirs = gpt2(vocab_size=20000, n_embd=512, n_head=8, n_layer=8)
    theirs.save_pretrained(tmp_path / "large")
    if as_bin:
        path = tmp_path / "large" / "model.safetensors"
        torch.save(load_file(path), tmp_path / "large" / "pytorch_model.bin")
        path.unlink()
    ((_, grown, model_bytes),) = measured(tmp_path / "small", tmp_path / "large")
    # the file's pages, which the system keeps mapped and may drop, count as memory of the process: a model more
    assert grown * 1e6 <= 2.2 * int(model_bytes), f"{grown} MB"


@on_linux
def test_what_is_refused_takes_no_time_and_no_memory(tmp_path):
    """90 MB of brackets where a table should be; a zip that names one entry 5,000 times, or 50,000."""
    gpt2().save_pretrained(small := tmp_path / "small")
    names = ("config.json", "model.safetensors.index.json", "tensors.json")
    for name in (*names, "pytorch_model.bin"):
        shutil.copytree(small, folder := tmp_path / name)
        if name != "config.json":
            (folder / "model.safetensors").unlink()
        if name in names:
            (folder / "model.gguf").write_bytes(b"GGUF")
            (folder / name).write_bytes(b"[" + b"[]," * (30 << 20) + b"[]]")
        else:
            _zip_of_one_entry(folder / name, 5000, torch.zeros(1 << 18))
    many = Path(shutil.copytree(folder, tmp_path / "many"))
    _zip_of_one_entry(many / "pytorch_model.bin", 50_000, torch.zeros(1))
    hostile = [tmp_path / name for name in (*names, "pytorch_model.bin", "many")]
    for seconds, mb, said in (told := measured(small, *hostile)):
        assert seconds < 2 and mb < 300 and "bytes" in said, told


def _zip_of_one_entry(path: Path, n_entries: int, tensor: torch.Tensor) -> None:
    """What `torch.save` writes, its largest entry listed again and again."""
    torch.save({"w": tensor}, whole := path.with_name("whole.zip"))
    with zipfile.ZipFile(whole) as archive:
        contents = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    whole.unlink()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
        archive.filelist += [largest] * n_entries


@pytest.mark.parametrize("tied", [False, True])
def test_vocabulary_grows_and_shrinks(tied):
    torch.manual_seed(0)
    model = lively(GPT(GPTConfig(V, T, C, H, L, tied_head=tied, drop_rate=0.3)))
    for n in (V + 11, V, V - 5):
        model.gradient_checkpointing = n == V
        new = weights.resize_vocabulary(model, n)
        assert new.gradient_checkpointing == model.gradient_checkpointing
        assert new.config.vocab_size == n and not new.training and new.config.tied_head == tied
        assert (new.head.weight is new.token_embedding.weight) == tied
        kept = min(n, V)
        ids = IDS % kept
        with torch.no_grad():
            assert torch.equal(new(ids)[..., :kept], model(ids)[..., :kept]), "old scores are the old ones"
        if n > V:
            torch.testing.assert_close(new.head.weight[V:].mean(0), model.head.weight.mean(0))
            with torch.no_grad():
                more = (new(IDS).logsumexp(-1) - model(IDS).logsumexp(-1)).mean().item() / 11
            assert 0 < more < 0.05, "a mean row is an average word: it takes a fiftieth and less"
            next_token_loss(new(IDS + 1), IDS).backward()
            assert new.token_embedding.weight.grad[V].abs().sum() > 0, "and is trained"
    drawn = weights.resize_vocabulary(model, V + 400, initialisation="random").token_embedding.weight[V:]
    assert drawn.std().item() == pytest.approx(0.02, rel=0.05) and model.config.vocab_size == V
    for n_tokens in (V, V - 3):
        weights.check_vocabulary(model, n_tokens)


MODEL = GPT(GPTConfig(V, T, C, H, L))
test_vocabularies_that_do_not_fit_are_refused = refusals(
    (lambda: weights.resize_vocabulary(MODEL, V, initialisation="zeros"), "mean, random"),
    (lambda: weights.resize_vocabulary(MODEL, 0), "vocab_size"),
    (
        lambda: weights.check_vocabulary(MODEL, V + 1),
        rf"{V + 1} tokens .* up to {V}, but .* {V}: .*resize_vocabulary\(model, {V + 1}\)",
    ),
)
