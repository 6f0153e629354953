"""What a text tells: its sentences as facts, preferences, events in time and episodes, by fixed rules.

The rules read English. A sentence that fits several kinds is of the first of `KINDS`; one that fits none, and every
question, tells nothing.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Final, Literal, TypeAlias

Kind: TypeAlias = Literal["temporal_event", "preference", "episode", "fact"]

KINDS: Final[tuple[Kind, ...]] = ("temporal_event", "preference", "episode", "fact")
"""The kinds of knowledge, the one that wins first."""

_WORDS_FROM: Final = 2

# A mark ends a sentence only before space or the end, possibly behind a closing quote: v2.1, e.g. and a URL go on.
# Scripts without spaces have marks of their own that always end one.
_END: Final = r"(?:[.!?\u2026]+[\"'\u201d\u2019)\]*_]*(?=\s|$)|[\u3002\uff01\uff1f]+)"
_LINE_BREAK: Final = r"[\n\r\u0085\u2028\u2029]+"
_LIST_MARK: Final = r"\s*(?:(?:[-*+>\u2022\u2013]|#{1,6}|\d{1,3}[.)])\s+)*"
_NEVER_LAST: Final = (
    r"adj|approx|cf|dr|eg|e\.g|esp|gen|gov|hon|ie|i\.e|incl|lt|messrs|mr|mrs|ms|mt|prof|rep|rev|sen|st|viz|vs"
    r"|(?-i:[^\W\d_I])"
)
_LAST_BEFORE_CAPITAL: Final = r"al|a\.m|bros|co|corp|dept|div|est|etc|inc|jr|ltd|misc|p\.m|ph\.d|sr|u\.k|u\.n|u\.s"
_LAST_BEFORE_WORD: Final = r"art|ch|eq|fig|nos?|nr|pp|sec|vol"
_MARKS: Final = ".!?\u2026\u3002\uff01\uff1f"
_LONGEST_ABBREVIATION: Final = 12
_OPENERS: Final = "([\"'\u201c\u2018*_"
_CLOSERS: Final = "\"'\u201d\u2019)]*_"

_NOT_COUNTED: Final = (
    r"(?!\s+(?!(?:is|was|has|as|its|his|this|always)\b)"
    r"(?:\w*[^\W_su]s|byte|bit|character|col|data|item|men|people|percent|px|kb|mb|gb|row|record|user)\b)"
)
_YEAR: Final = rf"(?<![\w.,$\u20ac\u00a3#/:-])(?:19|20)\d\d(?![\w%/:]|[.,]\d|-[^\W\d]){_NOT_COUNTED}"
_MONTH: Final = r"(?:january|february|march|april|may|june|july|august|september|october|november|december)"
_ANY_MONTH: Final = rf"(?:{_MONTH}|(?:jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec)\b\.?)"
_CAPITAL_MONTH: Final = (
    r"(?-i:January|February|March|April|May|June|July|August|September|October|November|December"
    r"|(?:Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)\b\.?)"
)
_BEFORE_TIME: Final = (
    r"(?:in|on|since|until|till|by|before|after|during|from|of|around|circa|early|late|mid|last|next|every)"
)
_DAY_NUMBER: Final = r"(?:0?[1-9]|[12]\d|3[01])"
_ORDINAL: Final = rf"{_DAY_NUMBER}(?:st|nd|rd|th)\b"
_UNITS: Final = r"(?:second|minute|hour|day|night|week|weekend|month|quarter|year|spring|summer|autumn|winter)s?"
_COUNT: Final = r"(?:\d+|an?|one|two|three|four|five|six|seven|eight|nine|ten|twelve|a\s+few|several|some|many)"

_TIMES: Final = (
    r"\b(?:19|20)\d\d[-/](?:0?[1-9]|1[0-2])[-/](?:0?[1-9]|[12]\d|3[01])(?!\d)",  # 2024-05-01
    rf"(?<![\w./-]){_DAY_NUMBER}([./-]){_DAY_NUMBER}\1(?:19|20)\d\d(?!\d)",  # 01/05/2024, 1.5.2024
    # 2024, unless it counts or numbers something: 2000 users, port 2049
    rf"(?<!port )(?<!code )(?<!error )(?<!number )(?<!line )(?<!page )(?<!rfc )(?<!id )(?<!version ){_YEAR}",
    r"(?<![\w:.])(?:[01]?\d|2[0-4]):[0-5]\d(?::[0-5]\d)?(?![\w:])",  # 9:30, 21:05:10
    r"\b(?:1[0-2]|0?[1-9])(?::[0-5]\d)?\s?[ap](?:m\b|\.m\.?)",  # 3 pm, 9 a.m.
    r"\b(?:at|by|until|since|before|after|around)\s+(?:noon|midnight|dawn|dusk)\b",
    # A month that is also a verb or a name needs a day, a year or a word of time beside it.
    rf"\b{_CAPITAL_MONTH}\s+{_DAY_NUMBER}(?![\w%:]|[.,]\d)",
    rf"\b{_ANY_MONTH}\s+(?:the\s+)?{_ORDINAL}",
    rf"\b{_ANY_MONTH}\s+(?:{_DAY_NUMBER},\s*)?(?:19|20)\d\d\b",
    rf"\b(?:the\s+)?{_ORDINAL}\s+(?:of\s+)?{_ANY_MONTH}(?!\w)|(?<![\w.]){_DAY_NUMBER}\.?\s+{_CAPITAL_MONTH}(?!\w)",
    rf"\b{_BEFORE_TIME}\s+(?:early\s+|late\s+|mid[- ])?(?:{_MONTH}\b|{_CAPITAL_MONTH})(?!\s+(?:not|be|have)\b|\w)",
    r"\b(?:(?:january|february|july|september|october|november|december)|(?-i:April|August))\b",
    r"\b(?:mon|tues|wednes|thurs|fri|satur|sun)days?\b",
    rf"\b{_BEFORE_TIME}\s+(?-i:Mon|Tues?|Wed|Thu(?:rs)?|Fri|Sat|Sun)\b",
    r"\b(?:yesterday|today|tomorrow|tonight)\b",
    rf"\b(?:last|next|this|past|previous|coming)\s+{_UNITS}(?!\w)",
    r"\bthis\s+(?:morning|afternoon|evening)\b",
    rf"\b{_COUNT}\s+{_UNITS}\s+(?:ago|from\s+now|earlier|later)\b",
)

_SOMEONE: Final = r"(?:i|we|they|he|she|(?:the|our|my)\s+(?:users?|team|customers?|clients?|group)|users?|team)"
_BETWEEN: Final = (
    r"(?=\s|['\u2019])\s*(?:(?:['\u2019](?:ve|d|ll)|have|had|has|would|will|just|also|then|finally|recently|already"
    r"|really|always|usually|generally|strongly|definitely|actually|both|all|much|still|only|once|later|first"
    r"|eventually|successfully|quickly|together)\s+)*"
)
_NOT: Final = r"(?:do\s+not|don['\u2019]t|does\s+not|doesn['\u2019]t|never|can\s?not|can['\u2019]t)"

_PREFERENCES: Final = (
    rf"\b(?:i|we){_BETWEEN}(?:prefer|like|love|hate|dislike|want|enjoy)\b",
    r"\b(?:i|we)(?:['\u2019]d|\s+would)\s+(?:much\s+)?rather\b",
    rf"\b{_SOMEONE}\s+{_NOT}\s+(?:(?:really|ever|even|always)\s+)*(?:prefer|like|love|want|enjoy|stand)\b",
    rf"\b{_SOMEONE}{_BETWEEN}(?:prefers?|likes|loves|hates|dislikes|enjoys|wants)\b",
    r"\b(?:my|our|his|her|their|user['\u2019]s)\s+(?:\w+\s+)?(?:favou?rite|preferred|preference)\b",
    r"\b(?:prefers|prefer\s+to)\b|^(?:please\s+)?(?:always\s+)?prefer\b",
)

_EPISODES: Final = (
    (
        rf"\b{_SOMEONE}{_BETWEEN}(?:did|met|built|shipped|deployed|decided|fixed|added|went|wrote|rewrote|finished"
        r"|completed|removed|migrated|launched|released|moved|switched|chose|agreed|tried|tested|installed|upgraded|updated"
        r"|created|implemented|merged|reverted|refactored|replaced|deleted|renamed|found|discovered|learned|learnt"
        r"|debugged|visited|attended|talked|spoke|discussed|called|bought|sold|made|ran|started|stopped|solved|resolved"
        r"|published|presented|hired|joined|left|dropped|rolled\s+back|set\s+up|turned\s+(?:off|on))\b"
    ),
)

_FACTS: Final = (
    r"\b(?:is|are|was|were|has|have|uses|runs\s+on|consists\s+of|supports|requires|depends\s+on|stores)\b",
    r"\b(?:it|that|this|there|here|he|she|what)['\u2019]s\b|\b(?:i['\u2019]m|(?:we|they|you)['\u2019]re)\b",
    r"\b(?:isn|aren|wasn|weren|hasn|haven)['\u2019]t\b",
    (
        r"\b(?:contains|includes|provides|returns|needs|expects|means|equals|costs|belongs\s+to|lives\s+in|works\s+at"
        r"|works\s+for|listens\s+on|connects\s+to|points\s+to|owns|speaks|depends|runs|expires)\b"
    ),
    r"\b(?:i|we|they|you)\s+(?:use|run|support|require|store|need|depend\s+on|work\s+(?:at|for|on|in)|live\s+in|own)\b",
)


def extract(text: str) -> list[tuple[Kind, str]]:
    """Return what the sentences of ``text`` tell, each once, in order, as its kind and its exact words."""
    found: list[tuple[Kind, str]] = []
    seen: set[str] = set()
    for sentence, is_question in sentences(text):
        kind = None if is_question else kind_of(sentence)
        form = " ".join(sentence.casefold().split())
        if kind is not None and form not in seen:
            seen.add(form)
            found.append((kind, sentence))
    return found


def kind_of(sentence: str) -> Kind | None:
    """Return the kind of knowledge in a sentence, or None if it tells nothing."""
    if len(sentence.split()) < _WORDS_FROM:
        return None
    return next((kind for kind in KINDS if _pattern(kind).search(sentence)), None)


def sentences(text: str) -> Iterator[tuple[str, bool]]:
    """Yield the sentences of ``text`` without list marks and their last mark, and whether each is a question.

    A line break ends a sentence, and so does ``.``, ``!`` or ``?`` before a space, except behind an abbreviation or an
    initial.
    """
    for line in _compiled(_LINE_BREAK).split(text):
        start = _end_of(_compiled(_LIST_MARK).match(line))
        for end in _compiled(_END).finditer(line):
            if end.start() < start or not _ends(line, start, end):
                continue
            mark = end.group()
            stop = end.start() if mark[-1] in _MARKS else end.end()
            yield from _sentence(line[start:stop], is_question="?" in mark or "\uff1f" in mark)
            start = end.end()
        yield from _sentence(line[start:], is_question=False)


def _sentence(text: str, is_question: bool) -> Iterator[tuple[str, bool]]:
    stripped = text.strip()
    if any(map(str.isalnum, stripped)):
        yield stripped, is_question


def _ends(line: str, start: int, end: re.Match[str]) -> bool:
    """Tell whether a mark ends the sentence that began at ``start``."""
    mark = end.group().rstrip(_CLOSERS)
    following = _compiled(r"\S").search(line, end.end())
    if following is None:
        return True
    if mark in ("\u2026", "...", ".."):
        return not following.group().islower()
    if mark != ".":
        return True
    before = line[max(start, end.start() - _LONGEST_ABBREVIATION) : end.start()].split()
    last = before[-1].lstrip(_OPENERS) if before else ""
    if _compiled(_NEVER_LAST).fullmatch(last):
        return False
    if _compiled(_LAST_BEFORE_CAPITAL).fullmatch(last):
        return following.group().isupper()
    return not (_compiled(_LAST_BEFORE_WORD).fullmatch(last) and following.group().isdigit())


def _end_of(match: re.Match[str] | None) -> int:
    return match.end() if match else 0


@functools.cache
def _pattern(kind: Kind) -> re.Pattern[str]:
    rules = {"temporal_event": _TIMES, "preference": _PREFERENCES, "episode": _EPISODES, "fact": _FACTS}
    # Every rule begins with a word: looking for that first makes a search five times faster.
    return re.compile(r"\b(?=\w)(?:" + "|".join(f"(?:{rule})" for rule in rules[kind]) + ")", re.IGNORECASE)


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    # Compiled when first needed: a server that extracts nothing pays nothing.
    return re.compile(pattern, re.IGNORECASE)
