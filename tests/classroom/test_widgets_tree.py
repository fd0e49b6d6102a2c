"""The sampling tree: its script's arithmetic against torch, and the kernel's answers."""

import json
import math

import pytest
import torch
from torch import Tensor

from helpers.classroom import cards
from helpers.gpt import GPT, GPTConfig, gpt2, next_probs
from tests.cards import QUESTION, SCORES, BreakableModel, by_last_token, drawn, script, told

V = 50257
MAX_STATE_BYTES = 20_000
TEMPERATURES, TOP_KS = [t / 10 for t in range(21)], (1, 2, 3, 5, 10, 50, None)
call = script("tree").call


@pytest.fixture
def tree():
    return cards.sampling_tree(by_last_token)


def always(logits: Tensor) -> object:
    """The card of a model with these scores after any text."""
    return cards.sampling_tree(lambda ids: logits.expand(*ids.shape, -1))


def scores(path: list[int]) -> Tensor:
    return SCORES[[*gpt2().encode("The captain"), *path][-1] % 7]


def states(values: list[dict], config: dict) -> list[dict]:
    return script("tree").states([{"temperature": 10, "top_k": 6, "back": 0} | v for v in values], config)


@pytest.mark.parametrize("top_k", TOP_KS)
def test_branches_carry_the_probabilities_of_the_whole_vocabulary(tree, top_k: int | None) -> None:
    config = tree.card().config
    first = config["nodes"][""][0][0]
    for path in ([], [first]):
        logits, node = scores(path), config["nodes"][",".join(map(str, path))]
        assert node[0] == logits.topk(5).indices.tolist()
        for t, temperature in enumerate(TEMPERATURES):
            exact = next_probs(logits.double(), temperature=temperature, top_k=top_k)
            ours = call("branchProbs", node, t, top_k)
            assert [*ours[:-1], sum(ours)] == pytest.approx([*exact[node[0]].tolist(), 1], abs=1e-4)
            left = t > 0 and (top_k is None or top_k > 5)  # told from 0 by what is asked, not by how a sum is rounded
            assert (ours[-1] > 0) == left


def test_a_token_of_the_rest_has_its_probability_too(tree) -> None:
    logits, node = scores([]), tree.card().config["nodes"][""]
    token_id = int(logits.argsort(descending=True)[30])
    step = tree.answer(QUESTION | {"do": "take", "id": token_id})["add"]
    assert step[0] == token_id and step[3:] == ["your choice", 30]
    assert step[2] == pytest.approx(torch.log_softmax(logits.double(), -1)[token_id].item(), abs=1e-5)
    for t, top_k in ((7, None), (13, 50), (10, 10)):
        p = call("tokenProb", node, -node[3][9] - step[2], 30, t, top_k)
        exact = next_probs(logits.double(), temperature=t / 10, top_k=top_k)[token_id].item()
        assert p == pytest.approx(exact, abs=1e-4) and (p > 0) == (exact > 0)


def test_a_node_by_hand() -> None:
    logits = torch.full((V,), -math.inf)
    logits[torch.arange(60)] = -40.0
    logits[[11, 22, 33]] = torch.tensor([0.5, 0.25, 0.25]).log()
    node = always(logits).card().config["nodes"][""]
    assert node[0][:3] == [11, 22, 33] and node[2][:2] == [round(math.log(2), 5)] * 2
    assert node[3][9] == pytest.approx(math.log(2), abs=1e-4)  # at temperature 1: -ln p of the top-1 token
    assert node[3][4] == pytest.approx(math.log(1.5), abs=1e-4)  # at 1/2: 1 + 1/4 + 1/4
    assert call("branchProbs", node, 10, None) == pytest.approx([0.5, 0.25, 0.25, 0, 0, 0], abs=1e-4)
    assert call("branchProbs", node, 10, 2) == pytest.approx([2 / 3, 1 / 3, 0, 0, 0, 0], abs=1e-4)
    assert call("branchProbs", node, 0, None) == [1, 0, 0, 0, 0, 0]


def test_labels_are_those_of_python_and_equals_come_by_lower_id() -> None:
    logits = torch.zeros(V)
    logits[[gpt2().encode(t)[0] for t in ("'s", " the", "\n")]] = torch.tensor([9.0, 8.0, 7.0])
    ids, labels, *_ = always(logits).card().config["nodes"][""]
    assert labels[:3] == ['"\'s"', "' the'", "'\\n'"] and ids[3:] == [0, 1]
    assert call("joined", labels[:3]) == "'s the⏎"


def test_draws_have_the_frequencies_that_the_branches_show(tree) -> None:
    n, state, node = 200, torch.random.get_rng_state(), tree.card().config["nodes"][""]
    drawn = [tree.answer(QUESTION | {"temperature": 0.4, "top_k": 3})["add"][0] for _ in range(n)]
    for token_id, p in zip(node[0], call("branchProbs", node, 4, 3), strict=False):
        assert abs(drawn.count(token_id) / n - p) <= 4 * math.sqrt(p * (1 - p) / n)
    rest = {tree.answer(QUESTION | {"do": "rest"})["add"][0] for _ in range(30)}
    assert not rest & set(node[0]) and len(rest) > 10
    assert torch.equal(torch.random.get_rng_state(), state), "the global generator was moved"


def test_the_probability_of_a_path_is_the_product_of_its_steps(tree) -> None:
    config, product, greedy = drawn(tree, 3), 1.0, []
    path = [step[0] for step in config["path"]]
    for n, token_id in enumerate(path):
        product *= torch.softmax(scores(path[:n]).double(), -1)[token_id].item()
    assert math.exp(call("lnOf", config["path"])) == pytest.approx(product, rel=1e-4) and len(path) == 3
    (state,) = states([{}], config)
    assert state["own_p"] == call("number", math.log(product))
    for _, log_prob in config["greedy"]:
        best = torch.log_softmax(scores(greedy).double(), -1)
        assert log_prob == pytest.approx(best.max().item(), abs=1e-4)
        greedy.append(int(best.argmax()))


def test_a_path_may_be_more_probable_than_the_greedy_one(tree) -> None:
    path = [[1, "'a'", math.log(0.3), "drawn", 1], [2, "'b'", math.log(0.9), "drawn", 0]]
    for greedy, said in (
        ((0.4, 0.375), "This path is 1.8 times as probable as the greedy one"),  # .27 / .15
        ((0.75, 0.9), "The greedy path is 2.5 times as probable as this one."),
        ((0.3, 0.9), "As probable as the greedy path."),
    ):
        steps = [[name, math.log(p)] for name, p in zip(("'c'", "'d'"), greedy, strict=True)]
        assert call("versus", tree.card().config | {"path": path, "greedy": steps}).startswith(said)


def test_numbers_beyond_a_float_are_written_too() -> None:
    for p, text in ((1.0, "1.00"), (0.5, "0.5000"), (0.0123, "0.0123"), (1e-6, "1.0e-06"), (12.34, "12.3")):
        assert call("number", math.log(p)) == text
    assert call("number", -1000.0) == "5.1e-435"


def test_what_the_page_gets_is_small_begins_at_the_root_and_goes_on_for_three_steps(tree) -> None:
    card = tree.card()
    assert len(json.dumps(card.config, ensure_ascii=False).encode()) < MAX_STATE_BYTES
    assert repr(tree).startswith("One token at a time, and what could have been · After “The captain” the top-1 token")
    nodes = card.config["nodes"]
    assert all(f"{i}" in nodes and f"{i},{j}" in nodes for i in nodes[""][0][:4] for j in nodes[f"{i}"][0][:4])
    assert card.config["path"] == []
    best = torch.softmax(scores([]).double(), -1).topk(5)
    assert card.table[1:] == [
        (repr(gpt2().decode([i])), f"{100 * p:.1f} %") for p, i in zip(*map(Tensor.tolist, best), strict=True)
    ]
    (state,) = states([{}], card.config)
    assert state["h3"] == "1 · next token" and state["c2@hidden"] == "" and state["button_back@disabled"] == ""


def test_every_slider_position_has_branches_that_sum_to_one(tree) -> None:
    grid = [{"temperature": t, "top_k": k} for t in (0, 1, 10, 20) for k in range(7)]
    for state in states(grid, drawn(tree, 3)):
        assert sum(float(state[f"b3{j}@style"][4:-1]) for j in range(6)) == pytest.approx(100, abs=0.3)
    assert state["top_k_text"] == "all tokens" and state["temperature_text"] == "2.0"


def test_looking_back_shows_the_earlier_steps(tree) -> None:
    config = drawn(tree, 6)
    now, before, beyond = states([{}, {"back": 3}, {"back": 9}], config)
    assert now["h0"].startswith("4 · ") and now["h3"] == "7 · next token"
    assert before["h0"].startswith("1 · ") and before["h3"].startswith("4 · ") and before["back_text"] == "3 steps"
    assert beyond == before


def test_answers_to_the_page(tree) -> None:
    best = scores([]).topk(5).indices.tolist()
    top = tree.answer(QUESTION | {"do": "top1"})
    assert top["add"][0] == best[0] and top["add"][3:] == ["top-1", 0] and "error" not in top
    assert top["node"] == tree.card().config["nodes"][str(best[0])] and top["key"] == str(best[0])
    taken = tree.answer(QUESTION | {"do": "take", "id": best[2], "path": best[:1], "n": 4})
    assert taken["add"][3] == "your choice" and taken["key"] == f"{best[0]},{best[2]}" and taken["n"] == 4
    assert len(taken["greedy"]) == 2
    refused = tree.answer(QUESTION | {"do": "rest", "top_k": 2})
    assert "raise top-k and the temperature" in refused["error"] and "add" not in refused
    assert tree.answer(QUESTION | {"temperature": 0.0})["add"][0] == best[0]
    assert tree.answer(QUESTION | {"version": 3})["reset"].items() >= {"path": [], "version": 0}.items()


def test_the_draw_after_this_one_is_made_while_the_reader_looks() -> None:
    model = BreakableModel(by_last_token)
    tree = cards.sampling_tree(model)
    for n in range(3):
        tree.question.value = json.dumps(QUESTION | {"n": n})
        assert told(tree)["n"] == n and len(told(tree)["add"]) == 5 and told(tree)["ms"] > 0, "through hidden text"
        model.error = RuntimeError("asked again")
        following = QUESTION | {"n": n + 10, "path": [told(tree)["add"][0]]}
        answer = tree.answer(following | ({"temperature": 0.5} if n else {}))
        assert ("error" in answer) == bool(n) and answer["n"] == n + 10, "of other settings it is not made"
        model.error = None


def test_another_prompt_starts_another_tree(tree) -> None:
    (line,) = tree.lines
    line.value = "Não é só um café ☕ <b>"
    assert told(tree)["reset"]["prompt"] == "Não é só um café ☕ <b>" and told(tree)["reset"]["version"] == 1
    line.value = ""
    assert told(tree)["error"].startswith("The prompt is empty") and "reset" not in told(tree)
    line.value = "A word"
    assert told(tree)["reset"]["version"] == 2


def test_a_path_beyond_the_context_is_read_from_its_end_and_the_card_says_so() -> None:
    gpt = GPT(GPTConfig(V, context_length=5, emb_dim=10, n_heads=2, n_layers=1))
    config = drawn(cards.sampling_tree(gpt, "one two three four"), 3)
    path = [step[0] for step in config["path"]]
    with torch.no_grad():
        exact = gpt.eval()(torch.tensor([[*gpt2().encode("one two three four"), *path][-5:]]))[0, -1]
    assert config["nodes"][",".join(map(str, path))][0] == exact.topk(5).indices.tolist()
    assert states([{}], config)[0]["notice"].startswith(
        "The model reads only the last 5 tokens, so the first 2 are not"
    )
