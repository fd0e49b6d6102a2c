"""What a model in the kernel says about the next token after any text that is typed in."""

from helpers.classroom.cards._card import Card
from helpers.classroom.cards._kernel import KernelCard, Model, Reader, context_length, encode_prompt, line
from helpers.classroom.cards._sampling import sampling_card, sampling_config
from helpers.gpt import gpt2

SHOWN_CHARACTERS = 60  # of the prompt in the card's sentence


class NextToken(KernelCard):
    """The card of `sampling` on a model's scores for the token after any prompt, which may be typed below it.

    model   a GPT, or any function token_ids (1, T) -> logits (1, T, V) over GPT-2's vocabulary
    prompt  any text; of one longer than the context the end is read, and the card says so

    ValueError: an empty prompt, or a model over another vocabulary; typed, an empty prompt becomes a message.
    """

    def __init__(self, model: Model, prompt: str = "The captain") -> None:
        super().__init__(model, [line("prompt", prompt)])
        self.reader = Reader(model)
        self.read(prompt)

    def card(self) -> Card:
        return sampling_card(self.config, self.logits, fed="input")

    def read(self, prompt: str) -> dict:
        token_ids = encode_prompt(prompt)
        self.logits = self.reader.logits(token_ids)
        n, most, characters = len(token_ids), context_length(self.model), list(prompt.replace("\n", "⏎"))
        cut = characters if len(characters) <= SHOWN_CHARACTERS else ["…", *characters[1 - SHOWN_CHARACTERS :]]
        note = f"The prompt has {n:,} token{'s' * (n > 1)}"
        note += f": the model reads only the last {most:,}, the first {n - most:,} are not seen." if n > most else "."
        self.config = sampling_config(self.logits, gpt2(), prompt="".join(cut)) | {"note": note}
        return self.config

    def failed(self, error: str) -> dict:
        return self.config | {"error": f"{error} Below: the last prompt that worked."}
