"""The loop against one written out by hand; resuming, accumulation, evaluation, what may go wrong; a quick fit."""

import copy
import math
import signal
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from helpers.gpt import (
    GPT,
    IGNORED_TARGET,
    Batches,
    Evaluation,
    GPTConfig,
    NonFiniteError,
    TrainConfig,
    Trainer,
    Update,
    evaluate,
    make_optimizer,
    quick_fit,
    scoring_batches,
    summed_loss,
    token_weighted_loss,
)
from helpers.storage import checkpoint
from tests.support import refusals, refusals_by_field, refusals_of, refused

TINY = GPTConfig(vocab_size=17, context_length=7, emb_dim=12, n_heads=2, n_layers=1, drop_rate=0.0)
IDS = torch.randint(17, (120,), generator=torch.Generator().manual_seed(5))
HELD_OUT = torch.randint(17, (23,), generator=torch.Generator().manual_seed(6))
BATCHES = Batches(IDS, 7, 5, shift=True)


def validation():
    return scoring_batches(HELD_OUT, 7, 2)


def tiny(**changes) -> GPT:
    torch.manual_seed(1)
    return GPT(replace(TINY, **changes))


def trainer(config: TrainConfig, batches=BATCHES, validation=None, **changes) -> Trainer:
    return Trainer(tiny(**changes), batches, config, validation)


def weights(model: GPT) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize(("tied_head", "clip_norm"), [(True, 0.5), (False, 0.5), (True, None)])
def test_it_is_the_loop_that_one_would_write(tied_head, clip_norm):
    config = TrainConfig(9, 1e-2, warmup_steps=2, weight_decay=0.3, clip_norm=clip_norm)
    # no bias on the keys: its gradient is 0 but for rounding, which Adam would blow up to full steps
    switches = {"tied_head": tied_head, "qkv_bias": False}
    run, model = trainer(config, **switches), tiny(**switches)
    records = list(run)
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.3}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1.0, betas=(0.9, 0.95))
    for step, record in enumerate(records):
        inputs, targets = BATCHES[step]
        loss = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        norm = torch.linalg.vector_norm(torch.cat([p.grad.flatten() for p in model.parameters()]))
        for p in model.parameters():
            p.grad *= min(1.0, (clip_norm or math.inf) / norm.item())
        for group in optimizer.param_groups:
            group["lr"] = config.schedule(step)
        optimizer.step()
        assert (record.loss_nats, record.grad_norm) == pytest.approx((loss.item(), norm.item()), rel=1e-5)
        found, rate = (record.loss_nats, record.grad_norm), config.schedule(step)
        assert record == Update(step, step // 3, 35 * (step + 1), found[0], rate, found[1], "float32")
    assert len(BATCHES) == 3 and {r.grad_norm > 0.5 for r in records} == {True}
    torch.testing.assert_close(weights(run.model), weights(model), rtol=1e-5, atol=1e-6)
    assert not run.model.training and all(p.grad is None for p in run.model.parameters())


@pytest.mark.parametrize("micro_batch_size", [1, 2, 5, 9])
def test_micro_batches_are_one_batch_also_where_rows_are_masked(micro_batch_size):
    token_ids, targets = (t.clone() for t in BATCHES[0])
    targets[0] = IGNORED_TARGET  # a micro-batch of its own without any target
    targets[1, 2:] = IGNORED_TARGET
    targets[3, :6] = IGNORED_TARGET
    config = TrainConfig(1, 0.1, weight_decay=0.0)
    whole = trainer(config, [(token_ids, targets)])
    parts = trainer(replace(config, micro_batch_size=micro_batch_size), [(token_ids, targets)])
    (a,), (b,) = whole, parts
    assert a.n_tokens == b.n_tokens == 2 + 7 + 1 + 7
    oracle = F.cross_entropy(tiny()(token_ids).flatten(0, 1), targets.flatten()).item()
    assert (a.loss_nats, b.loss_nats) == pytest.approx((oracle, oracle), rel=1e-6)
    assert a.grad_norm == pytest.approx(b.grad_norm, rel=1e-5)
    for p, q in zip(whole.optimizer.state.values(), parts.optimizer.state.values(), strict=True):
        torch.testing.assert_close(p["exp_avg"], q["exp_avg"], rtol=1e-5, atol=1e-7)  # the gradient itself


def test_evaluated_first_last_and_every_k():
    config = TrainConfig(5, eval_every=2)
    records = list(trainer(config, validation=validation))
    assert [type(r).__name__[0] for r in records] == list("EUUEUUEUE")
    for n, every, steps in ((5, 2, [0, 2, 4, 5]), (4, 2, [0, 2, 4]), (3, None, [0, 3])):
        records = list(trainer(TrainConfig(n, eval_every=every), validation=validation))
        assert [r.step for r in records if isinstance(r, Evaluation)] == steps
    assert [r.n_tokens for r in records] == [0, 35, 70, 105, 105]
    assert not any(isinstance(r, Evaluation) for r in trainer(config))


def test_the_validation_loss_weights_every_token_alike():
    run = trainer(TrainConfig(1), validation=validation, drop_rate=0.5)
    before, records = checkpoint.capture_rng("cpu"), iter(run)
    found = next(records)
    assert checkpoint.capture_rng("cpu") == before and run.model.training
    oracle = token_weighted_loss(tiny(), validation())
    assert (found.n_scored, found.loss_nats) == (22, pytest.approx(oracle.loss_nats, rel=1e-6))
    assert found.perplexity == pytest.approx(math.exp(oracle.loss_nats), rel=1e-5)


CONFIG = TrainConfig(6, 1e-2, warmup_steps=2, eval_every=2, micro_batch_size=2)


def new_run() -> Trainer:
    run = trainer(CONFIG, validation=validation, drop_rate=0.3)
    torch.manual_seed(3)
    return run


@pytest.fixture(scope="module")
def uninterrupted() -> tuple[list, torch.Tensor]:
    run = new_run()
    return list(run), weights(run.model)


@pytest.mark.parametrize("stop", range(7))
def test_resuming_is_never_having_stopped(uninterrupted, stop):
    records, final = uninterrupted
    first = new_run()
    before = list(first.run(stop))
    model, state, rng = copy.deepcopy((first.model.state_dict(), first.state(), checkpoint.capture_rng("cpu")))
    torch.manual_seed(99)
    list(first)  # what was saved must not notice
    for _ in range(2):  # one state starts two runs
        second = new_run()
        second.model.load_state_dict(model)
        second.load_state(state)
        checkpoint.restore_rng(rng)
        after = list(second)
        if stop == 6:  # the last evaluation again
            assert after == before[-1:]
            after = []
        assert before + after == records
        assert torch.equal(weights(second.model), final)


def test_breaking_off_after_any_record_and_iterating_again_goes_on(uninterrupted):
    records, final = uninterrupted
    run, seen = new_run(), []
    while run.step < 6:
        for record in run:
            seen.append(record)
            if isinstance(record, Update):
                break
        assert not run.model.training
    seen += list(run)
    assert seen == records and torch.equal(weights(run.model), final)  # none here was broken off after an evaluation
    assert list(run) == records[-1:]


def test_an_update_that_was_interrupted_leaves_no_gradient_behind():
    run, undisturbed = trainer(TrainConfig(1, micro_batch_size=2)), trainer(TrainConfig(1, micro_batch_size=2))
    calls = []

    def interrupt(*_):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt

    handle = run.model.token_embedding.register_forward_pre_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        list(run)
    handle.remove()
    assert run.step == 0 and not run.model.training
    assert list(run) == list(undisturbed)
    assert torch.equal(weights(run.model), weights(undisturbed.model))


@pytest.mark.parametrize("inside", ["step", "update"])
def test_an_interruption_while_weights_change_leaves_a_step_that_is_counted(monkeypatch, inside):
    """Half a step, or one that is taken again, would go on to other weights without a word."""
    run, undisturbed = trainer(TrainConfig(3)), trainer(TrainConfig(3))
    real = getattr(run.scaler, inside)
    monkeypatch.setattr(run.scaler, inside, lambda *given: (signal.raise_signal(signal.SIGINT), real(*given)))
    with pytest.raises(KeyboardInterrupt):
        list(run)
    assert run.step == 1
    monkeypatch.undo()
    assert list(run) == list(undisturbed)[1:]
    assert torch.equal(weights(run.model), weights(undisturbed.model))


def test_who_watches_may_switch_dropout_off_and_what_is_frozen_is_not_trained():
    run = trainer(TrainConfig(2), drop_rate=0.3)
    modes = []
    run.model.dropout.register_forward_pre_hook(lambda module, _: modes.append(module.training))
    for _ in run:
        run.model.eval()
    assert modes == [True, True]
    run.model.token_embedding.weight.requires_grad_(False)
    trained = {id(p) for group in make_optimizer(run.model, CONFIG).param_groups for p in group["params"]}
    assert id(run.model.head.weight) not in trained


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_non_finite_numbers_stop_the_run_with_the_weights_untouched(where):
    run = trainer(TrainConfig(9))
    list(run.run(4))
    before, moments = weights(run.model), copy.deepcopy(run.optimizer.state_dict()["state"])
    if where == "loss":
        hook = run.model.final_norm.register_forward_hook(lambda module, inputs, output: output * math.nan)
    else:
        hook = run.model.final_norm.bias.register_hook(lambda gradient: gradient * math.inf)
    refused(rf"{where}( norm)? of .* at step 4 \(batch 1 of epoch 1, .*float32\)", list, run, error=NonFiniteError)
    assert torch.equal(weights(run.model), before) and (run.step, run.n_tokens) == (4, 140)
    assert str(run.optimizer.state_dict()["state"]) == str(moments)
    assert all(p.grad is None for p in run.model.parameters()) and not run.model.training
    hook.remove()
    assert [r.step for r in run] == [4, 5, 6, 7, 8]


def test_float16_skips_an_overflow_and_lowers_the_scale():
    run = trainer(TrainConfig(4, precision="float16"))
    run.scaler._init_scale = 2.0**14
    overflow = [True, False]
    run.model.final_norm.bias.register_hook(lambda g: g * math.inf if overflow and overflow.pop(0) else g)
    records, kept = [], [weights(run.model)]
    for record in run:
        records.append(record)
        kept.append(weights(run.model))
    assert [r.skipped for r in records] == [True, False, False, False]
    assert [r.loss_scale for r in records] == [2.0**14, *[2.0**13] * 3]
    assert torch.equal(kept[0], kept[1]) and not torch.equal(kept[1], kept[2])
    assert records[0].grad_norm == math.inf and records[1].precision == "float16"
    full = list(trainer(TrainConfig(4)))
    assert records[0].loss_nats == pytest.approx(full[0].loss_nats, rel=1e-2)
    assert records[1].grad_norm == pytest.approx(full[1].grad_norm, rel=0.1)  # unscaled before it is measured


def test_float16_stops_where_no_scale_helps():
    run = trainer(TrainConfig(40, precision="float16"))
    run.scaler._init_scale = 4.0
    hook = run.model.final_norm.bias.register_hook(lambda g: g * math.nan)
    seen, before = [], weights(run.model)
    with pytest.raises(NonFiniteError, match=r"gradient norm of nan at step 3 .*float16"):
        seen.extend(run)  # adds what comes before the error
    assert torch.equal(weights(run.model), before) and run.step == 3 and run.scaler.get_scale() == 0.5
    assert all(p.grad is None for p in run.model.parameters())
    hook.remove()
    after = list(run)
    assert len(after) == 37 and after[0].loss_scale == 0.5 and not any(r.skipped for r in after)


def test_the_scaler_is_saved_and_a_state_of_another_precision_refused():
    half, full = trainer(TrainConfig(2, precision="float16")), trainer(TrainConfig(2))
    list(half.run(1))
    half.scaler.update(8.0)
    other = trainer(TrainConfig(2, precision="float16"))
    other.load_state(half.state())
    assert other.scaler.get_scale() == 8.0 and (other.step, other.n_tokens) == (1, 35)
    refused("of a run in float16, with a gradient scaler, this one is in float32", full.load_state, half.state())
    refused("of a run without a gradient scaler, this one is in float16", half.load_state, full.state())
    refused("scaler's growth_factor must be .*None", half.load_state, half.state() | {"scaler": {"scale": 2.0}})


def test_moments_may_lack_before_the_first_update_only():
    half, full = trainer(TrainConfig(4, precision="float16")), trainer(TrainConfig(4))
    full.load_state(full.state())
    refused("of 16 parameters, got 0", full.load_state, full.state() | {"step": 3, "n_tokens": 99})
    half.model.final_norm.bias.register_hook(lambda g: g * math.inf)
    assert all(record.skipped for record in half.run(2))
    half.load_state(half.state())  # of zeros
    refused("of 16 parameters, got 0", half.load_state, half.state() | {"optimizer": {"state": {}}})


def moment(name: str, value: float) -> Callable[[dict, dict], object]:
    """What puts one such number into a state's moments."""
    return lambda state, moments: moments[3][name].view(-1)[:1].fill_(value)


@pytest.mark.parametrize(
    ("change", "forge", "says"),
    [
        ({}, lambda state, _: state.update(step=-1), "step must be a whole number of at least 0, got -1"),
        ({}, lambda state, _: state.update(step="1"), "step must be .* got '1'"),
        ({}, lambda state, _: state.update(step=None), "step must be .* got None"),
        ({}, lambda state, _: state.pop("step"), "step must be .* got None"),
        ({}, lambda state, _: state.update(step=99, n_tokens=999), "of step 99, this run has n_steps = 2"),
        ({}, lambda state, _: state.update(n_tokens=math.nan), "n_tokens must be .* number of at least 1, got nan"),
        ({}, lambda state, _: state.update(n_tokens=0), "n_tokens must be"),
        ({}, lambda state, _: state.update(optimizer=[1]), "expected dict.* for optimizer"),
        ({}, lambda state, _: state.update(optimizer=None), "expected moments of 16 parameters, got 0"),
        ({}, moment("exp_avg_sq", math.inf), r"finite moments, .*got exp_avg_sq in \[.*, inf\]"),
        ({}, moment("exp_avg_sq", -1.0), r"finite moments, .*got exp_avg_sq in \[-1.0"),
        ({}, moment("exp_avg", math.nan), "finite moments, .*got exp_avg in .nan"),
        ({}, moment("step", -2.0), "finite moments, .*got step in"),
        ({"emb_dim": 14}, lambda *_: None, r"expected moments of shape \(17, 12\), got \(17, 14\)"),
        ({"emb_dim": 10}, lambda *_: None, r"expected moments of shape \(17, 12\), got \(17, 10\)"),
        ({"n_layers": 2}, lambda *_: None, r"expected moments of 16 parameters, got 28"),
        ({}, lambda _, moments: moments[3].pop("exp_avg_sq"), r"got exp_avg_sq = None"),
        ({}, lambda _, moments: moments[3].update(step=2), r"expected moments of shape \(\), got step = 2"),
        ({}, lambda _, moments: moments[0].update(exp_avg=torch.tensor(1.0)), r"shape \(17, 12\), got \(\)"),
        ({}, lambda _, moments: moments[0].update(exp_avg=torch.zeros(17, 12).half()), "of torch.float16"),
        ({}, lambda _, moments: moments.update({99: moments.pop(0)}), r"expected moments of 16 parameters, got 16"),
    ],
)
def test_a_state_that_this_run_cannot_have_is_refused(change, forge, says):
    """Moments of a smaller model would end the process, those of a larger one pass for this model's."""
    other, run = trainer(TrainConfig(2), **change), trainer(TrainConfig(2))
    list(other.run(1))
    before, state = weights(run.model), other.state()
    forge(state, state["optimizer"]["state"])
    refused(says, run.load_state, state)
    assert run.step == run.n_tokens == len(run.optimizer.state) == 0
    list(run)
    assert not torch.equal(weights(run.model), before) and run.step == 2


def test_settings_come_from_the_config_and_not_from_an_old_state():
    old = trainer(TrainConfig(2, weight_decay=0.1, betas=(0.9, 0.95)))
    list(old.run(1))
    new = trainer(TrainConfig(2, weight_decay=0.7, betas=(0.8, 0.99)))
    new.load_state(old.state())
    groups = new.optimizer.param_groups
    assert [g["weight_decay"] for g in groups] == [0.7, 0.0] and {g["betas"] for g in groups} == {(0.8, 0.99)}
    ours, theirs = (next(iter(run.optimizer.state.values()))["exp_avg"] for run in (new, old))
    assert torch.equal(ours, theirs)


def test_a_list_is_gone_through_again_and_again():
    batches = [BATCHES[0], BATCHES[1]]
    records = list(trainer(TrainConfig(5, learning_rate=1e-9), batches))
    assert [r.epoch for r in records] == [0, 0, 1, 1, 2]
    losses = [r.loss_nats for r in records]
    assert losses[0] == pytest.approx(losses[2], rel=1e-5) != losses[1]


ZERO = torch.zeros(2, 7, dtype=torch.int64)
test_what_cannot_be_trained_on_is_named = refusals(
    (lambda: list(trainer(TrainConfig(1), [(ZERO + 17, ZERO)])), r"batch 0: token ids must be in \[0, 17\)"),
    (lambda: list(trainer(TrainConfig(1), [(ZERO - 1, ZERO)])), "got -1"),
    (lambda: list(trainer(TrainConfig(1), [(ZERO, ZERO + 17)])), "batch 0: targets must be"),
    (lambda: list(trainer(TrainConfig(1), [(ZERO, ZERO + IGNORED_TARGET)])), "expected a target"),
    (lambda: Trainer(tiny().to(torch.bfloat16), BATCHES, TrainConfig(1)), "weights must be float32"),
    (lambda: trainer(TrainConfig(1), []), "at least one batch"),
    (lambda: evaluate(tiny(), []), "no token to score"),
    (lambda: evaluate(tiny(), [(ZERO, ZERO + IGNORED_TARGET)]), "no token to score"),
    (lambda: evaluate(tiny(), [(ZERO, ZERO)], "int8"), "precision must be"),
    (lambda: TrainConfig(9, weight_decay="0.1"), "got '0.1'"),
    (lambda: TrainConfig(9, betas=0.9), "two numbers .* got 0.9"),
    (lambda: TrainConfig(9, betas=("0.9", 0.95)), "two numbers"),
    (lambda: TrainConfig(9, precision="float64"), "float16, got 'float64'"),
)
test_settings_out_of_range_are_refused = refusals_by_field(
    lambda **changes: TrainConfig(**{"n_steps": 9} | changes), n_steps=[0], learning_rate=[0.0, None],
    warmup_steps=[10], min_lr_ratio=[2], weight_decay=[math.inf], clip_norm=[True, math.nan], betas=[(0.9, 1.0)],
    micro_batch_size=[2.5], eval_every=[0],
)  # fmt: skip


def test_summed_loss_and_evaluate():
    model, (inputs, targets) = tiny(), BATCHES[0]
    expected = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten(), reduction="sum")
    torch.testing.assert_close(summed_loss(model, inputs, targets), expected)
    assert evaluate(model, [(inputs, targets)]).loss_nats == pytest.approx(expected.item() / 35, rel=1e-6)


TEXT = torch.arange(17).repeat(5)


def fit(seed: int = 0, n_steps: int = 60) -> list[float]:
    return [r.loss_nats for r in quick_fit(tiny(), TEXT, n_steps=n_steps, learning_rate=1e-2, seed=seed)]


def test_it_learns_to_count_by_its_seed_alone():
    losses = fit()
    assert losses[0] == pytest.approx(torch.tensor(17.0).log().item(), abs=0.1)
    assert losses[-1] < 0.3
    assert fit(n_steps=5) == fit(n_steps=5) != fit(seed=1, n_steps=5)
    model, before = tiny(), torch.get_rng_state()
    list(quick_fit(model, TEXT, n_steps=2))
    assert torch.equal(before, torch.get_rng_state()) and not model.training


test_a_quick_fit_refuses_at_once = refusals_of(
    lambda changes: quick_fit(tiny(), **{"token_ids": TEXT, "n_steps": 1} | changes),
    ({"token_ids": TEXT[:7]}, "needs 8 ids, got 7"),
    ({"token_ids": TEXT[None]}, "one list"),
    ({"n_steps": 0}, "at least 1"),
    ({"batch_size": 0}, "at least 1"),
    ({"token_ids": TEXT + 1}, r"\[0, 17\), got 17"),
)
