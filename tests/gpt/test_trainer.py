"""The loop against one written out by hand; resuming, accumulation, evaluation, and what happens when it goes wrong."""

from __future__ import annotations

import copy
import math
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
    scoring_batches,
    summed_loss,
    token_weighted_loss,
)
from helpers.storage import checkpoint

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
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.3}, {"params": others, "weight_decay": 0.0}], lr=1.0, betas=(0.9, 0.95)
    )
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
        exact = Update(
            step, step // 3, 35 * (step + 1), record.loss_nats, config.schedule(step), record.grad_norm, "float32"
        )
        assert record == exact
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
    assert [r.step for r in records if isinstance(r, Evaluation)] == [0, 2, 4, 5]
    assert [type(r).__name__[0] for r in records] == list("EUUEUUEUE")
    records = list(trainer(replace(config, n_steps=4), validation=validation))
    assert [r.step for r in records if isinstance(r, Evaluation)] == [0, 2, 4]
    records = list(trainer(TrainConfig(3), validation=validation))
    assert [r.step for r in records if isinstance(r, Evaluation)] == [0, 3]
    assert not any(isinstance(r, Evaluation) for r in trainer(config))
    assert [r.n_tokens for r in records] == [0, 35, 70, 105, 105]


def test_the_validation_loss_weights_every_token_alike():
    run = trainer(TrainConfig(1), validation=validation, drop_rate=0.5)
    before, records = checkpoint.capture_rng("cpu"), iter(run)
    found = next(records)
    assert checkpoint.capture_rng("cpu") == before and run.model.training
    oracle = token_weighted_loss(tiny(), validation())
    assert (found.n_scored, found.loss_nats) == (22, pytest.approx(oracle.loss_nats, rel=1e-6))
    assert found.perplexity == pytest.approx(math.exp(oracle.loss_nats), rel=1e-5)


CONFIG = TrainConfig(6, 1e-2, warmup_steps=2, eval_every=2, micro_batch_size=2)


def uninterrupted() -> tuple[list, torch.Tensor]:
    run = trainer(CONFIG, validation=validation, drop_rate=0.3)
    torch.manual_seed(3)
    return list(run), weights(run.model)


@pytest.mark.parametrize("stop", range(7))
def test_resuming_is_never_having_stopped(stop):
    records, final = uninterrupted()
    first = trainer(CONFIG, validation=validation, drop_rate=0.3)
    torch.manual_seed(3)
    before = list(first.run(stop))
    saved = copy.deepcopy((first.model.state_dict(), first.state(), checkpoint.capture_rng("cpu")))
    torch.manual_seed(99)
    for _ in first.run():  # what was saved must not notice
        pass
    for _ in range(2):  # one state starts two runs
        second = trainer(CONFIG, validation=validation, drop_rate=0.3)
        second.model.load_state_dict(saved[0])
        second.load_state(saved[1])
        checkpoint.restore_rng(saved[2])
        after = list(second)
        if stop == 6:  # the last evaluation again
            assert after == before[-1:]
            after = []
        assert before + after == records
        assert torch.equal(weights(second.model), final)


def test_breaking_off_after_any_record_and_iterating_again_goes_on():
    records, final = uninterrupted()
    run = trainer(CONFIG, validation=validation, drop_rate=0.3)
    torch.manual_seed(3)
    seen = []
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


def test_who_watches_may_switch_dropout_off():
    run = trainer(TrainConfig(2), drop_rate=0.3)
    modes = []
    run.model.dropout.register_forward_pre_hook(lambda module, _: modes.append(module.training))
    for _ in run:
        run.model.eval()
    assert modes == [True, True]


def test_what_is_frozen_is_not_trained():
    model = tiny()
    model.token_embedding.weight.requires_grad_(False)
    assert id(model.head.weight) not in {id(p) for g in make_optimizer(model, CONFIG).param_groups for p in g["params"]}


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_non_finite_numbers_stop_the_run_with_the_weights_untouched(where):
    run = trainer(TrainConfig(9))
    list(run.run(4))
    before, moments = weights(run.model), copy.deepcopy(run.optimizer.state_dict()["state"])
    if where == "loss":
        hook = run.model.final_norm.register_forward_hook(lambda module, inputs, output: output * math.nan)
    else:
        hook = run.model.final_norm.bias.register_hook(lambda gradient: gradient * math.inf)
    with pytest.raises(NonFiniteError, match=rf"{where}( norm)? of .* at step 4 \(batch 1 of epoch 1, .*float32\)"):
        list(run)
    assert torch.equal(weights(run.model), before) and (run.step, run.n_tokens) == (4, 140)
    assert str(run.optimizer.state_dict()["state"]) == str(moments)
    assert all(p.grad is None for p in run.model.parameters()) and not run.model.training
    hook.remove()
    assert [r.step for r in run] == [4, 5, 6, 7, 8]


def test_float16_skips_an_overflow_and_lowers_the_scale():
    run = trainer(TrainConfig(4, precision="float16"))
    assert run.scaler.is_enabled()
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
    with pytest.raises(ValueError, match="of a run in float16, with a gradient scaler, this one is in float32"):
        full.load_state(half.state())
    with pytest.raises(ValueError, match="of a run without a gradient scaler, this one is in float16"):
        half.load_state(full.state())


@pytest.mark.parametrize(
    ("change", "forge", "says"),
    [
        ({"emb_dim": 14}, None, r"expected moments of shape \(17, 12\), got \(17, 14\)"),
        ({"emb_dim": 10}, None, r"expected moments of shape \(17, 12\), got \(17, 10\)"),
        ({"n_layers": 2}, None, r"expected moments of 16 parameters, got 28"),
        ({}, lambda moments: moments[3].pop("exp_avg_sq"), r"got exp_avg_sq = None"),
        ({}, lambda moments: moments[3].update(step=2), r"expected moments of shape \(\), got step = 2"),
        ({}, lambda moments: moments[0].update(exp_avg=torch.tensor(1.0)), r"shape \(17, 12\), got \(\)"),
        ({}, lambda moments: moments[0].update(exp_avg=torch.zeros(17, 12).half()), "of torch.float16"),
        ({}, lambda moments: moments.update({99: moments.pop(0)}), r"expected moments of 16 parameters, got 16"),
    ],
)
def test_the_state_of_another_model_is_refused(change, forge, says):
    """A smaller one would end the process, a larger one pass for this model's."""
    other = trainer(TrainConfig(2), **change)
    list(other.run(1))
    run = trainer(TrainConfig(2))
    before, state = weights(run.model), other.state()
    if forge:
        forge(state["optimizer"]["state"])
    with pytest.raises(ValueError, match=says):
        run.load_state(state)
    with pytest.raises(ValueError, match="expected moments of 16 parameters, got 0"):
        run.load_state(state | {"optimizer": None})
    list(run)
    assert not torch.equal(weights(run.model), before) and run.step == 2


def test_settings_come_from_the_config_and_not_from_an_old_state():
    old = trainer(TrainConfig(2, weight_decay=0.1, betas=(0.9, 0.95)))
    list(old.run(1))
    new = trainer(TrainConfig(2, weight_decay=0.7, betas=(0.8, 0.99)))
    new.load_state(old.state())
    groups = new.optimizer.param_groups
    assert [g["weight_decay"] for g in groups] == [0.7, 0.0] and {g["betas"] for g in groups} == {(0.8, 0.99)}
    assert torch.equal(
        next(iter(new.optimizer.state.values()))["exp_avg"], next(iter(old.optimizer.state.values()))["exp_avg"]
    )


def test_a_list_is_gone_through_again_and_again():
    batches = [BATCHES[0], BATCHES[1]]
    records = list(trainer(TrainConfig(5, learning_rate=1e-9), batches))
    assert [r.epoch for r in records] == [0, 0, 1, 1, 2]
    losses = [r.loss_nats for r in records]
    assert losses[0] == pytest.approx(losses[2], rel=1e-5) != losses[1]


@pytest.mark.parametrize(
    ("batch", "says"),
    [
        ((torch.full((2, 7), 17), torch.zeros(2, 7, dtype=torch.int64)), r"batch 0: token ids must be in \[0, 17\)"),
        ((torch.full((2, 7), -1), torch.zeros(2, 7, dtype=torch.int64)), "got -1"),
        ((torch.zeros(2, 7, dtype=torch.int64), torch.full((2, 7), 17)), "batch 0: targets must be"),
        ((torch.zeros(2, 7, dtype=torch.int64), torch.full((2, 7), IGNORED_TARGET)), "expected a target"),
    ],
)
def test_a_wrong_batch_is_named(batch, says):
    with pytest.raises(ValueError, match=says):
        list(trainer(TrainConfig(1), [batch]))


def test_what_no_run_can_begin_with_is_refused_at_once():
    with pytest.raises(ValueError, match="weights must be float32"):
        Trainer(tiny().to(torch.bfloat16), BATCHES, TrainConfig(1))
    with pytest.raises(ValueError, match="at least one batch"):
        trainer(TrainConfig(1), [])


def test_summed_loss_and_evaluate():
    model, (inputs, targets) = tiny(), BATCHES[0]
    expected = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten(), reduction="sum")
    torch.testing.assert_close(summed_loss(model, inputs, targets), expected)
    assert evaluate(model, [(inputs, targets)]).loss_nats == pytest.approx(expected.item() / 35, rel=1e-6)
    for batches in ([], [(inputs, torch.full_like(targets, IGNORED_TARGET))]):
        with pytest.raises(ValueError, match="no token to score"):
            evaluate(model, batches)
    with pytest.raises(ValueError, match="precision must be"):
        evaluate(model, [(inputs, targets)], "int8")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"n_steps": 0}, "n_steps"),
        ({"learning_rate": 0.0}, "learning rate"),
        ({"warmup_steps": 10}, "warmup_steps"),
        ({"min_lr_ratio": 2}, "min_lr_ratio"),
        ({"weight_decay": math.inf}, "weight_decay"),
        ({"weight_decay": "0.1"}, "got '0.1'"),
        ({"learning_rate": None}, "learning rate"),
        ({"betas": 0.9}, "two numbers .* got 0.9"),
        ({"betas": ("0.9", 0.95)}, "two numbers"),
        ({"clip_norm": True}, "clip_norm"),
        ({"betas": (0.9, 1.0)}, "betas"),
        ({"clip_norm": math.nan}, "clip_norm"),
        ({"micro_batch_size": 2.5}, "micro_batch_size"),
        ({"eval_every": 0}, "eval_every"),
        ({"precision": "float64"}, "float16, got 'float64'"),
    ],
)
def test_settings_out_of_range_are_refused(changes, says):
    with pytest.raises(ValueError, match=says):
        TrainConfig(**{"n_steps": 9} | changes)
