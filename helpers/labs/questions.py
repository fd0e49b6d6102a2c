"""Twenty questions with four options each, written for the course in two languages; a model answers by likelihood.

What is asked, a schoolchild knows. The right option stands at each position equally often, and is seldom the longest.
"""

import json
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import tiktoken
import torch

from helpers.gpt import GPT, evaluating, require_one_of, token_losses, tokenizer

QUESTIONS = Path(__file__).parents[1] / "assets" / "questions.json"
FORMS = {"english": "Question: {}\nAnswer:", "portuguese": "Pergunta: {}\nResposta:"}


@dataclass(frozen=True)
class Question:
    """A question as a prompt, what may follow it, and which of these is right."""

    name: str
    prompt: str
    options: tuple[str, ...]
    answer: int


@dataclass(frozen=True)
class Scores:
    """How likely a model finds each option of a question: ln p of the whole, and what it is divided by."""

    log_probs: tuple[float, ...]  # nats
    n_tokens: tuple[int, ...]
    n_bytes: tuple[int, ...]

    def choice(self, per: str) -> int:
        """The option of the highest ln p: "option" as it is, per "token", or per "byte". ValueError: another; NaN."""
        if any(map(math.isnan, self.log_probs)):
            raise ValueError(f"expected ln p of each option, got {self.log_probs}: the model's scores are no numbers")
        sizes = {"option": (1,) * len(self.log_probs), "token": self.n_tokens, "byte": self.n_bytes}
        require_one_of(sizes, per=per)
        means = [log_prob / size for log_prob, size in zip(self.log_probs, sizes[per], strict=True)]
        return means.index(max(means))


@cache
def questions(language: str = "english") -> tuple[Question, ...]:
    """The twenty, in a fixed order; the same in both languages. ValueError: another language."""
    require_one_of(FORMS, language=language)
    found = []
    for row in json.loads(QUESTIONS.read_text(encoding="utf-8")):
        asked = row[language]
        prompt, options = FORMS[language].format(asked["question"]), (f" {option}" for option in asked["options"])
        found.append(Question(row["name"], prompt, tuple(options), row["answer"]))
    return tuple(found)


@torch.no_grad()
def score(model: GPT, encoding: tiktoken.Encoding, question: Question) -> Scores:
    """ln p of each option after the prompt, summed over its tokens: one forward pass, an option a sequence.

    Source: Brown et al. 2020 (GPT-3), section 2.4, for scoring options by likelihood; Gao 2021, "Multiple Choice
    Normalization in LM Evaluation", for the division by bytes.
    """
    asked = tokenizer.encode(encoding, question.prompt)
    answers = [tokenizer.encode(encoding, option) for option in question.options]
    n_columns = len(asked) + max(map(len, answers))
    rows = [asked + answer + [0] * (n_columns - len(asked) - len(answer)) for answer in answers]
    ids = torch.tensor(rows, device=model.token_embedding.weight.device)  # (4, T), filled up where nobody looks
    with evaluating(model):
        hidden = model.hidden(ids[:, :-1])[:, len(asked) - 1 :]
        losses = token_losses(model.head(hidden), ids[:, len(asked) :]).cpu()  # (4, longest answer)
    n_tokens = tuple(map(len, answers))
    log_probs = (-losses[i, :n].double().sum().item() for i, n in enumerate(n_tokens))
    return Scores(tuple(log_probs), n_tokens, tuple(len(option.encode()) for option in question.options))
