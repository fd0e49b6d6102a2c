"""The toy language's grammar, one for both lexicons: which tasks a sentence still has, and which words begin each.

A document is about a hero and a topic, both named in its title; nouns and pronouns depend on them to its end. What is
still to be written is a stack of tasks, so that a verb can wait for the end of a relative clause and still agree with
its subject. A cell is one of the table of inflections: "s" or "p" in English, "fs" (feminine singular) and the like in
Portuguese; its last letter is the number.
"""

import json
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from math import fsum

from helpers.gpt import require_one_of
from helpers.labs.texts.language import END_OF_TEXT, PARAGRAPH, Rules, ToyLanguage
from helpers.labs.texts.stories import ASSETS

LEXICONS = ("english", "portuguese")
Cells = frozenset[str]
Task = tuple  # (name of a method of _Grammar, *its arguments)
Option = tuple[str, float, tuple[Task, ...]]  # word, weight, the tasks that it adds
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
    hero, topic, ((name, *arguments), *rest) = state
    if name == "maybe":  # a share of the cases has the task, the others go on with the rest
        share, task = arguments
        with_it = _moves(words, (hero, topic, (task, *rest)))
        return _scaled(with_it, share) + _scaled(_moves(words, (hero, topic, tuple(rest))), 1 - share)
    if name.startswith("title"):
        return _title(words, hero, name, *arguments)
    options = getattr(_Grammar(words, hero, topic), name)(*arguments)
    return [(word, weight, (hero, topic, (*added, *rest))) for word, weight, added in options]


def _title(words: Lexicon, hero: str, stage: str, article: str = "") -> list[tuple[str, float, State]]:
    if stage == "title":
        return [(name, weight, (name, "", (("title_and",),))) for name, weight in _ranked(words.heroes)]
    if stage == "title_and":
        return [(words.conjunction, 1.0, (hero, "", (("title_article",),)))]
    articles = list(words.topics.values())
    if stage == "title_article":
        return [(a, articles.count(a), (hero, "", (("title_topic", a),))) for a in dict.fromkeys(articles)]
    body = (("word", PARAGRAPH), ("sentence",))
    return [(topic, 1.0, (hero, topic, body)) for topic, own in words.topics.items() if own == article]


def _ranked(words: Iterable[str]) -> list[tuple[str, float]]:
    """Weights 1/3, 1/4, 1/5, ... divided by their sum: within a class the first words are the frequent ones.

    Source: Mandelbrot 1953, whose law adds a constant to the rank of Zipf's.
    """
    words = list(words)
    weights = [1 / (rank + RANK_SHIFT) for rank in range(1, len(words) + 1)]
    total = fsum(weights)  # sum rounds otherwise from Python 3.12 on
    return [(word, weight / total) for word, weight in zip(words, weights, strict=True)]


def _scaled(options: Iterable[tuple], share: float) -> list[tuple]:
    return [(word, share * weight, *others) for word, weight, *others in options]


def _predicate(number: str, hero_is_subject: bool) -> tuple[Task, ...]:
    return (("verb", number, hero_is_subject), ("maybe", SECOND_PREDICATE, ("and_verb", number, hero_is_subject)))


@dataclass(frozen=True)
class _Grammar:
    """A method per task of a document about `hero` and `topic`: the words that can begin it, and what they leave."""

    words: Lexicon
    hero: str
    topic: str

    def word(self, word: str) -> list[Option]:
        return [(word, 1.0, ())]

    def sentence(self, capital: bool = True) -> list[Option]:
        def cased(word: str) -> str:
            return word[0].upper() + word[1:] if capital else word

        after_hero = (*_predicate("s", hero_is_subject=True), ("stop",))
        options: list[Option] = [
            (self.hero, HERO_NAMED, after_hero),
            (cased(self.words.heroes[self.hero]), HERO_PRONOUN, after_hero),
        ]
        share = 1 - HERO_NAMED - HERO_PRONOUN
        if capital:
            opened = (("word", ","), ("sentence", False))
            options += [(word, OPENER * weight, opened) for word, weight in _ranked(self.words.openers)]
            share -= OPENER
        phrases = self.determiner("subject", ("stop",))
        return options + [(cased(word), share * weight, added) for word, weight, added in phrases]

    def stop(self) -> list[Option]:
        return [(".", 1.0, (("after_stop",),))]

    def after_stop(self) -> list[Option]:
        going_on = _scaled(self.sentence(), 1 - NEW_PARAGRAPH - LAST_SENTENCE)
        return [(PARAGRAPH, NEW_PARAGRAPH, (("sentence",),)), (END_OF_TEXT, LAST_SENTENCE, ()), *going_on]

    def determiner(self, role: str, *after: Task) -> list[Option]:
        cells = self.words.determiners
        return [(word, weight, (("phrase", role, cells[word]), *after)) for word, weight in _ranked(cells)]

    def phrase(self, role: str, cells: Cells) -> list[Option]:
        """What follows a determiner: a noun, before it perhaps an adjective where the language puts it there."""
        nouns = self.noun(role, cells)
        if not self.words.adjective_first or role.startswith("inner"):
            return nouns
        own = self.words.adjectives
        after = [(word, weight, (("noun", role, cells & own[word]),)) for word, weight, _ in self.adjective(cells)]
        return _scaled(after, ADJECTIVE) + _scaled(nouns, 1 - ADJECTIVE)

    def adjective(self, cells: Cells) -> list[Option]:
        fitting = [word for word, own in self.words.adjectives.items() if own & cells]
        return [(word, weight, ()) for word, weight in _ranked(fitting)]

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
                for word, weight in _ranked(fitting):
                    options.append((word, share * part * weight, self._after_noun(role, kind, fitting[word])))
        return options

    def _after_noun(self, role: str, kind: str, cell: str) -> tuple[Task, ...]:
        number, full = cell[-1], role in ("subject", "object")
        tasks: list[Task] = []
        if full and not self.words.adjective_first:
            tasks.append(("maybe", ADJECTIVE, ("adjective", frozenset({cell}))))
        if full:
            share = RELATIVE_OF_SUBJECT if role == "subject" else RELATIVE_OF_OBJECT
            tasks.append(("maybe", share, ("relative", kind, number)))
        if role == "subject":
            tasks += _predicate(number, hero_is_subject=False)
        if role == "inner subject":
            tasks.append(("transitive", number))
        return tuple(tasks)

    def relative(self, kind: str, number: str) -> list[Option]:
        return [(self.words.relatives[kind], 1.0, (("clause", kind, number),))]

    def clause(self, kind: str, number: str) -> list[Option]:
        """ "who sees the boat", agreeing with the noun before, or "who the gulls see"; things do not act."""
        with_subject = RELATIVE_WITH_SUBJECT if kind == "actor" else 1.0
        options: list[Option] = [(self.hero, with_subject * HERO_IN_RELATIVE, (("transitive", "s"),))]
        options += _scaled(self.determiner("inner subject"), with_subject * (1 - HERO_IN_RELATIVE))
        if kind == "actor":
            inner = (("determiner", "inner object"),)
            options += [(word, (1 - with_subject) * weight, inner) for word, weight, _ in self.transitive(number)]
        return options

    def and_verb(self, number: str, hero_is_subject: bool) -> list[Option]:
        return [(self.words.conjunction, 1.0, (("verb", number, hero_is_subject),))]

    def verb(self, number: str, hero_is_subject: bool) -> list[Option]:
        complement = (("maybe", PLACE_OR_MANNER, ("complement",)),)
        object_ = (("object", hero_is_subject),)
        alone = [(word, INTRANSITIVE * weight, complement) for word, weight in _ranked(self.words.intransitive[number])]
        return alone + [(word, (1 - INTRANSITIVE) * weight, object_) for word, weight, _ in self.transitive(number)]

    def transitive(self, number: str) -> list[Option]:
        return [(word, weight, ()) for word, weight in _ranked(self.words.transitive[number])]

    def object(self, hero_is_subject: bool) -> list[Option]:
        phrases = self.determiner("object")
        if hero_is_subject:  # nobody follows herself
            return phrases
        return [(self.hero, HERO_AS_OBJECT, ()), *_scaled(phrases, 1 - HERO_AS_OBJECT)]

    def complement(self) -> list[Option]:
        article: tuple[Task, ...] = (("word", self.words.place_article),) if self.words.place_article else ()
        places = [
            (word, weight, (*article, ("noun", "place", self.words.prepositions[word])))
            for word, weight in _ranked(self.words.prepositions)
        ]
        manners = [(word, weight, ()) for word, weight in _ranked(self.words.manners)]
        return _scaled(places, PLACE) + _scaled(manners, 1 - PLACE)
