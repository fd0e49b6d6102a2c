"""The grammar that both lexicons share: which tasks a sentence still has before it, and which words begin each of them.

A document is about a hero and a topic, both named in its title; nouns and pronouns go on depending on them to its end.
What is still to be written is a stack of tasks, so that a verb can wait for the end of a relative clause and still
agree with its subject. A cell is a cell of the table of inflections: "s" or "p" in English, "fs" (feminine singular)
and the like in Portuguese; its last letter is the number.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import fsum

from helpers.labs.texts._toy import END_OF_TEXT, PARAGRAPH, Rules

Cells = frozenset[str]
Task = tuple  # (name, *registers)
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
    """The words of one language; within a class the first words are the frequent ones.

    heroes        {name: pronoun}
    topics        {noun: its article in the title}
    nouns         {topic: {"actor" | "thing" | "place": {word: cell}}}
    determiners, adjectives, prepositions   {word: the cells it can stand with}
    place_article    the word between preposition and noun; empty where the preposition contains it
    intransitive, transitive   {number: verbs}
    relatives     {"actor" | "thing": the pronoun that opens a relative clause}
    adjective_first  True where the adjective stands before the noun
    conjunction, openers, manners   words
    """

    heroes: Mapping[str, str]
    topics: Mapping[str, str]
    nouns: Mapping[str, Mapping[str, Mapping[str, str]]]
    determiners: Mapping[str, Cells]
    adjectives: Mapping[str, Cells]
    prepositions: Mapping[str, Cells]
    place_article: str
    intransitive: Mapping[str, tuple[str, ...]]
    transitive: Mapping[str, tuple[str, ...]]
    relatives: Mapping[str, str]
    adjective_first: bool
    conjunction: str
    openers: tuple[str, ...]
    manners: tuple[str, ...]


def rules_of(lexicon: Lexicon) -> Rules:
    """Every state that a document can come to, with its words: what `ToyLanguage.from_rules` takes."""
    start: State = ("", "", (("title",),))
    rules: dict[State, list[tuple[str, float, State]]] = {}
    waiting = deque([start])
    while waiting:
        state = waiting.popleft()
        if state in rules:
            continue
        options = _moves(lexicon, state)
        rules[state] = [(word, weight, start if word == END_OF_TEXT else after) for word, weight, after in options]
        waiting.extend(after for word, _, after in rules[state])
    return rules


def _moves(lexicon: Lexicon, state: State) -> list[tuple[str, float, State]]:
    hero, topic, ((name, *registers), *rest) = state
    if name == "maybe":  # a share of the cases has the task, the others go on with the rest
        share, task = registers
        with_it = _moves(lexicon, (hero, topic, (task, *rest)))
        return scaled(with_it, share) + scaled(_moves(lexicon, (hero, topic, tuple(rest))), 1 - share)
    if name.startswith("title"):
        return _title(lexicon, hero, name, *registers)
    options = _TASKS[name](lexicon, hero, topic, *registers)
    return [(word, weight, (hero, topic, (*added, *rest))) for word, weight, added in options]


def ranked(words: Iterable[str]) -> list[tuple[str, float]]:
    """Weights 1/3, 1/4, 1/5, ... divided by their sum: within a class the first words are the frequent ones.

    Source: Mandelbrot 1953, whose law adds a constant to the rank of Zipf's.
    """
    words = list(words)
    weights = [1 / (rank + RANK_SHIFT) for rank in range(1, len(words) + 1)]
    total = fsum(weights)  # sum rounds otherwise from Python 3.12 on
    return [(word, weight / total) for word, weight in zip(words, weights, strict=True)]


def scaled(options: Iterable[tuple], share: float) -> list[tuple]:
    return [(word, share * weight, *others) for word, weight, *others in options]


def _title(lexicon: Lexicon, hero: str, stage: str, article: str = "") -> list[tuple[str, float, State]]:
    if stage == "title":
        return [(name, weight, (name, "", (("title and",),))) for name, weight in ranked(lexicon.heroes)]
    if stage == "title and":
        return [(lexicon.conjunction, 1.0, (hero, "", (("title article",),)))]
    articles = list(lexicon.topics.values())
    if stage == "title article":
        return [(a, articles.count(a), (hero, "", (("title topic", a),))) for a in dict.fromkeys(articles)]
    body = (("word", PARAGRAPH), ("sentence",))
    return [(topic, 1.0, (hero, topic, body)) for topic, own in lexicon.topics.items() if own == article]


def _word(lexicon: Lexicon, hero: str, topic: str, word: str) -> list[Option]:
    return [(word, 1.0, ())]


def _sentence(lexicon: Lexicon, hero: str, topic: str, capital: bool = True) -> list[Option]:
    def cased(word: str) -> str:
        return word[0].upper() + word[1:] if capital else word

    after_hero = (*_predicate("s", hero_is_subject=True), ("stop",))
    options: list[Option] = [
        (hero, HERO_NAMED, after_hero),
        (cased(lexicon.heroes[hero]), HERO_PRONOUN, after_hero),
    ]
    share = 1 - HERO_NAMED - HERO_PRONOUN
    if capital:
        opened = (("word", ","), ("sentence", False))
        options += [(word, OPENER * weight, opened) for word, weight in ranked(lexicon.openers)]
        share -= OPENER
    phrases = _determiner(lexicon, hero, topic, "subject", ("stop",))
    return options + [(cased(word), share * weight, added) for word, weight, added in phrases]


def _stop(lexicon: Lexicon, hero: str, topic: str) -> list[Option]:
    return [(".", 1.0, (("after stop",),))]


def _after_stop(lexicon: Lexicon, hero: str, topic: str) -> list[Option]:
    going_on = scaled(_sentence(lexicon, hero, topic), 1 - NEW_PARAGRAPH - LAST_SENTENCE)
    return [(PARAGRAPH, NEW_PARAGRAPH, (("sentence",),)), (END_OF_TEXT, LAST_SENTENCE, ()), *going_on]


def _determiner(lexicon: Lexicon, hero: str, topic: str, role: str, *after: Task) -> list[Option]:
    cells = lexicon.determiners
    return [(word, weight, (("phrase", role, cells[word]), *after)) for word, weight in ranked(cells)]


def _phrase(lexicon: Lexicon, hero: str, topic: str, role: str, cells: Cells) -> list[Option]:
    """What follows a determiner: a noun, before it perhaps an adjective where the language puts it there."""
    nouns = _noun(lexicon, hero, topic, role, cells)
    if not lexicon.adjective_first or role.startswith("inner"):
        return nouns
    adjectives = _adjective(lexicon, hero, topic, cells)
    after = [(word, w, (("noun", role, cells & lexicon.adjectives[word]),)) for word, w, _ in adjectives]
    return scaled(after, ADJECTIVE) + scaled(nouns, 1 - ADJECTIVE)


def _adjective(lexicon: Lexicon, hero: str, topic: str, cells: Cells) -> list[Option]:
    fitting = [word for word, own in lexicon.adjectives.items() if own & cells]
    return [(word, weight, ()) for word, weight in ranked(fitting)]


def _noun(lexicon: Lexicon, hero: str, topic: str, role: str, cells: Cells) -> list[Option]:
    """Nouns of a role in some cells: ON_TOPIC of the cases from the document's topic, the rest from the others."""
    kinds = {"actor": ACTOR_AS_OBJECT, "thing": 1 - ACTOR_AS_OBJECT} if "object" in role else {"actor": 1.0}
    options: list[Option] = []
    for kind, share in ({"place": 1.0} if role == "place" else kinds).items():
        for other, nouns in lexicon.nouns.items():
            part = ON_TOPIC if other == topic else (1 - ON_TOPIC) / (len(lexicon.nouns) - 1)
            fitting = {word: cell for word, cell in nouns[kind].items() if cell in cells}
            for word, weight in ranked(fitting):
                added = _after_noun(lexicon, role, kind, fitting[word])
                options.append((word, share * part * weight, added))
    return options


def _after_noun(lexicon: Lexicon, role: str, kind: str, cell: str) -> tuple[Task, ...]:
    number, full = cell[-1], role in ("subject", "object")
    tasks: list[Task] = []
    if full and not lexicon.adjective_first:
        tasks.append(("maybe", ADJECTIVE, ("adjective", frozenset({cell}))))
    if full:
        share = RELATIVE_OF_SUBJECT if role == "subject" else RELATIVE_OF_OBJECT
        tasks.append(("maybe", share, ("relative", kind, number)))
    if role == "subject":
        tasks += _predicate(number, hero_is_subject=False)
    if role == "inner subject":
        tasks.append(("transitive", number))
    return tuple(tasks)


def _relative(lexicon: Lexicon, hero: str, topic: str, kind: str, number: str) -> list[Option]:
    return [(lexicon.relatives[kind], 1.0, (("clause", kind, number),))]


def _clause(lexicon: Lexicon, hero: str, topic: str, kind: str, number: str) -> list[Option]:
    """A relative clause: "who sees the boat", agreeing with the noun before, or "who the gulls see"; things act not."""
    with_subject = RELATIVE_WITH_SUBJECT if kind == "actor" else 1.0
    phrases = _determiner(lexicon, hero, topic, "inner subject")
    options: list[Option] = [(hero, with_subject * HERO_IN_RELATIVE, (("transitive", "s"),))]
    options += scaled(phrases, with_subject * (1 - HERO_IN_RELATIVE))
    if kind == "actor":
        inner = (("determiner", "inner object"),)
        verbs = _transitive(lexicon, hero, topic, number)
        options += [(word, (1 - with_subject) * weight, inner) for word, weight, _ in verbs]
    return options


def _predicate(number: str, hero_is_subject: bool) -> tuple[Task, ...]:
    verb = ("verb", number, hero_is_subject)
    return (verb, ("maybe", SECOND_PREDICATE, ("and", *verb[1:])))


def _and(lexicon: Lexicon, hero: str, topic: str, number: str, hero_is_subject: bool) -> list[Option]:
    return [(lexicon.conjunction, 1.0, (("verb", number, hero_is_subject),))]


def _verb(lexicon: Lexicon, hero: str, topic: str, number: str, hero_is_subject: bool) -> list[Option]:
    complement = (("maybe", PLACE_OR_MANNER, ("complement",)),)
    object_ = (("object", hero_is_subject),)
    alone = [(word, INTRANSITIVE * weight, complement) for word, weight in ranked(lexicon.intransitive[number])]
    return alone + [(word, (1 - INTRANSITIVE) * weight, object_) for word, weight in ranked(lexicon.transitive[number])]


def _transitive(lexicon: Lexicon, hero: str, topic: str, number: str) -> list[Option]:
    return [(word, weight, ()) for word, weight in ranked(lexicon.transitive[number])]


def _object(lexicon: Lexicon, hero: str, topic: str, hero_is_subject: bool) -> list[Option]:
    phrases = _determiner(lexicon, hero, topic, "object")
    if hero_is_subject:  # nobody follows herself
        return phrases
    return [(hero, HERO_AS_OBJECT, ()), *scaled(phrases, 1 - HERO_AS_OBJECT)]


def _complement(lexicon: Lexicon, hero: str, topic: str) -> list[Option]:
    article: tuple[Task, ...] = (("word", lexicon.place_article),) if lexicon.place_article else ()
    places = [
        (word, weight, (*article, ("noun", "place", lexicon.prepositions[word])))
        for word, weight in ranked(lexicon.prepositions)
    ]
    manners = [(word, weight, ()) for word, weight in ranked(lexicon.manners)]
    return scaled(places, PLACE) + scaled(manners, 1 - PLACE)


_TASKS = {
    "word": _word,
    "sentence": _sentence,
    "stop": _stop,
    "after stop": _after_stop,
    "determiner": _determiner,
    "phrase": _phrase,
    "adjective": _adjective,
    "noun": _noun,
    "relative": _relative,
    "clause": _clause,
    "verb": _verb,
    "and": _and,
    "transitive": _transitive,
    "object": _object,
    "complement": _complement,
}
