"""Memories and questions made up from a seed, for measuring speed at any size.

Each memory is one to three plain sentences that an agent might keep: who decided, found or wants
what, in which project. Words follow Zipf's law: a few stand in a third of all memories, most in
fewer than one of a thousand. The first n memories are the same whatever the size.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, islice
from typing import Any, Final, TypeAlias

import apsw
from msgspec import Struct

from mimir.rules.query import parse_query

Memory: TypeAlias = dict[str, Any]
"""The arguments of one mimir_remember."""

SEED: Final = 1
SELECTIVE_BELOW: Final = 1_000
"""A selective question matches fewer memories, or at most one in `SELECTIVE_SHARE` of a larger store."""

SELECTIVE_SHARE: Final = 100

CATEGORIES: Final = tuple(
    """
    decision preference fact incident meeting person customer architecture convention deadline
    experiment idea question risk procedure release budget bug lesson contact
    """.split()  # noqa: SIM905 - read and changed as prose, like all lists here
)
WORKSPACES: Final = ("", "platform", "mobile", "research")

_GIVEN: Final = """
    Anna Boris Carla Dmitri Elena Farid Greta Hassan Ingrid Jonas Katya Liam Mira Nadia Oskar Priya
    Quentin Rosa Stefan Tara Ulrich Vera Wanda Xenia Yusuf Zoe Amara Bruno Celine Diego Emil Fatima
    Goran Helena Ivo Jana Kofi Lena Marek Nils Olga Pavel Ramona Silas Tomas Uma Viktor Yara
    """.split()  # noqa: SIM905
_THINGS: Final = """
    invoice parser schedule report index token backup dashboard cache queue contract export gateway
    login migration password pipeline printer profile query receipt refund router schema search
    server session shipment signature template ticket translation upload voucher warehouse webhook
    calendar certificate checkout cluster comment compiler container cookie counter courier coupon
    database decoder deposit diagram document domain driver editor email encoder endpoint engine
    estimate event excerpt exporter feature feed filter firewall font form formula forum gallery
    glossary graph handbook header heatmap histogram icon importer inbox installer interface
    inventory journal keyboard label laptop layout ledger library licence lockfile logbook mailbox
    manual map matrix menu merger message meter microphone mirror modem module monitor mortgage
    namespace navigation network notebook notification office outage overlay package palette
    partition password patch patent payroll permission phone pixel playlist plugin podcast policy
    poster prefix price probe proposal protocol prototype proxy quota quote radar ranking rebate
    recipe recording registry reminder rental replica resolver retainer roadmap rota salary sample
    sandbox scanner scheduler screenshot script sensor sidebar sitemap sketch snapshot socket
    spreadsheet stamp statement storage stream stylesheet subnet subscription subsidy summary survey
    switch symbol table tablet tariff taxonomy telemetry terminal thermostat thread thumbnail
    timeline timer toolbar topic tracker training transcript treaty trigger tunnel tutorial typeface
    update vault vendor version video visa volume wallet watermark widget wiki window workflow
    worksheet wrapper
    """.split()  # noqa: SIM905
_QUALITIES: Final = """
    slow broken new old cheap shared nightly manual automatic public internal encrypted missing
    duplicate partial monthly experimental stale oversized noisy fragile empty central local remote
    yearly compact verbose silent redundant obsolete readable portable hidden strict lenient
    temporary permanent
    """.split()  # noqa: SIM905
_ACTIONS: Final = """
    replaced removed moved tested rewrote approved rejected postponed measured documented disabled
    enabled renamed restored inspected simplified split merged signed archived cancelled cleaned
    compared copied counted delivered doubled drafted duplicated exported fixed halved imported
    installed locked mapped migrated ordered packed patched priced printed profiled proved published
    queued ranked recorded refused rehearsed rented repaired returned rotated sampled scanned
    shipped shortened sorted stored traced translated unlocked upgraded validated versioned weighed
    """.split()  # noqa: SIM905
_REASONS: Final = """
    latency cost safety privacy compliance accuracy comfort clarity memory bandwidth speed
    portability battery weight noise colour contrast heat humidity fairness taste scarcity
    """.split()  # noqa: SIM905
_PLACES: Final = """
    Lisbon Oslo Nairobi Kyoto Quito Riga Hanoi Accra Bergen Cusco Dakar Evora Fargo Ghent Hobart
    Izmir Jena Kazan Lagos Malmo Nantes Osaka Porto Rabat Seville Tartu Utrecht Varna Windhoek Yerevan
    """.split()  # noqa: SIM905
_MONTHS: Final = """
    January February March April May June July August September October November December
    """.split()  # noqa: SIM905

_STATEMENTS: Final = (
    "{given} {family} {action} the {quality} {thing} of {project}.",
    "{given} {family} prefers the {quality} {thing} because of its {reason}.",
    "We decided to keep the {thing} of {project} {quality} for {reason}.",
    "The {thing} in {place} was {action} by {given} {family} in {month}.",
    "{project} needs a {quality} {thing} before {month}.",
    "Every {thing} must be {action} before the {other} goes to {place}.",
    "{given} {family} found that the {quality} {thing} breaks the {other}.",
    "In {month} the {thing} of {project} cost {number} euros more than planned.",
    "{family} asked whether the {quality} {thing} can replace the {other}.",
    "The {other} reads the {thing} {number} times a day, which hurts {reason}.",
    "Never let the {thing} of {project} be {action} without {given} {family}.",
    "{given} moved to {place} and still looks after the {thing}.",
)
_TEAM: Final = (
    "The team agreed.",
    "The whole team knows.",
    "Ask the team before changing it.",
    "The team in {place} disagrees.",
    "Nobody on the team objected.",
)
_PROJECT: Final = (
    "It belongs to the {project} project.",
    "The project pays for it.",
    "It holds for the whole project.",
    "The project ends in {month}.",
)
_CUSTOMER: Final = (
    "The customer insists on {reason}.",
    "A customer in {place} complained.",
    "The customer will test the {other}.",
)
_REMARKS: Final = (
    (0.34, _TEAM),
    (0.36, _PROJECT),
    (0.33, _CUSTOMER),
)
COMMON_WORDS: Final = ("team", "project", "customer")

_SYLLABLES: Final = """
    al bar cor dan el fen gar hul is jor kal lor mon nev or pra qui ras sol tam ul ver wex yan zet
    """.split()  # noqa: SIM905
_NAMES: Final = 4_000

_ASKED: Final = ("what", "when", "where", "why", "how")
_AUXILIARIES: Final = ("did", "could", "should", "would", "will")
_PERSONS: Final = ("we", "they", "you", "he", "she")


class Words:
    """Words in the order of their frequency, drawn by Zipf's law: the r-th in proportion to r to a power."""

    def __init__(self, words: Sequence[str], exponent: float) -> None:
        self.words = words
        self.weights = list(accumulate((place + 3) ** -exponent for place in range(len(words))))

    def draw(self, source: random.Random) -> str:
        """Draw one word."""
        return source.choices(self.words, cum_weights=self.weights)[0]


class Question(Struct, frozen=True, kw_only=True):
    """A question in plain words, the category of the memory it was made from, and how many memories match."""

    text: str
    category: str
    hits: int


def memories(count: int, seed: int = SEED) -> Iterator[Memory]:
    """Yield ``count`` memories, all with different keys and bodies."""
    return islice(_endless(seed), count)


def text(memory: Memory) -> str:
    """Return everything of a memory that keyword search looks at."""
    parts = (
        memory["key"],
        memory["body_json"]["content"],
        *memory["tags"],
        memory.get("topic_path", ""),
    )
    return " ".join(parts)


def questions(stored: Sequence[Memory], count: int, seed: int = SEED) -> dict[str, tuple[Question, ...]]:
    """Return ``count`` selective and ``count`` common questions about memories, all different.

    A selective one asks about a thing in a project and matches few (see `SELECTIVE_BELOW`); a common
    one asks about a word that stands in a third of all.
    """
    source = random.Random(seed)
    matches = Matches(text(memory) for memory in stored)
    return {
        "selective": _distinct(_selective(stored, matches, source), count),
        "common": _distinct(_common(stored, matches, source), count),
    }


class Matches:
    """A plain FTS5 index that counts how many memories hold any word of a question."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._index = apsw.Connection(":memory:")
        self._index.execute(
            "CREATE VIRTUAL TABLE memory USING fts5(text, content='', tokenize='porter unicode61 remove_diacritics 2')"
        )
        with self._index:
            self._index.executemany("INSERT INTO memory (rowid, text) VALUES (?, ?)", enumerate(texts, start=1))

    def count(self, question: str) -> int:
        """Return how many memories hold a word of the question that is no stop word."""
        match = " OR ".join(f'"{word}"' for word in parse_query(question).words)
        return int(self._index.execute("SELECT count(*) FROM memory WHERE memory MATCH ?", (match,)).get)


def _endless(seed: int) -> Iterator[Memory]:
    source = random.Random(seed)
    slots = _slots(seed)
    seen: set[str] = set()
    while True:
        # All sentences of one memory speak of the same people and things.
        filling = {name: words.draw(source) for name, words in slots.items()}
        filling["number"] = str(source.randint(2, 9_999))
        content = " ".join(
            sentence.format_map(filling)
            for sentence in (
                source.choice(_STATEMENTS),
                *(source.choice(remarks) for share, remarks in _REMARKS if source.random() < share),
            )
        )
        if content not in seen:
            seen.add(content)
            yield _memory(content, filling, len(seen), source)


def _memory(content: str, filling: Mapping[str, str], number: int, source: random.Random) -> Memory:
    project = filling["project"].lower()
    memory: Memory = {
        "category": CATEGORIES[min(int(source.expovariate(0.2)), len(CATEGORIES) - 1)],
        "key": f"{project}-{filling['thing']}-{number}",
        "body_json": {"content": content},
        "tags": source.sample((filling["thing"], filling["reason"], filling["month"].lower()), 2),
        "workspace_hash": source.choices(WORKSPACES, (4, 3, 2, 1))[0],
    }
    if source.random() < 0.5:
        memory["topic_path"] = f"{project}/{filling['month'].lower()}"
    return memory


def _slots(seed: int) -> dict[str, Words]:
    # The rank of a word must not follow the order in which the lists were written.
    source = random.Random(seed + 1)

    def shuffled(words: Iterable[str]) -> list[str]:
        listed = sorted(set(words))
        source.shuffle(listed)
        return listed

    things = shuffled(_THINGS)
    return {
        "given": Words(shuffled(_GIVEN), 0.6),
        "family": Words(_names(source, ("son", "berg", "ova", "ini", "ez", "ski")), 0.8),
        "project": Words(_names(source, ("a", "o", "ix", "um", "ara")), 0.9),
        "thing": Words(things, 0.9),
        "other": Words(things, 0.9),
        "quality": Words(shuffled(_QUALITIES), 0.9),
        "action": Words(shuffled(_ACTIONS), 0.9),
        "reason": Words(shuffled(_REASONS), 0.9),
        "place": Words(shuffled(_PLACES), 0.9),
        "month": Words(shuffled(_MONTHS), 0.5),
    }


def _names(source: random.Random, endings: Sequence[str]) -> list[str]:
    names: dict[str, None] = {}
    while len(names) < _NAMES:
        syllables = "".join(source.choices(_SYLLABLES, k=source.choice((2, 2, 3))))
        names[(syllables + source.choice(endings)).capitalize()] = None
    return list(names)


def _selective(stored: Sequence[Memory], matches: Matches, source: random.Random) -> Iterator[Question]:
    most = max(SELECTIVE_BELOW, len(stored) // SELECTIVE_SHARE)
    while True:
        memory = source.choice(stored)
        project, thing, _ = memory["key"].split("-")
        question = f"{_opening(source)} the {thing} of {project.capitalize()}"
        hits = matches.count(question)
        if hits < most:
            yield Question(text=question, category=memory["category"], hits=hits)


def _common(stored: Sequence[Memory], matches: Matches, source: random.Random) -> Iterator[Question]:
    hits = {word: matches.count(word) for word in COMMON_WORDS}
    while True:
        word = source.choice(COMMON_WORDS)
        question = f"{_opening(source)} the {word}"
        yield Question(text=question, category=source.choice(stored)["category"], hits=hits[word])


def _opening(source: random.Random) -> str:
    words = (_ASKED, _AUXILIARIES, _PERSONS, ("do", "have", "be"), ("about", "with", "for"))
    return " ".join(source.choice(choices) for choices in words)


def _distinct(made: Iterator[Question], count: int) -> tuple[Question, ...]:
    chosen: dict[str, Question] = {}
    for question in made:
        if len(chosen) == count:
            break
        chosen.setdefault(question.text, question)
    return tuple(chosen.values())
