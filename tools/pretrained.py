"""Make the course's own pretrained model again: texts from Debian packages, the pretraining command, weights and card.

    python -m tools.pretrained --work DIR

DIR/corpus gets the texts, DIR/pretrained the run. What was made already is used again, so that the command can be
stopped and repeated. Weights, their card, the recorded log and the corpus' table go into helpers/assets/pretrained.
Bit for bit the same weights need the same processor, thread count and torch; elsewhere losses agree to a few digits.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

import torch

from helpers import runtime
from helpers.gpt import GPT, LossReport, bits_per_byte, data, generate, perplexity, tokenizer, train
from helpers.labs import pretrain, pretrained, speed
from helpers.storage import checkpoint, open_ids
from tools import corpus

PLAN = pretrained.FOLDER / "plan.json"
TEMPLATE = Path(__file__).with_name("pretrained_card.md")
UPDATES_PER_LOGGED = 10
STORED_DTYPE = torch.bfloat16
PROMPTS = ("It was", "She had never", "The captain", '"My dear')
SAMPLE = {"temperature": 0.8, "top_k": 40}
SAMPLE_TOKENS = 60


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for texts and run, outside the repository")
    options = parser.parse_args(arguments)
    texts, run = options.work / "corpus", options.work / "pretrained"
    options.work.mkdir(parents=True, exist_ok=True)
    status = 0 if (texts / "corpus.json").exists() else corpus.make(texts)
    status = status or pretrain.main(command(texts, run))
    return status or publish(texts, run)


def command(texts: Path, run: Path) -> list[str]:
    """What `python -m helpers.labs.pretrain` is given."""
    files = {split: sorted(map(str, (texts / split).glob("*.txt"))) for split in corpus.SPLITS}
    return ["--text", *files["train"], "--validation", *files["validation"], "--config", str(PLAN), "--out", str(run)]


def publish(texts: Path, run: Path) -> int:
    """Store the best weights in STORED_DTYPE, judge what was stored, and write the card."""
    best = checkpoint.load_model(run / "best")
    pretrained.CARD.unlink(missing_ok=True)
    checkpoint.save_model(pretrained.WEIGHTS, best.model, best.config, best.extra, dtype=STORED_DTYPE)
    shutil.copyfile(texts / "corpus.json", pretrained.FOLDER / "corpus.json")
    lines = pretrain.read_lines(run / "log.jsonl")
    kept = (line for line in lines if line["kind"] == "evaluation" or line["step"] % UPDATES_PER_LOGGED == 0)
    pretrained.LOG.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
    pretrained.CARD.write_text(card(texts, run), encoding="utf-8")
    print(f"{pretrained.CARD} and the weights beside it are written")
    return 0


def card(texts: Path, run: Path) -> str:
    """The card of the stored model; every number in it is measured here or stands in the run's log."""
    model, saved = pretrained.load(), checkpoint.load_model(pretrained.WEIGHTS)
    lab = runtime.start(seed=0)  # the samples'
    log = list(pretrain.read_lines(run / "log.jsonl"))
    evaluations = [line for line in log if line["kind"] == "evaluation"]
    sizes = json.loads((texts / "corpus.json").read_text(encoding="utf-8"))
    training, held_out = (sizes["totals"][split] for split in corpus.SPLITS)
    config = model.config
    T = config.context_length
    ids = torch.from_numpy(open_ids(run / "ids" / "validation.npy").astype("int64"))
    return TEMPLATE.read_text(encoding="utf-8").format(
        model=model,
        saved=saved,
        config=config,
        T=T,
        half=T // 2,
        training=training,
        held_out=held_out,
        n_bytes=(pretrained.WEIGHTS / "model.safetensors").stat().st_size,
        dtype=str(STORED_DTYPE).removeprefix("torch."),
        n_books=len(sizes["books"]),
        books="\n".join(_book_row(model, texts, book) for book in sizes["books"]),
        protocols="\n".join(_protocol_row(model, ids, stride, held_out["bytes"]) for stride in (T, T // 2)),
        n_evaluations=len(evaluations),
        curve="\n".join(_curve_row(line, training["gpt2_tokens"]) for line in evaluations),
        ending=_ending(evaluations),
        precision=json.loads(PLAN.read_text(encoding="utf-8"))["train"]["precision"],
        per_logged=UPDATES_PER_LOGGED,
        minutes=log[-1]["seconds"] / 60,
        machine=f"{lab.device.type} ({speed.machine.facts(lab.device.type)['chip']}, {lab.threads} threads)",
        samples="\n\n".join(f"> {_sample(model, prompt)}" for prompt in PROMPTS),
        **SAMPLE,
    )


def _judge(model: GPT, ids: torch.Tensor, T: int, stride: int) -> LossReport:
    return train.evaluate(model, data.scoring_batches(ids, T, 16, stride))


def _protocol_row(model: GPT, ids: torch.Tensor, stride: int, n_bytes: int) -> str:
    report = _judge(model, ids, model.config.context_length, stride)
    bits = bits_per_byte(report.loss_nats, report.n_tokens, n_bytes)
    numbers = f"{report.n_tokens:,} | {report.loss_nats:.4f} | {report.perplexity:.2f} | {bits:.4f}"
    return f"| {model.config.context_length} | {stride} | {numbers} |"


def _curve_row(line: dict, tokens_per_epoch: int) -> str:
    loss = line["loss_nats"]
    epochs = line["n_tokens"] / tokens_per_epoch
    return f"| {line['step']:,} | {line['n_tokens']:,} | {epochs:.1f} | {loss:.4f} | {perplexity(loss):.2f} |"


def _book_row(model: GPT, texts: Path, book: dict) -> str:
    encoding = tokenizer.gpt2()
    chapters = (texts / "validation" / f"{book['name']}.txt").read_text(encoding="utf-8").split(corpus.SEPARATOR)
    ids = data.join([encoding.encode_ordinary(chapter.strip()) for chapter in chapters], encoding.eot_token)
    report = _judge(model, ids, model.config.context_length, model.config.context_length)
    return f"| {book['title']}, {book['author']} | {book['package']} | {report.n_tokens:,} | {report.perplexity:.1f} |"


def _ending(evaluations: list[dict]) -> str:
    if evaluations[-1]["loss_nats"] == min(line["loss_nats"] for line in evaluations):
        return "The last evaluation was the lowest."
    return "The validation loss had its lowest point before the plan ended."


def _sample(model: GPT, prompt: str) -> str:
    ids = torch.tensor([tokenizer.gpt2().encode(prompt)])
    written = tokenizer.gpt2().decode(generate(model, ids, SAMPLE_TOKENS, **SAMPLE)[0].tolist())
    return written.replace("\n", " ")


if __name__ == "__main__":
    sys.exit(main())
