"""The sampling tree's arithmetic and its talk with the page, without a browser."""

from __future__ import annotations

import asyncio
import html
import itertools
import json
import math
import re

import pytest
import torch
from torch import Tensor

from helpers.classroom import cards
from helpers.classroom.cards import _card, _token_tree, _tree, _tree_state
from helpers.gpt import GPT, GPTConfig, gpt2, next_probs
from tests.cards import BreakableModel

V = 50257
MAX_STATE_BYTES = 20_000
QUESTION = {"n": 1, "version": 0, "path": [], "do": "draw", "id": None, "temperature": 1.0, "top_k": None}


@pytest.fixture(scope="module")
def table() -> Tensor:
    return 3 * torch.randn(7, V, generator=torch.Generator().manual_seed(5))


@pytest.fixture
def model(table: Tensor):  # a model of 50,257 scores that depend on the last token only
    return lambda token_ids: table[token_ids % 7]


@pytest.fixture
def tree(model) -> _tree.SamplingTree:
    return cards.sampling_tree(model)


def scores(table: Tensor, path: list[int]) -> Tensor:
    return table[[*gpt2().encode("The captain"), *path][-1] % 7]


@pytest.mark.parametrize("top_k", _tree_state.TOP_K)
def test_branches_carry_the_probabilities_of_the_whole_vocabulary(table: Tensor, top_k: int | None) -> None:
    for logits in table[:2]:
        node = json.loads(json.dumps(_token_tree.expand(logits)))
        for temperature in _tree_state.TEMPERATURES:
            exact = next_probs(logits.double(), temperature=temperature, top_k=top_k)
            ours = _tree_state.branch_probs(node, temperature, top_k)
            assert ours[:-1] == pytest.approx(exact[node[0]].tolist(), abs=1e-4)
            assert sum(ours) == pytest.approx(1, abs=1e-4) and node[0] == logits.topk(5).indices.tolist()


def test_a_token_of_the_rest_has_its_probability_too(table: Tensor) -> None:
    logits = table[3]
    node, token_id = _token_tree.expand(logits), int(logits.argsort(descending=True)[30])
    step = _token_tree.step_taken(logits, token_id, "drawn")
    assert step[0] == token_id and step[3:] == ["drawn", 30]
    assert step[2] == pytest.approx(torch.log_softmax(logits.double(), -1)[token_id].item(), abs=1e-5)
    for temperature, top_k in ((0.7, None), (1.3, 50), (1.0, 10)):
        p = _tree_state.token_prob(node, -node[3][9] - step[2], 30, temperature, top_k)
        exact = next_probs(logits.double(), temperature=temperature, top_k=top_k)[token_id].item()
        assert p == pytest.approx(exact, abs=1e-4) and (p > 0) == (exact > 0)


def test_a_node_by_hand() -> None:
    logits = torch.full((V,), -math.inf)
    logits[torch.arange(60)] = -40.0
    logits[[11, 22, 33]] = torch.tensor([0.5, 0.25, 0.25]).log()
    node = _token_tree.expand(logits)
    assert node[0][:3] == [11, 22, 33] and node[2][:2] == [round(math.log(2), 5)] * 2
    assert node[3][9] == pytest.approx(math.log(2), abs=1e-4)  # at temperature 1: -ln p of the favourite
    assert node[3][4] == pytest.approx(math.log(1.5), abs=1e-4)  # at 1/2: 1 + 1/4 + 1/4
    assert _tree_state.branch_probs(node, 1.0, None) == pytest.approx([0.5, 0.25, 0.25, 0, 0, 0], abs=1e-4)
    assert _tree_state.branch_probs(node, 1.0, 2) == pytest.approx([2 / 3, 1 / 3, 0, 0, 0, 0], abs=1e-4)
    assert _tree_state.branch_probs(node, 0.0, None) == [1, 0, 0, 0, 0, 0]


def test_labels_are_those_of_python() -> None:
    logits = torch.zeros(V)
    ids = [gpt2().encode(t)[0] for t in ("'s", " the", "\n", '"', "\t")]
    logits[ids] = torch.arange(9.0, 4.0, -1)
    labels = _token_tree.expand(logits)[1].split("\t")
    assert [_tree_state._quoted(label) for label in labels] == ['"\'s"', "' the'", "'\\n'", "'\"'", "'\\t'"]


def test_draws_have_the_frequencies_that_the_branches_show(table: Tensor) -> None:
    logits, generator = table[2], torch.Generator().manual_seed(3)
    state = torch.random.get_rng_state()
    node, n = _token_tree.expand(logits), 400
    drawn = [_token_tree.draw(logits, 0.4, 3, generator) for _ in range(n)]
    for token_id, p in zip(node[0], _tree_state.branch_probs(node, 0.4, 3), strict=False):
        assert abs(drawn.count(token_id) / n - p) <= 4 * math.sqrt(p * (1 - p) / n)
    rest = {_token_tree.draw(logits, 1.0, None, generator, rest=True) for _ in range(50)}
    assert not rest & set(node[0]) and len(rest) > 20
    assert {_token_tree.draw(logits, 0.0, None, generator) for _ in range(5)} == {node[0][0]}
    assert torch.equal(torch.random.get_rng_state(), state), "the global generator was moved"
    again = torch.Generator().manual_seed(3)
    assert [_token_tree.draw(logits, 0.4, 3, again) for _ in range(20)] == drawn[:20]
    with pytest.raises(ValueError, match="raise top-k and the temperature"):
        _token_tree.draw(logits, 1.0, 5, generator, rest=True)


def test_the_probability_of_a_path_is_the_product_of_its_steps(tree, table: Tensor) -> None:
    path = [step[0] for step in tree.first["path"]]
    product = 1.0
    for n, token_id in enumerate(path):
        product *= torch.softmax(scores(table, path[:n]).double(), -1)[token_id].item()
    assert math.exp(_tree_state.log_prob(tree.first["path"])) == pytest.approx(product, rel=1e-4)
    state = _tree_state.tree_state(tree.values, tree.first)
    assert state["own_p"] == _tree_state._number(math.log(product)) and len(path) == 3
    greedy = []
    for _ in range(4):
        greedy.append(int(scores(table, greedy).argmax()))
    ids = tuple(step[0] for step in tree.tree.greedy)
    assert ids == tuple(greedy)
    likeliest = [torch.log_softmax(scores(table, greedy[:n]).double(), -1).max().item() for n in range(4)]
    assert [p for _, p in tree.first["greedy"]] == pytest.approx(likeliest, abs=1e-4)


def test_a_path_may_be_likelier_than_the_greedy_one(tree) -> None:
    path = [[1, "a", math.log(0.3), "drawn", 1], [2, "b", math.log(0.9), "drawn", 0]]
    better = tree.first | {"path": path, "greedy": [["c", math.log(0.4)], ["d", math.log(0.375)]]}
    assert _tree_state._versus(better).startswith("This path is 1.8 times as probable as the greedy one")  # .27 / .15
    worse = better | {"greedy": [["c", math.log(0.75)], ["d", math.log(0.9)]]}
    assert _tree_state._versus(worse) == "The greedy path is 2.5 times as probable as this one."
    assert _tree_state._versus(better | {"greedy": [[s[1], s[2]] for s in path]}) == "As probable as the greedy path."


@pytest.mark.parametrize(
    ("log", "text"),
    [(0.0, "1.00"), (math.log(0.5), "0.5000"), (math.log(0.0123), "0.0123"), (math.log(1e-6), "1.0e-06"),
     (-1000.0, "5.1e-435"), (math.log(2.5e9), "2.5e+09"), (math.log(12.34), "12.3")],
)  # fmt: skip
def test_numbers_beyond_a_float_are_written_too(log: float, text: str) -> None:
    assert _tree_state._number(log) == text


def test_the_first_state_is_whole_small_and_true(tree) -> None:
    state = _tree_state.tree_state(tree.values, tree.first)
    page = _card.fill(_tree_state.template(tree.values, tree.first), {k: v for k, v in state.items() if k != "summary"})
    assert len(json.dumps(tree.first, ensure_ascii=False).encode()) < MAX_STATE_BYTES
    assert page.count('aria-pressed="true"') == 3 and "next token" in page and "<svg" in page
    assert repr(tree).startswith("sampling tree: After “The captain” came 3 tokens, “")
    favourites = [tree.first["nodes"][""][0][:4]]
    assert sum(k.count(",") == 1 for k in tree.first["nodes"]) >= 16 and set(favourites[0]) <= {
        int(k) for k in tree.first["nodes"] if k and "," not in k
    }
    for name in re.findall(r'<input[^>]* id="([^"]+)"', page):
        assert f'for="{name}"' in page


def test_every_slider_position_has_a_state(tree) -> None:
    for t, k, back in itertools.product((0, 1, 10, 20), range(7), (0, 1)):
        state = _tree_state.tree_state({"temperature": t, "top_k": k, "back": back}, tree.first)
        shares = [float(state[f"b3{j}@style"][4:-1]) for j in range(6) if state.get(f"b3{j}@hidden", "") is None]
        assert not shares or sum(shares) == pytest.approx(100, abs=0.3)


def test_looking_back_shows_the_earlier_steps(tree, model) -> None:
    path = tree.first["path"]
    for n in range(3, 6):
        reply = tree.answer(QUESTION | {"n": n, "path": [step[0] for step in path]})
        path = [*path, reply["add"]]
        tree.first["nodes"][reply["key"]] = reply["node"]
    config = tree.first | {"path": path, "greedy": reply["greedy"]}
    now, before = (_tree_state.tree_state(tree.values | {"back": b}, config) for b in (0, 3))
    assert now["h0"].startswith("4 · ") and now["h3"] == "7 · next token"
    assert before["h0"].startswith("1 · ") and before["h3"].startswith("4 · ") and before["back_text"] == "3 steps"
    assert _tree_state.tree_state(tree.values | {"back": 9}, config) == before


def test_answers_to_the_page(tree, table: Tensor) -> None:
    best = scores(table, []).topk(5).indices.tolist()
    favourite = tree.answer(QUESTION | {"do": "favourite"})
    assert favourite["add"][0] == best[0] and favourite["add"][3:] == ["favourite", 0] and favourite["error"] is None
    assert favourite["node"] == _token_tree.expand(scores(table, best[:1])) and favourite["key"] == str(best[0])
    taken = tree.answer(QUESTION | {"do": "take", "id": best[2], "path": best[:1], "n": 4})
    assert taken["add"][3] == "your choice" and taken["key"] == f"{best[0]},{best[2]}" and taken["n"] == 4
    assert len(taken["greedy"]) == 2 and taken["ms"] >= 0
    rest = tree.answer(QUESTION | {"do": "rest"})
    assert rest["add"][3:4] == ["drawn from the rest"] and rest["add"][0] not in best
    refused = tree.answer(QUESTION | {"do": "rest", "top_k": 2})
    assert "raise top-k" in refused["error"] and "add" not in refused
    assert tree.answer(QUESTION | {"temperature": 0.0})["add"][0] == best[0]
    old = tree.answer(QUESTION | {"version": 3})
    assert old["reset"]["path"] == [] and old["reset"]["version"] == 0


def test_the_two_hidden_widgets_carry_question_and_answer(tree) -> None:
    tree.card_ids = ["tree-9", "tree-11"]
    tree.question.value = json.dumps(QUESTION | {"n": 12})
    assert told(tree)["n"] == 12 and len(told(tree)["add"]) == 5
    assert 'data-tree-feed="tree-9 tree-11"' in tree.feed.value


def asked(tree: _tree.SamplingTree, path: list[int], n: int, **settings) -> int:
    """The token that the page is told after the question went through the hidden widgets."""
    tree.question.value = json.dumps(QUESTION | {"n": n, "path": path} | settings)
    return told(tree)["add"][0]


def test_draws_made_ahead_are_the_draws_that_would_have_been_made(model) -> None:
    ahead, plain = (cards.sampling_tree(model, n_drawn=0, seed=3) for _ in range(2))
    path = []
    for n in range(20):
        path.append(asked(ahead, path, n))
        assert ahead.ahead, "nothing was drawn ahead"
        plain.ahead = None
        assert plain.answer(QUESTION | {"path": path[:-1], "n": n})["add"][0] == path[-1]


def test_a_model_that_fails_while_drawing_ahead_leaves_no_trace(table: Tensor) -> None:
    """The reader has the answer by then; what fails is met again when it is asked for."""
    tree = cards.sampling_tree(BreakableModel(lambda token_ids: table[token_ids % 7]), n_drawn=0, seed=3)
    plain = cards.sampling_tree(lambda token_ids: table[token_ids % 7], n_drawn=0, seed=3)
    look_ahead = tree._look_ahead

    def then_fail(*given: object) -> None:
        tree.tree.greedy_path(9)  # the model fails after the draw only
        tree.model.error = RuntimeError("out of memory")
        look_ahead(*given)

    tree._look_ahead = then_fail
    assert asked(tree, [], 1) == plain.answer(QUESTION)["add"][0] and tree.ahead is None
    assert torch.equal(tree.generator.get_state(), plain.generator.get_state())


def test_in_a_kernel_the_next_draw_is_made_after_a_pause_unless_something_is_asked_before(model) -> None:
    tree = cards.sampling_tree(model, n_drawn=0, seed=3)

    async def reader() -> None:
        first = asked(tree, [], 1)
        assert tree.ahead is None and tree.waiting, "the answer waits for nothing"
        second = asked(tree, [first], 2)
        await asyncio.sleep(4 * _tree.PAUSE_S)
        assert tree.ahead.of[0] == (first, second), "the first one's was made, or none"
        asked(tree, [first, second], 3)
        tree.box.value = "another"
        await asyncio.sleep(4 * _tree.PAUSE_S)
        assert tree.ahead is None, "made for a prompt that is gone"

    asyncio.run(reader())


@pytest.mark.parametrize("other", [{"do": "favourite"}, {"temperature": 0.5}, {"top_k": 3}, {"path": []}])
def test_a_draw_made_ahead_that_is_not_wanted_leaves_no_trace(model, other: dict) -> None:
    ahead, plain = (cards.sampling_tree(model, n_drawn=0, seed=3) for _ in range(2))
    first = asked(ahead, [], 1)
    assert plain.answer(QUESTION)["add"][0] == first
    question = QUESTION | {"path": [first]} | other
    answers = [tree.answer(question) for tree in (ahead, plain)]
    assert answers[0]["add"] == answers[1]["add"] and answers[0]["node"] == answers[1]["node"]
    assert torch.equal(ahead.generator.get_state(), plain.generator.get_state())


def test_another_prompt_starts_another_tree(tree) -> None:
    tree.box.value = "Não é só um café ☕ <b>"
    assert told(tree)["reset"]["prompt"] == "Não é só um café ☕ <b>" and told(tree)["reset"]["version"] == 1
    tree.question.value = json.dumps(QUESTION | {"version": 1, "n": 2})
    assert told(tree)["key"]
    tree.box.value = ""
    assert told(tree)["error"].startswith("The prompt is empty") and tree.version == 1
    assert "The prompt is empty" in tree.status.value
    tree.box.value = "again"
    assert told(tree)["reset"]["version"] == 2 and "1 token<" in tree.status.value


def test_an_error_of_the_model_is_shown(table: Tensor) -> None:
    model = BreakableModel(lambda token_ids: table[token_ids % 7])
    tree = cards.sampling_tree(model)
    model.error = RuntimeError("out of <memory>")
    asked = QUESTION | {"path": [9]}
    assert tree.answer(asked)["error"] == "The model failed: RuntimeError: out of <memory>."
    tree.box.value = "another"
    assert told(tree) == {"error": "The model failed: RuntimeError: out of <memory>."}
    model.error = None
    assert tree.answer(asked)["error"] is None


def test_a_path_beyond_the_context_is_read_from_its_end_and_the_card_says_so() -> None:
    config = GPTConfig(vocab_size=V, context_length=5, emb_dim=10, n_heads=2, n_layers=1, drop_rate=0.9)
    gpt = GPT(config).train()
    tree = cards.sampling_tree(gpt, "one two three four")
    assert gpt.training
    path = [step[0] for step in tree.first["path"]]
    ids = torch.tensor([[*gpt2().encode("one two three four"), *path][-5:]])
    with torch.no_grad():
        exact = gpt.eval()(ids)[0, -1]
    assert tree.tree.logits(tuple(path)) == pytest.approx(exact, abs=1e-5)
    note = _tree_state.tree_state(tree.values, tree.first)["notice"]
    assert note.startswith("The model reads only the last 5 tokens, so the first 2 are not seen.")


def test_the_kernel_remembers_only_so_much(table: Tensor) -> None:
    read = []

    def model(token_ids: Tensor) -> Tensor:
        read.append(tuple(token_ids[0, 1:].tolist()))
        return table[token_ids % 7]

    tree = _token_tree.TokenTree(model, "a")
    for i in range(_token_tree.KEPT + 5):
        tree.logits((i,))
        tree.logits((0,))
    assert len(tree.remembered) == _token_tree.KEPT and (1,) not in tree.remembered
    assert read.count((0,)) == 1, "what is used again and again stays"


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"temperature": 2.5}, r"in \[0, 2\] in steps of 0.1"), ({"temperature": 0.55}, "steps of 0.1"),
     ({"top_k": 4}, "one of 1, 2, 3, 5, 10, 50, None"), ({"n_drawn": 4}, r"in \[0, 3\]"), ({"prompt": ""}, "empty")],
)  # fmt: skip
def test_settings_that_the_card_does_not_have(model, settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cards.sampling_tree(model, **settings)


def test_a_model_over_another_vocabulary_is_refused() -> None:
    with pytest.raises(ValueError, match=r"50,257 tokens, got scores of shape \(11,\)"):
        cards.sampling_tree(lambda ids: torch.zeros(*ids.shape, 11))


def test_the_tree_displays_card_then_box(tree, capsys: pytest.CaptureFixture) -> None:
    tree._ipython_display_()  # outside IPython, display prints the plain texts
    (card_id,) = tree.card_ids
    assert re.fullmatch(r"tree-\d+", card_id) and f"cw-ask-{card_id}" in tree.question._dom_classes


def told(tree: _tree.SamplingTree) -> dict:
    return json.loads(html.unescape(re.search(r'data-message="([^"]*)"', tree.feed.value)[1]))


def test_among_equals_the_branches_are_those_that_can_be_drawn() -> None:
    logits = torch.zeros(V)
    logits[7] = 1.0
    assert _token_tree.favourites(logits, 4).tolist() == [7, 0, 1, 2]


def test_a_model_that_was_trained_meanwhile_is_asked_anew() -> None:
    torch.manual_seed(0)
    gpt = GPT(GPTConfig(V, 8, 12, 2, 1))
    tree = _token_tree.TokenTree(gpt, "The captain")
    before, greedy = tree.logits((5,)), tree.greedy_path(3)
    with torch.no_grad():
        gpt.token_embedding.weight.mul_(2)
    anew = _token_tree.TokenTree(gpt, "The captain")
    assert tree.greedy_path(3) == anew.greedy_path(3) != greedy
    after = tree.logits((5,))
    assert not torch.equal(before, after)
    torch.testing.assert_close(after, anew.logits((5,)))


def test_a_draw_made_ahead_by_a_model_that_was_trained_since_is_made_anew() -> None:
    torch.manual_seed(0)
    gpt = GPT(GPTConfig(V, 8, 12, 2, 1))
    ahead, plain = (cards.sampling_tree(gpt, n_drawn=0, seed=3) for _ in range(2))
    path = [asked(ahead, [], 1)]
    assert plain.answer(QUESTION)["add"][0] == path[0]
    with torch.no_grad():
        gpt.token_embedding.weight.mul_(2)
    question = QUESTION | {"path": path}
    assert ahead.answer(question)["node"] == plain.answer(question)["node"]


def test_a_tree_shown_again_shows_the_prompt_that_was_typed_meanwhile(tree, capsys: pytest.CaptureFixture) -> None:
    tree._ipython_display_()
    tree.box.value = "A word"
    tree._ipython_display_()
    assert "After “A word”" in repr(tree) and tree.first["version"] == tree.version == 1
    assert len(tree.card_ids) == 2
