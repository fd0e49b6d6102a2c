"""All that the course has to measure on one GPU, in eight minutes at most, part by part.

    python -m tools.gpu [--only PART ...]      on a GPU; records go to notebooks/data/*_cuda.json and build/gpu.json
    python -m tools.gpu --rehearse             the same on the CPU at small sizes, everything into build/rehearsal

Each part is a process with a time limit. One that failed is recorded with its reason and tried again by the next call;
one whose record of this machine is there is skipped. Only the rehearsal has been run, on a CPU; no GPU has seen it yet.
"""

import argparse
import copy
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from threading import Thread

import torch

from helpers import runtime
from helpers.gpt import GPT, GPTConfig, TrainConfig, Trainer, preset
from helpers.labs import budget, speed
from helpers.storage import checkpoint, weights
from tools.bench import __main__ as bench
from tools.parity import TOLERANCE, reference

ROOT, RECORDS = speed.harness.ROOT, speed.harness.ROOT / "notebooks" / "data"
TINY = {"vocab_size": 211, "context_length": 32, "emb_dim": 28, "n_heads": 7, "n_layers": 2}
ROUNDING = 2  # times as far from float32 as transformers' model in the same precision: more is no rounding


def parity(device: str, small: bool, records: Path) -> dict:
    """GPT-2 and OPT against transformers' models in each precision, beside what that precision does to the latter."""
    found = {}
    for name in ("gpt2-124m", "opt-125m"):
        config = sized(name, small)
        theirs, ids = reference(config).to(device), torch.randint(config.vocab_size, (1, config.context_length))
        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            theirs.save_pretrained(folder)
            ours, exact = weights.load(folder).to(device).eval(), theirs(ids.to(device)).logits
            for precision in ("float32", "float16", "bfloat16"):
                here, there = (copy.deepcopy(model).to(getattr(torch, precision)) for model in (ours, theirs))
                logits = {"ours": here(ids.to(device)), "theirs": there(ids.to(device)).logits}
                found[f"{name}, {precision}"] = {k: (v - exact).abs().max().item() for k, v in logits.items()}
    return {"ok": all(off["ours"] <= ROUNDING * max(off["theirs"], TOLERANCE) for off in found.values()), "off": found}


def resume(device: str, small: bool, records: Path) -> dict:
    """Three updates on the CPU, a checkpoint, then three on the device and on the CPU, whose losses agree."""
    config, settings = sized("course-small", small), TrainConfig(6, learning_rate=1e-2)
    batches = [one_batch(config, 4)]
    here = Trainer(GPT(config), batches, settings)
    list(here.run(3))
    state = here.state()
    with tempfile.TemporaryDirectory() as folder:
        whole = checkpoint.RunState(here.step, here.model.state_dict(), state["optimizer"])
        saved = checkpoint.load(checkpoint.save(Path(folder, "run"), whole), device)
    model = GPT(config).to(device)
    checkpoint.restore(model, None, saved)
    there = Trainer(model, batches, settings)
    there.load_state(state | {"optimizer": saved.optimizer})
    pairs = [(own.loss_nats, other.loss_nats) for own, other in zip(here, there, strict=True)]
    off = max(abs(other / own - 1) for own, other in pairs)
    return {"ok": off <= 1e-3, "off": off, "losses": pairs}


def t4(device: str, small: bool, records: Path) -> dict:
    """float16 with a scaler in a T4's memory: the largest batch that is predicted to fit; four times that must not."""
    config, sizes = sized("gpt2-124m", small), [1, 2, 4] if small else [2**n for n in range(8)]
    predicted = {B: budget.memory(config, B, precision="float16", device=device) for B in sizes}
    largest = max(B for B in sizes if predicted[B].peak_bytes <= budget.T4_BYTES)
    if device == "cuda":
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(budget.T4_BYTES / total, 1.0))
    settings, ran_out = TrainConfig(10, precision="float16"), None
    updates = list(Trainer(GPT(config).to(device), [one_batch(config, largest)], settings))
    peak, losses = speed.machine.peak_bytes(device), [update.loss_nats for update in updates]
    if device == "cuda":
        try:
            ran_out = not list(Trainer(GPT(config).to(device), [one_batch(config, 4 * largest)], settings))
        except torch.OutOfMemoryError:
            ran_out = True
    numbers = {"batch_size": largest, "predicted_bytes": predicted[largest].tensors_bytes, "peak_bytes": peak}
    numbers |= {"losses": losses, "scale": updates[-1].loss_scale, "skipped": sum(u.skipped for u in updates)}
    return {"ok": losses[-1] < losses[0] and ran_out is not False, "larger_ran_out": ran_out} | numbers


def generation(device: str, small: bool, records: Path) -> dict:
    """Tokens/s of one greedy text beside transformers', cache included."""
    common = {"config": asdict(sized("gpt2-124m", small)), "prompt_length": 4, "repeats": 2}
    common["new_tokens"] = [8] if small else [250]
    return variants("write", ("transformers-bf16", "helpers", "helpers-bf16")[small:], common, device)


def training(device: str, small: bool, records: Path) -> dict:
    """Tokens/s and memory of updates in bfloat16 beside a model and a loop of nanoGPT's shape."""
    common = {"config": asdict(sized("gpt2-124m", small)), "batch_size": 2 if small else 8}
    common |= {"warmup": 1, "steps": 2} if small else {"warmup": 5, "steps": 10}
    return variants("train", ("nanogpt-bf16", "helpers-bf16"), common, device)


def memory(device: str, small: bool, records: Path) -> dict:
    """Peak memory of training beside what `budget.memory` predicts."""
    path = records / f"memory_{device}.json"
    words = ["1M, all logits"] if small else ["124M, bfloat16", "51M, checkpointing"]  # each in one setting's name
    bench.main(["--only", "memory", "--device", device, "--output", str(path), "--settings", *words])
    ratios = {row["name"]: row["ratio"] for row in json.loads(path.read_text(encoding="utf-8"))["rows"]}
    return {"ok": True, "predicted_over_measured": ratios}


def ablation(device: str, small: bool, records: Path) -> dict:
    """The ablation of training speed at 124M × 1,024."""
    how = {"steps": ("float32", "chunked-loss"), "updates": 1, "measure_peaks": False} if small else {"updates": 5}
    record = speed.ablate(sized("gpt2-124m", small), 2 if small else 8, device=device, tell=bench.tell, **how)
    record.write(records / f"ablation_{device}.json")
    numbers = {row.label: row.tokens_per_s if row.status == "ok" else row.reason for row in record.rows}
    return {"ok": all(row.agrees is not False for row in record.rows), "tokens_per_s": numbers}


PARTS = {  # name -> (part, seconds at most); the longest comes last
    "parity": (parity, 45), "resume": (resume, 25), "t4": (t4, 35), "generation": (generation, 45),
    "training": (training, 40), "memory": (memory, 60), "ablation": (ablation, 230),
}  # fmt: skip


def sized(name: str, small: bool) -> GPTConfig:
    return preset(name, drop_rate=0.0, **(TINY if small else {}))


def one_batch(config: GPTConfig, batch_size: int) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.randint(config.vocab_size, (batch_size, config.context_length + 1))
    return ids[:, :-1], ids[:, 1:]


def variants(function: str, names: tuple[str, ...], common: dict, device: str) -> dict:
    """The reports of some variants of tools.bench, a process each."""
    jobs = {name: {"variant": name} | common | {"device": device} for name in names}
    (reports,) = speed.harness.run_rounds(f"tools.bench.variants:{function}", jobs, 1, 2, bench.tell)
    return {"ok": all(report["status"] == "ok" for report in reports.values()), "reports": reports}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", default=list(PARTS), help=", ".join(PARTS))
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, at small sizes")
    parser.add_argument("--out", type=Path, help="folder of gpu.json; build, or build/rehearsal")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)  # in the process of one
    parser.add_argument("--parent", type=int, help=argparse.SUPPRESS)  # the number of the process that started it
    options = parser.parse_args(arguments)
    if not options.rehearse and not torch.cuda.is_available():
        parser.error("torch finds no GPU here: --rehearse runs all parts on the CPU, at small sizes")
    out = (options.out or ROOT / "build" / ("rehearsal" if options.rehearse else "")).resolve()
    if options.part:
        Thread(target=speed.harness.end_with_parent, args=(options.parent,), daemon=True).start()
        print(json.dumps(work(options.part, options.rehearse, out)))
        return 0
    device, path = "cpu" if options.rehearse else "cuda", out / "gpu.json"
    machine, summary = speed.machine.facts(device), json.loads(path.read_text("utf-8")) if path.exists() else {}
    if any(summary.get("machine", {}).get(name) != machine[name] for name in ("chip", "torch")):
        summary = {"machine": machine, "parts": {}}  # records of another machine say nothing about this one
    for name in options.only:
        if not summary["parts"].get(name, {}).get("ok"):
            summary["parts"][name] = in_a_process(name, PARTS[name][1], options.rehearse, out)
            speed.harness.write_json(path, summary)
        found = summary["parts"][name]
        print(f"{name}: {'ok' if found['ok'] else found.get('reason', 'NOT as it should be')}, {found['seconds']} s")
    return int(not all(summary["parts"][name]["ok"] for name in options.only))


def work(name: str, small: bool, out: Path) -> dict:
    """In the process of a part: what it found, or why it failed."""
    lab = runtime.start(seed=0)
    try:
        return PARTS[name][0]("cpu" if small else lab.device.type, small, out if small else RECORDS)
    except Exception as error:  # whatever it is, the other parts are still run and this one's record names it
        return {"ok": False, "reason": f"{type(error).__name__}: {error}"[: speed.harness.MAX_REASON]}


def in_a_process(name: str, seconds: float, small: bool, out: Path) -> dict:
    """The record of a part; after so many seconds it is stopped, with all processes that it has started."""
    command = [sys.executable, "-m", "tools.gpu", "--part", name, "--out", str(out), *["--rehearse"] * small]
    command += ["--parent", str(os.getpid())]
    pipes = {"stdout": subprocess.PIPE, "text": True, "start_new_session": True}
    child, started = subprocess.Popen(command, cwd=ROOT, **pipes), time.monotonic()
    try:
        said = child.communicate(timeout=seconds)[0].splitlines()
        found = {"reason": f"exit code {child.returncode}"} if child.returncode else json.loads(said[-1])
    except subprocess.TimeoutExpired:
        found = {"reason": f"stopped after {seconds} s"}
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
    return {"ok": False} | found | {"seconds": round(time.monotonic() - started)}


if __name__ == "__main__":
    sys.exit(main())
