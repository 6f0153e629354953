"""From English text to statements that can be compared: who or what, with which values, affirmed or denied.

A shallow reading by closed lists of words, with no grammar. What it cannot read it leaves out, so that a reader of
statements sees too few of them rather than wrong ones.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from mimir.rules.query import STOP_WORDS


def word_set(text: str) -> frozenset[str]:
    """Return the words of a list written as running text."""
    return frozenset(text.split())


class Statement(Struct, frozen=True, kw_only=True):
    """One clause, read.

    `words` are the stems of its content words in order, `content` the same without order, `places` the preposition
    that governs each. The first `subject` of them, `about`, stand before the verb, and `owned` are those of them that
    follow a possessive. `named` are the numbers and dates before the verb, which tell one thing from another; `values`
    those after it, by kind: what is said of the thing. `units` are words that only say what a value counts. `verb` is
    the stem of the content verb, empty for a mere "is" and None when no verb was recognised. `definite` tells that "is
    the" or the like follows, `event` that something happened rather than is so; `yields` is the word that a comparison
    puts last.
    """

    words: tuple[str, ...]
    content: frozenset[str]
    about: frozenset[str]
    places: tuple[str, ...]
    subject: int
    owned: frozenset[str]
    named: frozenset[str]
    values: Mapping[str, frozenset[float | str]]
    units: frozenset[str]
    negative: bool
    verb: str | None
    definite: bool
    event: bool
    yields: str


NEGATIONS: Final = word_set("not no never cannot without none nobody nothing neither nor")
OPPOSITES: Final = {
    "asynchronous": "synchronous",
    "cold": "hot",
    "dark": "light",
    "deny": "allow",
    "disable": "enable",
    "dislike": "like",
    "exclude": "include",
    "fail": "pass",
    "false": "true",
    "forbid": "allow",
    "hard": "soft",
    "hate": "like",
    "illegal": "legal",
    "impossible": "possible",
    "inactive": "active",
    "incorrect": "correct",
    "invalid": "valid",
    "negative": "positive",
    "off": "on",
    "optional": "mandatory",
    "private": "public",
    "prohibit": "allow",
    "reject": "accept",
    "unavailable": "available",
    "unlimited": "limited",
    "unsafe": "safe",
    "unsupported": "supported",
    "wrong": "right",
}
"""Words that deny what another affirms; each is read as that other with a negation."""

SAME: Final = {
    "apartment": "flat",
    "app": "application",
    "auth": "authentication",
    "begin": "start",
    "children": "child",
    "config": "configuration",
    "db": "database",
    "deploy": "release",
    "dev": "development",
    "docs": "documentation",
    "env": "environment",
    "expiry": "expire",
    "favorite": "favourite",
    "k8s": "kubernetes",
    "kid": "child",
    "love": "like",
    "pg": "postgresql",
    "postgres": "postgresql",
    "prod": "production",
    "repo": "repository",
    "vacation": "holiday",
}
"""Different words for one thing, as developers and families use them."""

LIGHT: Final = word_set(
    "again all already also always any anymore approximately around at both each either ever every exactly fixed"
    " from get got instead keep least limit long longer make max maximal maximum min minimal minimum more most"
    " move need newer now only or other over per rather same set since soon still take than there through till too"
    " under until up upward via yet yes also currently usually mostly often once called call name one"
)
"""Words that say how a value is meant or are part of a turn of phrase, and so tell no two things apart."""


_COPULAS: Final = word_set("is are was were be been being am")
_AUXILIARIES: Final = word_set(
    "has have had does do did can could must may might shall should will would need needs cannot"
)
_VERBS: Final = word_set(
    "accept add allow answer authenticate belong bring build buy call charge choose close collect come contain"
    " cook cost cover cut deliver deny depend disable dislike drink drive earn eat enable end enjoy exclude expect"
    " expire finish fix fly follow forbid get give go grow handle happen hate hold hire include invest issue join"
    " keep know last lead learn leave like listen live log lose maintain make manage marry mean measure meet open"
    " own pay play prefer prohibit provide read reject rent replace require return ride run say see sell send"
    " serve ship show sit sleep smoke speak spend start stay stop store study support swallow take talk teach tell"
    " travel try use visit wait wake walk want watch wear weigh work write"
)
_IRREGULAR: Final = {
    "bought": "buy",
    "built": "build",
    "came": "come",
    "drove": "drive",
    "gave": "give",
    "given": "give",
    "goes": "go",
    "held": "hold",
    "kept": "keep",
    "left": "leave",
    "made": "make",
    "met": "meet",
    "paid": "pay",
    "ran": "run",
    "saw": "see",
    "sent": "send",
    "shown": "show",
    "sold": "sell",
    "taken": "take",
    "told": "tell",
    "took": "take",
    "went": "go",
    "worn": "wear",
    "written": "write",
    "wrote": "write",
}
_PREPOSITIONS: Final = word_set(
    "about above after against as at before between by during for from if in into of on over through to towards"
    " under until via when while with within"
)
_DETERMINERS: Final = word_set("the our my his her their your its")
_BEFORE_NOUNS: Final = _DETERMINERS | word_set("a an this that each every no")

_WEEKDAYS: Final = word_set("monday tuesday wednesday thursday friday saturday sunday")
_MONTH_NAMES: Final = (
    "january jan",
    "february feb",
    "march",
    "april apr",
    "may",
    "june jun",
    "july jul",
    "august aug",
    "september sep",
    "october oct",
    "november nov",
    "december dec",
)
_MONTHS: Final = {name: place for place, names in enumerate(_MONTH_NAMES, start=1) for name in names.split()}
_ALSO_VERBS: Final = word_set("march may")
_NUMBERS: Final = {
    "one": 1,
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "six": 6,
    "seven": 7,
    "eight": 8,
    "nine": 9,
    "ten": 10,
    "eleven": 11,
    "twelve": 12,
    "dozen": 12,
    "twenty": 20,
    "thirty": 30,
    "hundred": 100,
}
_DAY: Final = 86_400.0
_UNIT_NAMES: Final = (
    ("duration", 0.001, "ms millisecond milliseconds"),
    ("duration", 1.0, "s sec second seconds"),
    ("duration", 60.0, "min minute minutes"),
    ("duration", 3_600.0, "h hour hours"),
    ("duration", _DAY, "day days"),
    ("duration", 7 * _DAY, "week weeks"),
    ("duration", 30 * _DAY, "month months"),
    ("duration", 365 * _DAY, "year years"),
    ("size", 2.0**10, "kb kib"),
    ("size", 2.0**20, "mb mib"),
    ("size", 2.0**30, "gb gib"),
    ("size", 2.0**40, "tb tib"),
    ("percent", 1.0, "percent"),
    ("euro", 1.0, "euro euros eur"),
    ("dollar", 1.0, "dollar dollars usd"),
    ("degree", 1.0, "degree degrees celsius"),
    ("mass", 0.001, "mg"),
    ("mass", 1.0, "g gram grams"),
    ("mass", 1_000.0, "kg kilogram kilograms"),
    ("length", 0.001, "mm"),
    ("length", 0.01, "cm"),
    ("length", 1.0, "m meter meters metre metres"),
    ("length", 1_000.0, "km"),
)
_UNITS: Final = {name: (kind, factor) for kind, factor, names in _UNIT_NAMES for name in names.split()}
_EVERY: Final = {
    "hourly": 3_600.0,
    "daily": _DAY,
    "nightly": _DAY,
    "weekly": 7 * _DAY,
    "monthly": 30 * _DAY,
    "yearly": 365 * _DAY,
}
_SIGNS: Final = {"\u20ac": "euro", "$": "dollar", "\u00a3": "pound"}
_DATED: Final = word_set("in since until till by of from last next before after during")
_NOON: Final = {"noon": 720, "midnight": 0}

_READ_CHARACTERS: Final = 2_000
_READ_CLAUSES: Final = 12
_LAST_DAY: Final = 31
_HALF_DAY: Final = 12
_STEMMED_FROM: Final = 4

_CLAUSES: Final = re.compile(r"[.!?]+(?=\s|$)|[;\n]|,(?=\s)|\s(?:but|while)\s")
_TURNS: Final = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\b(?:turn|switch)(?:ed|es|s)? (on|off)\b", r"turned_\1"),
        (r"\bhalf past (\w+)", r"\1:30"),
        (r"\b(\d{1,2}) in the (morning|afternoon|evening)\b", r"\1:00 in the \2"),
        (r"\bany ?more\b", " "),
        (r"\bno longer\b", "not"),
        (r"\bsince (?:the |last )?(?:\d+ )?\w+(?: \d{4})?", " "),
        (r"\b(is|are|was|were|do|does|did|has|have|had|must|should|would|could)n't\b", r"\1 not"),
        (r"\b(?:ca|wo)n't\b", "cannot"),
        (r"\b(?:rather than|instead of)\b", "over"),
    )
)
_TURNED: Final = re.compile("n't|half past|in the|instead|longer|more|rather|since|switch|turn")
"""Whether any of these is in a text: searching once is quicker than replacing in vain."""

_DATE: Final = r"\d{4}-\d{2}-\d{2}"
_PHONE: Final = r"\+\d[\d ()/-]{6,}\d"
_CLOCK: Final = r"(?:\d{1,2}|\b[a-z]+):\d{2}(?: ?[ap]m\b)?|\d{1,2} ?[ap]m\b"
_NUMBER: Final = r"[\u20ac$\u00a3]?(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)*)(?:k\b)?(?: ?%)?"
_WORD: Final = r"[^\W\d_]\w*(?:['-][^\W_]+)*"
_TOKEN: Final = re.compile(f"{_DATE}|{_PHONE}|{_CLOCK}|{_NUMBER}|{_WORD}")
_FIGURE: Final = re.compile(f"(?P<date>{_DATE})|(?P<phone>{_PHONE})|(?P<clock>{_CLOCK})|(?P<number>{_NUMBER})")
_YEAR: Final = re.compile(r"(?:19|20)\d\d")


def read_statements(text: str) -> tuple[Statement, ...]:
    """Read the clauses at the beginning of a text; after the first one, only those that have a verb."""
    text = text[:_READ_CHARACTERS].lower().replace("\u2019", "'")
    if _TURNED.search(text):
        for pattern, replacement in _TURNS:
            text = pattern.sub(replacement, text)
    clauses = [_Clause(part).read() for part in _CLAUSES.split(text)[:_READ_CLAUSES] if part.strip()]
    return tuple(one for place, one in enumerate(clauses) if one.verb is not None or place == 0)


@functools.lru_cache(maxsize=20_000)
def stem(word: str) -> str:
    """Return what the forms of a word have in common, and one word for several that mean the same."""
    word = word.removesuffix("'s").removesuffix("'")
    word = _SAME_STEMS.get(_cut(word), word)
    return _cut(_IRREGULAR.get(word, word))


def _cut(word: str) -> str:
    if word.endswith("ies") and len(word) > _STEMMED_FROM:
        word = word[:-3] + "y"
    elif word.endswith(("ches", "shes", "sses", "xes", "zes")):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) >= _STEMMED_FROM:
        word = word[:-1]
    for ending in ("ing", "ed"):
        if word.endswith(ending) and len(word) - len(ending) > 2:  # noqa: PLR2004 - "red", "king" stay
            word = word.removesuffix(ending)
            if word[-1] == word[-2] and word[-1] not in "aeiouls":
                word = word[:-1]
            break
    return word.removesuffix("e") if len(word) >= _STEMMED_FROM else word


_SAME_STEMS: Final = {_cut(word): same for word, same in SAME.items()}
_OPPOSITE_STEMS: Final = {stem(word): stem(opposite) for word, opposite in OPPOSITES.items()}
_HAVE: Final = stem("have")
_VERB_STEMS: Final = frozenset(map(stem, _VERBS))
_LIGHT_STEMS: Final = frozenset(map(stem, LIGHT))

_ROLES: Final = {
    word: role
    for role, group in (
        ("skipped", STOP_WORDS),
        ("number", _NUMBERS),
        ("clock", _NOON),
        ("article", ("a", "an")),
        ("preposition", _PREPOSITIONS),
        ("auxiliary", _COPULAS | _AUXILIARIES),
        ("negation", NEGATIONS | {"stopped", "stops", "quit"}),
        ("time", (*_EVERY, "every", "each", *_MONTHS, *_WEEKDAYS, *(f"{day}s" for day in _WEEKDAYS))),
    )
    for word in group
}
"""How each word of the closed classes is read; where a word is in several, the last one counts."""


class _Clause:
    """One clause while it is read."""

    def __init__(self, text: str) -> None:
        self.tokens: list[str] = _TOKEN.findall(text)
        self.at = 0
        self.words: list[str] = []
        self.places: list[str] = []
        self.place = ""
        self.told: list[tuple[str, float | str, bool]] = []
        self.units: set[str] = set()
        self.owned: set[str] = set()
        self.owner_seen = False
        self.negations = 0
        self.subject: int | None = None
        self.verb: str | None = None
        self.definite = False
        self.event = False
        self.yields = ""

    def read(self) -> Statement:
        """Read all tokens."""
        while self.at < len(self.tokens):
            token = self.tokens[self.at]
            self.at += 1
            if token[0].isalpha() and ":" not in token:
                self._read_word(token)
            else:
                self._read_figure(token)
        verbless = self.subject is None
        values: dict[str, set[float | str]] = {}
        for name, value, before in self.told:
            if verbless or not before:
                values.setdefault(name, set()).add(value)
        return Statement(
            words=tuple(self.words),
            content=frozenset(self.words),
            about=frozenset(self.words[: self.subject or 0]),
            places=tuple(self.places),
            subject=self.subject or 0,
            owned=frozenset(self.owned),
            named=frozenset(str(value) for _, value, before in self.told if before and not verbless),
            values={name: frozenset(found) for name, found in values.items()},
            units=frozenset(self.units),
            negative=self.negations % 2 == 1,
            verb=self.verb,
            definite=self.definite,
            event=self.event,
            yields=self.yields,
        )

    def _next(self, ahead: int = 0) -> str:
        place = self.at + ahead
        return self.tokens[place] if place < len(self.tokens) else ""

    def _former(self) -> str:
        return self.tokens[self.at - 2] if self.at > 1 else ""

    def _tell(self, kind: str, value: float | str) -> None:
        self.told.append((kind, value, self.subject is None))

    def _read_figure(self, text: str) -> None:
        match = _FIGURE.fullmatch(text)
        kind = match.lastgroup if match else ""
        if kind == "date":
            self._tell("day", text[5:])
            self._tell("year", text[:4])
        elif kind == "phone":
            self._tell("phone", "".join(filter(str.isdigit, text)))
        elif kind == "clock":
            self._read_clock(text)
        elif kind == "number":
            self._read_amount(text)

    def _read_amount(self, text: str) -> None:
        sign = _SIGNS.get(text[0], "")
        bare = text.lstrip("".join(_SIGNS)).replace(",", "").rstrip("% ")
        factor = 1_000 if bare.endswith("k") else 1
        bare = bare.rstrip("k")
        if bare.count(".") > 1:
            self._tell("number", bare)
        elif text.endswith("%"):
            self._tell("percent", float(bare))
        elif sign:
            self._tell(sign, float(bare) * factor)
        else:
            self._read_number(bare, float(bare) * factor)

    def _read_clock(self, text: str) -> None:
        hour, _, rest = text.partition(":")
        half = text[-2:] if text.endswith(("am", "pm")) else ""
        hour = hour.removesuffix(half).strip() if not rest else hour
        minute = rest.removesuffix(half).strip() or "0"
        number = int(hour) if hour.isdigit() else _NUMBERS.get(hour)
        if number is None:
            return
        if not half and self._next() == "in" and self._next(2) in ("morning", "afternoon", "evening"):
            half = "am" if self._next(2) == "morning" else "pm"
        number = number % _HALF_DAY + _HALF_DAY * (half == "pm") if half else number
        self._tell("clock", 60 * number + int(minute))

    def _read_number(self, text: str, value: float) -> None:
        following = self._next()
        if following in _MONTHS and value <= _LAST_DAY:
            self.at += 1
            self._read_day(_MONTHS[following], int(value))
        elif following in _UNITS:
            kind, factor = _UNITS[following]
            repeated = kind == "duration" and self._former() in ("every", "each")
            self.at += 1
            self.units.add(stem(following))
            self._tell("every" if repeated else kind, value * factor)
            self._skip_rate()
        elif _YEAR.fullmatch(text) and (self._former() in _DATED or self._former() in _MONTHS):
            self._tell("year", text)
        elif self._is_counted(following):
            counted = stem(following)
            self.units.add(counted)
            self._tell("of " + counted, value)
            self._add(counted)
            self.at += 1
            self._skip_rate()
        else:
            self._tell("number", text if "." in text else value)

    def _is_counted(self, word: str) -> bool:
        return (
            word.isalpha()
            and word not in STOP_WORDS
            and word not in _PREPOSITIONS
            and word not in _COPULAS
            and word not in _AUXILIARIES
            and stem(word) not in _VERB_STEMS
            and stem(word) not in _LIGHT_STEMS
            and stem(word) not in _OPPOSITE_STEMS
        )

    def _skip_rate(self) -> None:
        # "60 requests per minute", "1,250 euros a month"
        if self._next() in ("a", "an", "per", "each", "every") and self._next(1) in _UNITS:
            self.units.add(stem(self._next(1)))
            self.at += 2

    def _read_day(self, month: int, day: int) -> None:
        self._tell("day", f"{month:02}-{day:02}")
        if _YEAR.fullmatch(self._next()):
            self._tell("year", self._next())
            self.at += 1

    def _read_word(self, word: str) -> None:
        role = _ROLES.get(word)
        if role is None:
            self._read_content(word)
        elif role == "negation":
            self._read_negation(word)
        elif role == "clock":
            self._tell("clock", _NOON[word])
        elif role == "time":
            self._read_time(word)
        elif role == "auxiliary":
            self._begin_predicate(_HAVE if word in ("has", "have", "had") else "")
            self.definite = self.definite or (word in _COPULAS and self._next() in _DETERMINERS)
        elif role == "preposition":
            self._read_preposition(word)
        elif role == "number" and (self._next() in _UNITS or self._is_counted(self._next())):
            self._read_number(word, _NUMBERS[word])
        elif role == "article" and self._next() in _UNITS:
            self._read_number("1", 1.0)

    def _read_negation(self, word: str) -> None:
        if word in NEGATIONS or self._next().endswith("ing"):
            self.negations += 1
            if word == "cannot":
                self._begin_predicate("")
        else:
            self._read_content(word)

    def _read_preposition(self, word: str) -> None:
        self.place = word
        if word in ("over", "above") and self._next()[:1].isdigit():
            # What is denied beyond a bound is affirmed up to it.
            self.negations += 1
        elif word == "over" and self._next():
            self.yields = stem(self._next())

    def _read_time(self, word: str) -> None:
        following = self._next()
        if word in _EVERY:
            self._tell("every", _EVERY[word])
        elif word in ("every", "each"):
            if following in _UNITS:
                kind, factor = _UNITS[following]
                self.at += 1
                self._tell("every" if kind == "duration" else kind, factor)
        elif word in _MONTHS and following.isdigit() and int(following) <= _LAST_DAY:
            self.at += 1
            self._read_day(_MONTHS[word], int(following))
        elif word not in _MONTHS:
            self._tell("weekday", word.removesuffix("s"))
        elif word not in _ALSO_VERBS or self._former() in _DATED:
            self._tell("month", _MONTHS[word])
        elif word in _AUXILIARIES:
            self._begin_predicate("")
        else:
            self._read_content(word)

    def _begin_predicate(self, verb: str) -> None:
        if self.subject is None:
            self.subject = len(self.words)
            self.verb = verb
            self.place = ""

    def _read_content(self, word: str) -> None:
        root = stem(word)
        if root in _OPPOSITE_STEMS and (self.subject is not None or root in _VERB_STEMS):
            self.negations += 1
            root = _OPPOSITE_STEMS[root]
        is_verb = root in _VERB_STEMS and self._former() not in _BEFORE_NOUNS
        if self.subject is None and is_verb:
            self._begin_predicate(root)
            self.event = word in _IRREGULAR or word.endswith("ed")
        elif self.verb in ("", _HAVE) and len(self.words) == self.subject and (is_verb or word.endswith("ed")):
            self.verb = root
        if root in _LIGHT_STEMS:
            return
        if self.owner_seen and self.subject is None:
            self.owned.add(root)
        self.owner_seen = self.owner_seen or word.endswith("'s")
        self._add(root)

    def _add(self, root: str) -> None:
        self.words.append(root)
        self.places.append(self.place)
