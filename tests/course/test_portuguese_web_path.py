"""Notebook 08 with its setting on the web: the same cells, a tiny OPT folder, a corpus that comes as a stream.

Hub and corpora cannot be reached here; what stands in for them has their files and their rows' names.
"""

import json
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
import torch
import transformers
from tokenizers import ByteLevelBPETokenizer

from helpers.labs import texts
from helpers.storage import checkpoint, open_ids, weights

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "08_portuguese.ipynb"
V = 701
SMALLER = {  # the cells of the notebook, where they are large: each must be there, exactly once
    "T=512, rows=16, micro=4, hours=4, rate=1e-4, texts=200, judged=40, taught=200": (
        "T=16, rows=4, micro=2, hours=0.0000805, rate=2e-3, texts=2, judged=2, taught=3"
    ),
    "held_out=50_000, drawn=250_000": "held_out=17, drawn=60",
    "V, END, TOKENIZER = 50_272, 2,": f"V, END, TOKENIZER = {V}, 2,",
    "n_steps=45,": "n_steps=6,",
    "range(400)": "range(2)",
}
SHOWN = ("p1-pieces", "p1-tokens-run", "p1-vocabulary")  # what later cells need offline only
ROWS = {
    ("wikimedia/wikipedia", "20231101.pt"): ("id", "url", "title", "text"),
    ("allenai/c4", "pt"): ("text", "timestamp", "url"),
}


class Stream:
    """What `datasets` returns with streaming=True, as far as the notebook uses it."""

    def __init__(self, rows: list[dict]) -> None:
        self._rows = rows

    def __iter__(self) -> Iterator[dict]:
        return iter(self._rows)

    def shuffle(self, seed: int | None = None, buffer_size: int = 1000) -> "Stream":
        buffer = self._rows[:buffer_size]
        random.Random(seed).shuffle(buffer)
        return Stream(buffer + self._rows[buffer_size:])


def load_dataset(path: str, name: str, *, split: str, streaming: bool) -> Stream:
    assert streaming and split == "train", "250,000 texts are drawn, not downloaded whole"
    names = ROWS[path, name]  # KeyError: a corpus or a language that the hub does not have under that name
    documents = [f"{d.text}\n\nFim – nº {i}, 漢 ." for i, d in enumerate(texts.documents())]
    return Stream([dict.fromkeys(names, "") | {"text": text} for text in documents])


@pytest.fixture(scope="module")
def opt_folder(tmp_path_factory) -> Path:
    """Tiny, and otherwise as facebook/opt-125m lies on the hub: float16 in a .bin, a tokenizer in its old files."""
    folder = tmp_path_factory.mktemp("opt")
    tokenizer = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    tokenizer.train_from_iterator([texts.story("portuguese")], V - 7, show_progress=False, special_tokens=special)
    tokenizer.save_model(str(folder))
    names = {"bos_token": "</s>", "eos_token": "</s>", "unk_token": "</s>", "pad_token": "<pad>"}
    (folder / "special_tokens_map.json").write_text(json.dumps(names))
    settings = {"tokenizer_class": "GPT2Tokenizer", "add_bos_token": True, "add_prefix_space": False, **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    torch.manual_seed(0)
    shape = dict(hidden_size=24, word_embed_proj_dim=24, num_hidden_layers=2, num_attention_heads=4, ffn_dim=96)
    model = transformers.OPTForCausalLM(transformers.OPTConfig(vocab_size=V, max_position_embeddings=128, **shape))
    model.config.save_pretrained(folder)
    torch.save({name: tensor.half() for name, tensor in model.state_dict().items()}, folder / "pytorch_model.bin")
    return folder


@pytest.fixture
def run(opt_folder, monkeypatch) -> Callable[..., dict]:
    """run(corpus, drive, last, without): the notebook's cells up to the one named, and the names they left."""

    def fetch(name: str) -> Path:
        assert name == "opt-125m"
        return opt_folder

    module = ModuleType("datasets")
    module.load_dataset = load_dataset
    monkeypatch.setitem(sys.modules, "datasets", module)
    monkeypatch.setattr(weights, "fetch", fetch)
    monkeypatch.setenv("COURSE_QUIET", "1")
    monkeypatch.chdir(NOTEBOOK.parent)
    cells = [c for c in nbformat.read(NOTEBOOK, as_version=4).cells if c.cell_type == "code"]
    cells = [c for c in cells if not c.id.startswith(("ex", "p2-hub"))]

    def run_cells(corpus: str, drive: Path, last: str, without: Sequence[str] = ()) -> dict:
        changes = SMALLER | {
            'corpus = "course"': f"corpus = {corpus!r}",
            'Path("/content/drive/MyDrive")': f"Path({str(drive)!r})",
        }
        assert all(sum(cell.source.count(old) for cell in cells) == 1 for old in changes), "the notebook has changed"
        names: dict = {}
        for cell in cells:
            if cell.id in without:
                continue
            source = cell.source
            for old, new in changes.items():
                source = source.replace(old, new)
            try:
                exec(compile(source, cell.id, "exec"), names)
            except ValueError:
                if "raises-exception" not in cell.metadata.get("tags", []):
                    raise
            if cell.id == last:
                return names
        raise ValueError(f"no cell {last!r}")

    return run_cells


def weights_of(names: dict) -> list[torch.Tensor]:
    return [p.detach() for p in names["final"].parameters()]


def test_killed_resumed_and_run_again(run, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    save, saved = checkpoint.save, []

    def save_or_die(folder: Path, state: checkpoint.RunState, **how) -> Path:
        saved.append((folder.name, state.step))
        if saved[-1] == ("from-random", 5):
            raise Killed
        return save(folder, state, **how)

    monkeypatch.setattr(checkpoint, "save", save_or_die)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with pytest.raises(Killed):
        run("c4-pt", tmp_path / "a", "p1-train", SHOWN)
    monkeypatch.setattr(checkpoint, "save", save)
    resumed, again = (run("c4-pt", tmp_path / "a", "p1-train", SHOWN) for _ in range(2))
    at_once = run("c4-pt", tmp_path / "b", "p1-train", SHOWN)
    for names in (resumed, again):
        assert names["records"] == at_once["records"], "each record once, and no update in vain"
        assert all(map(torch.equal, weights_of(names), weights_of(at_once)))
    steps = [r.step for r in again["measured"]["from random"]]
    assert steps == list(range(17))
    drive = tmp_path / "a" / "opt-125m-c4-pt"
    kept = {name: sorted(p.name for p in (drive / name).iterdir()) for name in ("from-english", "from-random")}
    assert kept["from-english"] == ["step-00000014", "step-00000015", "step-00000016"]
    assert kept["from-random"] == ["step-00000016"], "later sections need one run's checkpoints"


def test_every_cell_works_and_the_report_is_written(run, tmp_path):
    names = run("wikipedia-pt", tmp_path, "p5-verify", ("p3-context", "p1-tokens-run"))
    assert len(names["validation"]) == 17 and len(names["training"]) == 43
    text = "«Não há pão , disse o avô .» 漢\n\n  – I 'm here"
    ids = names["encode"](text)
    assert names["write_out"](ids) == text and names["write_out"]([2, *ids, 2]) == text
    assert list(open_ids(names["files"]["validation"])).count(2) == 17
    report = (tmp_path / "opt-125m-wikipedia-pt" / "week").rglob("*.md")
    assert "wikipedia-pt" in next(report).read_text(encoding="utf-8")
