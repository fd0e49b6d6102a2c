"""The toy language's grammar, one for both lexicons: which tasks a sentence still has, and which words begin each.

A document is about a hero and a topic, both named in its title; nouns and pronouns depend on them to its end. What is
still to be written is a stack of tasks, so that a verb can wait for the end of a relative clause and still agree with
its subject; the first one is replaced by others until a word stands first. A cell is one of the table of inflections:
"s" or "p" in English, "fs" (feminine singular) and the like in Portuguese; its last letter is the number.
"""

import json
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from math import fsum

from helpers.gpt import require_one_of
from helpers.labs.texts.language import END_OF_TEXT, PARAGRAPH, Rules, ToyLanguage
from helpers.labs.texts.stories import ASSETS

LEXICONS = ("english", "portuguese")
Cells = frozenset[str]
Task = str | tuple  # a word to be written, or (name of a method of _Grammar, *its arguments)
Option = tuple[float, tuple[Task, ...]]  # share of the cases, and the tasks that take the place of a task
State = tuple[str, str, tuple[Task, ...]]  # hero, topic, stack

# what share of the cases; the entropy follows from these
HERO_NAMED, HERO_PRONOUN, OPENER = 0.22, 0.13, 0.15
NEW_PARAGRAPH, LAST_SENTENCE = 0.16, 0.06
INTRANSITIVE, SECOND_PREDICATE = 0.4, 0.2
ADJECTIVE, RELATIVE_OF_SUBJECT, RELATIVE_OF_OBJECT, RELATIVE_WITH_SUBJECT = 0.35, 0.3, 0.15, 0.35
HERO_AS_OBJECT, HERO_IN_RELATIVE, ACTOR_AS_OBJECT = 0.12, 0.3, 0.35
PLACE_OR_MANNER, PLACE = 0.6, 0.65
ON_TOPIC = 0.88
RANK_SHIFT = 2


@dataclass(frozen=True)
class Lexicon:
    """The words of one language; within a class the first words are the frequent ones."""

    heroes: dict[str, str]  # name -> pronoun
    topics: dict[str, str]  # noun -> its article in the title
    nouns: dict[str, dict[str, dict[str, str]]]  # topic -> "actor", "thing" or "place" -> word -> cell
    determiners: dict[str, Cells]  # word -> the cells it can stand with; so the next two
    adjectives: dict[str, Cells]
    prepositions: dict[str, Cells]
    place_article: str  # the word between preposition and noun; empty where the preposition contains it
    intransitive: dict[str, list[str]]  # number -> verbs
    transitive: dict[str, list[str]]
    relatives: dict[str, str]  # "actor" or "thing" -> the pronoun that opens a relative clause
    adjective_first: bool  # whether the adjective stands before the noun
    conjunction: str
    openers: list[str]
    manners: list[str]


def toy_language(name: str = "english") -> ToyLanguage:
    """The course's toy language: short absurd stories, grammatical ones, whose entropy is known exactly.

    name    "english" or "portuguese"; one grammar, but Portuguese also agrees in gender
    return  the same object at every call

    A title names a hero and a topic, and both matter to the end of the document, far beyond the previous word; verbs
    agree with their subject across relative clauses; the number of sentences is geometric, so that lengths vary widely.
    ValueError: an unknown name.
    """
    require_one_of(LEXICONS, name=name)
    return _built(name)


@cache
def _built(name: str) -> ToyLanguage:
    words = json.loads((ASSETS / "lexicons" / f"{name}.json").read_text(encoding="utf-8"))
    for kind in ("determiners", "adjectives", "prepositions"):
        words[kind] = {word: frozenset(cells.split()) for word, cells in words[kind].items()}
    return ToyLanguage.from_rules(_rules_of(Lexicon(**words)))


def _rules_of(words: Lexicon) -> Rules:
    """Every state that a document can come to, with its options."""
    start: State = ("", "", (("title",),))
    rules: dict[State, list[tuple[str, float, State]]] = {}
    waiting = deque([start])
    while waiting:
        state = waiting.popleft()
        if state not in rules:
            options = _moves(words, state)
            rules[state] = [(word, weight, start if word == END_OF_TEXT else after) for word, weight, after in options]
            waiting.extend(after for _, _, after in rules[state])
    return rules


def _moves(words: Lexicon, state: State) -> list[tuple[str, float, State]]:
    """The words that can come next, each with its weight and the state after it."""
    hero, topic, (task, *rest) = state
    if isinstance(task, str):
        return [(task, 1.0, (hero, topic, tuple(rest)))]
    name, *arguments = task
    if name == "about":
        return _moves(words, (*arguments, tuple(rest)))
    found = []
    for share, tasks in getattr(_Grammar(words, hero, topic), name)(*arguments):
        moves = _moves(words, (hero, topic, (*tasks, *rest)))
        found += [(word, share * weight, after) for word, weight, after in moves]
    return found


def _ranked(words: Iterable[str], share: float = 1.0) -> list[Option]:
    """A share divided among words as 1/3, 1/4, 1/5, ...: within a class the first words are the frequent ones.

    Source: Mandelbrot 1953, whose law adds a constant to the rank of Zipf's.
    """
    words = list(words)
    weights = [1 / (rank + RANK_SHIFT) for rank in range(1, len(words) + 1)]
    total = fsum(weights)  # sum rounds otherwise from Python 3.12 on
    return [(share * weight / total, (word,)) for word, weight in zip(words, weights, strict=True)]


@dataclass(frozen=True)
class _Grammar:
    """A method per task of a document about `hero` and `topic`: what can stand in its place."""

    words: Lexicon
    hero: str
    topic: str

    def title(self) -> list[Option]:
        rest = (self.words.conjunction, ("title_article",))
        return [(weight, (name, ("about", name, ""), *rest)) for weight, (name,) in _ranked(self.words.heroes)]

    def title_article(self) -> list[Option]:
        articles = Counter(self.words.topics.values())
        return [(n, (article, ("title_topic", article))) for article, n in articles.items()]

    def title_topic(self, article: str) -> list[Option]:
        topics = [topic for topic, own in self.words.topics.items() if own == article]
        return [(1.0, (topic, ("about", self.hero, topic), PARAGRAPH, ("sentence",))) for topic in topics]

    def maybe(self, share: float, *tasks: Task) -> list[Option]:
        return [(share, tasks), (1 - share, ())]

    def sentence(self, capital: bool = True) -> list[Option]:
        def cased(word: str) -> str:
            return word[0].upper() + word[1:] if capital else word

        after_hero = (*self._predicate("s", hero_is_subject=True), ".", ("after_stop",))
        pronoun = cased(self.words.heroes[self.hero])
        options = [(HERO_NAMED, (self.hero, *after_hero)), (HERO_PRONOUN, (pronoun, *after_hero))]
        share = 1 - HERO_NAMED - HERO_PRONOUN
        if capital:
            options += [(w, (word, ",", ("sentence", False))) for w, (word,) in _ranked(self.words.openers, OPENER)]
            share -= OPENER
        for weight, (word, phrase) in self.determiner("subject"):
            options.append((share * weight, (cased(word), phrase, ".", ("after_stop",))))
        return options

    def after_stop(self) -> list[Option]:
        going_on = (1 - NEW_PARAGRAPH - LAST_SENTENCE, (("sentence",),))
        return [(NEW_PARAGRAPH, (PARAGRAPH, ("sentence",))), (LAST_SENTENCE, (END_OF_TEXT,)), going_on]

    def determiner(self, role: str) -> list[Option]:
        cells = self.words.determiners
        return [(weight, (word, ("phrase", role, cells[word]))) for weight, (word,) in _ranked(cells)]

    def phrase(self, role: str, cells: Cells) -> list[Option]:
        """What follows a determiner: a noun, before it perhaps an adjective where the language puts it there."""
        if not self.words.adjective_first or role.startswith("inner"):
            return self.noun(role, cells)
        own = self.words.adjectives
        options: list[Option] = [(1 - ADJECTIVE, (("noun", role, cells),))]
        for weight, (word,) in self.adjective(cells):
            options.append((ADJECTIVE * weight, (word, ("noun", role, cells & own[word]))))
        return options

    def adjective(self, cells: Cells) -> list[Option]:
        return _ranked(word for word, own in self.words.adjectives.items() if own & cells)

    def noun(self, role: str, cells: Cells) -> list[Option]:
        """Nouns of a role in some cells: ON_TOPIC of the cases from the document's topic, the rest from the others."""
        kinds = {"place": 1.0} if role == "place" else {"actor": 1.0}
        if "object" in role:
            kinds = {"actor": ACTOR_AS_OBJECT, "thing": 1 - ACTOR_AS_OBJECT}
        options: list[Option] = []
        for kind, share in kinds.items():
            for other, nouns in self.words.nouns.items():
                part = ON_TOPIC if other == self.topic else (1 - ON_TOPIC) / (len(self.words.nouns) - 1)
                fitting = {word: cell for word, cell in nouns[kind].items() if cell in cells}
                for weight, (word,) in _ranked(fitting, share * part):
                    options.append((weight, (word, *self._after_noun(role, kind, fitting[word]))))
        return options

    def _after_noun(self, role: str, kind: str, cell: str) -> Iterator[Task]:
        number, full = cell[-1], role in ("subject", "object")
        if full and not self.words.adjective_first:
            yield "maybe", ADJECTIVE, ("adjective", frozenset({cell}))
        if full:
            share = RELATIVE_OF_SUBJECT if role == "subject" else RELATIVE_OF_OBJECT
            yield "maybe", share, self.words.relatives[kind], ("clause", kind, number)
        if role == "subject":
            yield from self._predicate(number, hero_is_subject=False)
        if role == "inner subject":
            yield "transitive", number

    def clause(self, kind: str, number: str) -> list[Option]:
        """ "who sees the boat", agreeing with the noun before, or "who the gulls see"; things do not act."""
        with_subject = RELATIVE_WITH_SUBJECT if kind == "actor" else 1.0
        options: list[Option] = [
            (with_subject * HERO_IN_RELATIVE, (self.hero, ("transitive", "s"))),
            (with_subject * (1 - HERO_IN_RELATIVE), (("determiner", "inner subject"),)),
        ]
        if kind == "actor":
            options.append((1 - with_subject, (("transitive", number), ("determiner", "inner object"))))
        return options

    def _predicate(self, number: str, hero_is_subject: bool) -> tuple[Task, ...]:
        verb = ("verb", number, hero_is_subject)
        return (verb, ("maybe", SECOND_PREDICATE, self.words.conjunction, verb))

    def verb(self, number: str, hero_is_subject: bool) -> list[Option]:
        complement = ("maybe", PLACE_OR_MANNER, ("complement",))
        alone = [(w, (*word, complement)) for w, word in _ranked(self.words.intransitive[number], INTRANSITIVE)]
        return [*alone, (1 - INTRANSITIVE, (("transitive", number), ("object", hero_is_subject)))]

    def transitive(self, number: str) -> list[Option]:
        return _ranked(self.words.transitive[number])

    def object(self, hero_is_subject: bool) -> list[Option]:
        if hero_is_subject:  # nobody follows herself
            return self.determiner("object")
        return [(HERO_AS_OBJECT, (self.hero,)), (1 - HERO_AS_OBJECT, (("determiner", "object"),))]

    def complement(self) -> list[Option]:
        article = (self.words.place_article,) if self.words.place_article else ()
        cells = self.words.prepositions
        places = [(w, (word, *article, ("noun", "place", cells[word]))) for w, (word,) in _ranked(cells, PLACE)]
        return places + _ranked(self.words.manners, 1 - PLACE)
