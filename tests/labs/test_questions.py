"""Twenty questions: balanced, the same in both languages; options scored as a loop over single tokens scores them."""

import pytest
import torch

from helpers.gpt import GPT, GPTConfig, tokenizer
from helpers.labs import questions
from tests.support import refused

LANGUAGES = ("english", "portuguese")


@pytest.mark.parametrize("language", LANGUAGES)
def test_who_looks_only_at_places_or_lengths_learns_nothing(language):
    asked = questions.questions(language)
    assert len({question.name for question in asked}) == 20
    assert sorted(question.answer for question in asked) == sorted([0, 1, 2, 3] * 5)
    for question in asked:
        assert len(set(question.options)) == 4 and all(option.startswith(" ") for option in question.options)
    sizes = [[len(option.encode()) for option in question.options] for question in asked]
    for extreme in (max, min):
        right = sum(s.index(extreme(s)) == question.answer for s, question in zip(sizes, asked, strict=True))
        assert right <= 7, "a quarter is five"


def test_both_languages_ask_the_same():
    english, portuguese = map(questions.questions, LANGUAGES)
    assert [(q.name, q.answer) for q in english] == [(q.name, q.answer) for q in portuguese]
    assert english[0].prompt.endswith("\nAnswer:") and portuguese[0].prompt.endswith("\nResposta:")
    refused("english, portuguese, got 'latin'", questions.questions, "latin")


def test_scores_equal_a_loop_over_tokens():
    torch.manual_seed(0)
    model = GPT(GPTConfig(context_length=64, emb_dim=8, n_heads=2, n_layers=1, drop_rate=0.0))
    with torch.no_grad():
        model.token_embedding.weight *= 30
    encoding = tokenizer.gpt2()
    for question in questions.questions("portuguese")[:3]:
        scores = questions.score(model, encoding, question)
        for option, log_prob, n_tokens in zip(question.options, scores.log_probs, scores.n_tokens, strict=True):
            ids, expected = encoding.encode(question.prompt), 0.0
            for token in encoding.encode(option):
                expected += model(torch.tensor([ids]))[0, -1].log_softmax(-1)[token].item()
                ids.append(token)
            assert log_prob == pytest.approx(expected, abs=1e-3) and n_tokens == len(encoding.encode(option))


def test_the_way_to_score_decides():
    scores = questions.Scores((-4.0, -6.0, -5.0), (1, 3, 2), (2, 4, 10))
    assert [scores.choice(per) for per in ("option", "token", "byte")] == [0, 1, 2]
    refused("option, token, byte, got 'word'", scores.choice, "word")
    broken = questions.Scores((-4.0, float("nan"), -5.0), (1, 3, 2), (2, 4, 10))
    refused("expected ln p of each option, got .*nan", broken.choice, "token")
