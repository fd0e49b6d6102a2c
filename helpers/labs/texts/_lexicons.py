"""The words of the toy language, in English and in Brazilian Portuguese, and the two languages built from them."""

from __future__ import annotations

from functools import cache

from helpers.labs.texts._grammar import Cells, Lexicon, rules_of
from helpers.labs.texts._toy import ToyLanguage

NOUN_KINDS = ("actor", "thing", "place")


def toy_language(lexicon: str = "english") -> ToyLanguage:
    """The course's toy language: short absurd stories, grammatical ones, whose entropy is known exactly.

    lexicon  "english" or "portuguese"; one grammar, but Portuguese also agrees in gender
    return   the same object at every call

    A title names a hero and a topic, and both matter to the end of the document, far beyond the previous word; verbs
    agree with their subject across relative clauses; the number of sentences is geometric, so that lengths vary widely.
    ValueError: an unknown lexicon.
    """
    if lexicon not in LEXICONS:
        raise ValueError(f"unknown lexicon {lexicon!r}; there are {', '.join(LEXICONS)}")
    return _built(lexicon)


@cache
def _built(lexicon: str) -> ToyLanguage:
    return ToyLanguage.from_rules(rules_of(LEXICONS[lexicon]()))


def english() -> Lexicon:
    """Without "a", which would have to become "an" before a vowel."""
    both = frozenset("sp")
    singular, plural = frozenset("s"), frozenset("p")
    return Lexicon(
        heroes={"Clara": "she", "Henry": "he", "Martha": "she", "Oliver": "he", "Rose": "she", "Walter": "he"},
        topics=dict.fromkeys(("sea", "forest", "market", "castle", "railway"), "the"),
        nouns={
            "sea": _english_nouns(
                "fisherman fishermen, captain captains, gull gulls, sailor sailors",
                "boat boats, net nets, shell shells, rope ropes",
                "harbour, beach",
            ),
            "forest": _english_nouns(
                "fox foxes, woodcutter woodcutters, wolf wolves, bear bears",
                "mushroom mushrooms, branch branches, feather feathers, nest nests",
                "river, cave",
            ),
            "market": _english_nouns(
                "baker bakers, customer customers, butcher butchers, merchant merchants",
                "basket baskets, coin coins, melon melons, cheese cheeses",
                "square, fountain",
            ),
            "castle": _english_nouns(
                "king kings, queen queens, knight knights, dragon dragons",
                "sword swords, crown crowns, candle candles, mirror mirrors",
                "tower, kitchen",
            ),
            "railway": _english_nouns(
                "passenger passengers, driver drivers, porter porters, conductor conductors",
                "ticket tickets, suitcase suitcases, lantern lanterns, whistle whistles",
                "station, tunnel",
            ),
        },
        determiners={"the": both, "this": singular, "two": plural, "some": plural, "every": singular, "those": plural},
        adjectives=_cells("old small tired curious happy young strange quiet brave forgotten", "s+p " * 10),
        prepositions=_cells("near behind beside towards", "s s s s"),
        place_article="the",
        intransitive=_verbs(
            "sings sing, sleeps sleep, waits wait, laughs laugh, dances dance, smiles smile, works work, "
            "trembles tremble"
        ),
        transitive=_verbs(
            "sees see, follows follow, finds find, remembers remember, paints paint, carries carry, hides hide, "
            "admires admire, fears fear"
        ),
        relatives={"actor": "who", "thing": "that"},
        adjective_first=True,
        conjunction="and",
        openers=("Today", "Later", "Sometimes", "Tonight", "Suddenly"),
        manners=("slowly", "alone", "again", "quietly", "early"),
    )


def portuguese() -> Lexicon:
    """Prepositions that contain their article, as Portuguese has them; no verb that asks for one before a person."""
    return Lexicon(
        heroes={"Joana": "ela", "Pedro": "ele", "Iara": "ela", "Caetano": "ele", "Dalva": "ela", "Raimundo": "ele"},
        topics={"mar": "o", "floresta": "a", "feira": "a", "sertão": "o", "ferrovia": "a"},
        nouns={
            "mar": _portuguese_nouns(
                "m pescador pescadores, f gaivota gaivotas, m marinheiro marinheiros, f sereia sereias",
                "m barco barcos, f rede redes, f concha conchas, m anzol anzóis",
                "m porto, f praia",
            ),
            "floresta": _portuguese_nouns(
                "f onça onças, m seringueiro seringueiros, f arara araras, m macaco macacos",
                "m galho galhos, f folha folhas, f semente sementes, m cipó cipós",
                "m rio, f clareira",
            ),
            "feira": _portuguese_nouns(
                "m padeiro padeiros, f vendedora vendedoras, m açougueiro açougueiros, f freguesa freguesas",
                "m cesto cestos, f moeda moedas, f melancia melancias, m queijo queijos",
                "f praça, m mercado",
            ),
            "sertão": _portuguese_nouns(
                "m vaqueiro vaqueiros, f rendeira rendeiras, m sanfoneiro sanfoneiros, f cabra cabras",
                "m chapéu chapéus, f sela selas, f sanfona sanfonas, m pote potes",
                "m açude, f fazenda",
            ),
            "ferrovia": _portuguese_nouns(
                "f passageira passageiras, m fiscal fiscais, f bilheteira bilheteiras, m carregador carregadores",
                "m bilhete bilhetes, f mala malas, f lanterna lanternas, m relógio relógios",
                "f estação, m túnel",
            ),
        },
        determiners={
            **_cells("o a os as", "ms fs mp fp"),
            **_cells("um uma uns umas", "ms fs mp fp"),
            **_cells("cada aquele aquela aqueles aquelas", "ms+fs ms fs mp fp"),
        },
        adjectives={
            **_cells("velho velha velhos velhas", "ms fs mp fp"),
            **_cells("triste tristes", "ms+fs mp+fp"),
            **_cells("curioso curiosa curiosos curiosas", "ms fs mp fp"),
            **_cells("pequeno pequena pequenos pequenas", "ms fs mp fp"),
            **_cells("alegre alegres", "ms+fs mp+fp"),
            **_cells("cansado cansada cansados cansadas", "ms fs mp fp"),
            **_cells("estranho estranha estranhos estranhas", "ms fs mp fp"),
            **_cells("valente valentes", "ms+fs mp+fp"),
        },
        prepositions=_cells("no na pelo pela", "ms fs ms fs"),
        place_article="",
        intransitive=_verbs(
            "canta cantam, dorme dormem, espera esperam, ri riem, dança dançam, sorri sorriem, trabalha trabalham, "
            "passeia passeiam"
        ),
        transitive=_verbs(
            "vê veem, segue seguem, encontra encontram, procura procuram, desenha desenham, carrega carregam, "
            "esconde escondem, admira admiram, vigia vigiam"
        ),
        relatives={"actor": "que", "thing": "que"},
        adjective_first=False,
        conjunction="e",
        openers=("Hoje", "Depois", "Agora", "Enfim", "Aqui"),
        manners=("devagar", "sempre", "longe", "cedo", "baixinho"),
    )


LEXICONS = {"english": english, "portuguese": portuguese}


def _english_nouns(*kinds: str) -> dict[str, dict[str, str]]:
    """Per kind "singular plural, ...", the singular alone for a noun that has no plural here."""
    return {kind: _inflected(words, [""]) for kind, words in zip(NOUN_KINDS, kinds, strict=True)}


def _portuguese_nouns(*kinds: str) -> dict[str, dict[str, str]]:
    """The same with the gender, m or f, before each noun."""
    return {kind: _inflected(words) for kind, words in zip(NOUN_KINDS, kinds, strict=True)}


def _inflected(words: str, gender: list[str] | None = None) -> dict[str, str]:
    cells = {}
    for entry in words.split(", "):
        own, *forms = (gender or []) + entry.split()
        cells |= {form: own + number for form, number in zip(forms, "sp", strict=False)}
    return cells


def _cells(words: str, cells: str) -> dict[str, Cells]:
    pairs = zip(words.split(), cells.split(), strict=True)
    return {word: frozenset(own.split("+")) for word, own in pairs}


def _verbs(pairs: str) -> dict[str, tuple[str, ...]]:
    singular, plural = zip(*(pair.split() for pair in pairs.split(", ")), strict=True)
    return {"s": singular, "p": plural}
