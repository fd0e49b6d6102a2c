"""The field's words: code, docstrings, messages and scripts have none of those that no student could look up."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OURS = {  # ours -> the field's
    "way back|on the way back|way forward": "backward pass, forward pass",
    "graphics cards?": "GPU",
    "favou?rite (token|word)s?|likeliest": "top-1 token, most probable",
    "surprises?": "surprisal",
    "newborns?": "randomly initialised",
    "undecided": "uncertain",
    "by heart|recites?|memori[sz]ation meter": "memorised, regurgitate",
    "bends?|bent": "nonlinearity",
    "shadows?": "projection",
    "comparing and mixing": "attention scores and weighted sum",
    "ladders?|rungs?": "baselines, ablation step",
    "mean of means": "macro-average",
    "sub-?examples?": "prefix-target pairs",
    "pretence of independence": "i.i.d. assumption",
    "steady": "constant",
    "patients?|suspects?": "model under study, mutants",
    "free draws": "unfiltered sampling",
    "waiting for memory": "memory-bandwidth-bound",
    "planted faults?": "injected bug",
    "lottery ticket": "noisy estimate",
    "useful share": "non-padding fraction",
    "share of the peak": "model FLOPs utilisation",
    "slack": "overhead",
    "cables?": "interconnect",
    "shard on|in shards": "sharded",
    "floor share": "min_lr_ratio",
    "lengths? of (a|the|its) gradients?": "gradient norm",
    "matrix products?": "matmuls",
    "taste of training": "quick_fit",
}
IDS = {"p2-useful-share", "p3-suspect", "def suspect("}  # of exercises, which returned notebooks have
OTHER_MEANINGS = {"(part, bytes, share of the peak)", "for shard in shards", "Python, matrix products, and"}
WORD = re.compile(rf"(?<![a-z])({'|'.join(OURS)})(?![a-z])", re.IGNORECASE)


def test_the_words_are_the_fields():
    files = [ROOT / "README.md", *(p for room in ("helpers", "tools") for p in sorted((ROOT / room).rglob("[!.]*.*")))]
    found = []
    for path in files:
        if path.suffix in (".py", ".js", ".md"):
            text = path.read_text(encoding="utf-8")
            for allowed in IDS | OTHER_MEANINGS:
                text = text.replace(allowed, "")
            found += [(path.relative_to(ROOT).as_posix(), m[0]) for m in WORD.finditer(re.sub(r"[\s_]+", " ", text))]
    assert len(files) > 200 and found == []
