"""The six steps from logits to the loss, one after the other, on two sentences that the reader may change."""

from collections.abc import Sequence

import torch
from torch import Tensor

from helpers.classroom.cards._card import Card
from helpers.classroom.cards._kernel import KernelCard, Model, check_vocabulary, line, on_device
from helpers.gpt import IGNORED_TARGET, evaluating, gpt2, next_token_loss, perplexity, token_labels, tokenizer

MAX_TARGETS = 15  # rows per sentence on the card: 16 tokens
N_TOP = 3
PADDING_ID = 0  # what the shorter sentence is filled up with; nothing before it can see it, nothing there is scored


class LossStepper(KernelCard):
    """A card that goes through the six steps on two short sentences, with lines to type others.

    model   token_ids (B, T) -> logits (B, T, V)
    first, second  sentences of 2 to 16 GPT-2 tokens
    vocabulary  GPT-2's id of each of the model's V tokens, where it knows only some of them; None: all, in their order

    ValueError: a sentence that is empty, too short or too long, or has a token that the model does not know; typed into
    a line, it becomes a message on the card.
    """

    def __init__(
        self,
        model: Model,
        first: str = "every effort moves you",
        second: str = "I really like chocolate",
        *,
        vocabulary: Sequence[int] | Tensor | None = None,
    ) -> None:
        self.all = vocabulary is None
        self.ids = range(gpt2().n_vocab) if self.all else torch.as_tensor(vocabulary).tolist()  # GPT-2's
        self.places = {token_id: place for place, token_id in enumerate(self.ids)}
        texts = {"first sentence": first, "second sentence": second}
        super().__init__(model, [line(name, text, every_key=False) for name, text in texts.items()])
        self.read(first, second)

    def card(self) -> Card:
        loss, sentences = self.config["cross_entropy"], self.config["sentences"]
        rows = [row for sentence in sentences for row in sentence["rows"]]
        first, second = (sentence["text"] for sentence in sentences)
        return Card(
            kind="stepper",
            title="From logits to the loss in six steps",
            sentence=f"“{first}” and “{second}”: loss {loss:.2f} nats over {len(rows)} targets, perplexity "
            f"{perplexity(loss):,.0f}.",
            values={"step": 1},
            config=self.config,
            table=[
                ("input", "target", "ln p(target)"),
                *((row["input"], row["target"], f"{row['logit'] - row['log_sum']:.2f}") for row in rows),
            ],
            still="Run this cell to go through the steps.",
            attributes='data-arrows="step" data-fed="change"',
        )

    @torch.no_grad()
    def read(self, first: str, second: str) -> dict:
        """What the page's script goes through: per target the highest logits, its own, and ln sum exp of all V.

        Sentences of different length are padded to one batch; padded targets are -100 and are not scored.
        `cross_entropy` is the library's loss, beside which the script's own stands.
        """
        sequences = [self.encode(first, "first"), self.encode(second, "second")]
        longest = max(map(len, sequences)) - 1
        inputs = [s[:-1] + [PADDING_ID] * (longest + 1 - len(s)) for s in sequences]
        targets = torch.tensor([s[1:] + [IGNORED_TARGET] * (longest + 1 - len(s)) for s in sequences])
        with evaluating(self.model):
            logits = self.model(on_device(self.model, inputs)).float().cpu()  # (2, T, V)
        if self.all:
            check_vocabulary(logits)
        elif logits.shape[-1] != len(self.ids):
            raise ValueError(
                f"expected scores of the {len(self.ids):,} tokens in `vocabulary`, got {logits.shape[-1]:,}"
            )
        self.config = {
            "V": logits.shape[-1],
            "sentences": [
                {"text": text, "rows": [self._row(logits[i, t], *ids[t : t + 2]) for t in range(len(ids) - 1)]}
                for i, (text, ids) in enumerate(zip((first, second), sequences, strict=True))
            ],
            "cross_entropy": next_token_loss(logits, targets).item(),
            "error": None,
        }
        return self.config

    def failed(self, error: str) -> dict:
        return self.config | {"error": f"{error} Below: the last two sentences that worked."}

    def encode(self, text: str, name: str) -> list[int]:
        """The model's ids of a sentence. ValueError: too few tokens, too many, or unknown ones."""
        ids = tokenizer.encode(gpt2(), text) if text.strip() else []
        if not 2 <= len(ids) <= MAX_TARGETS + 1:
            got = "nothing" if not ids else f"{len(ids)} token{'s' * (len(ids) > 1)} in {text[:60]!r}"
            raise ValueError(f"The {name} sentence needs 2 to {MAX_TARGETS + 1} tokens, got {got}")
        if unknown := [i for i in ids if i not in self.places]:
            raise ValueError(
                f"The model knows {len(self.ids):,} tokens; the {name} sentence has others: "
                f"{', '.join(token_labels(unknown))}"
            )
        return [self.places[i] for i in ids]

    def _row(self, logits: Tensor, token_id: int, target: int) -> dict:
        top = logits.topk(N_TOP)
        shown, wanted, *best = token_labels([self.ids[i] for i in (token_id, target, *top.indices.tolist())])
        return {
            "input": shown,
            "target": wanted,
            "top": list(zip(best, top.values.tolist(), strict=True)),
            "logit": logits[target].item(),
            "rank": 1 + int((logits > logits[target]).sum()),
            "log_sum": logits.double().logsumexp(-1).item(),
        }
