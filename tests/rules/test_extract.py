"""Extraction: what sentences tell, by rules that look at words, not at letters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimir.rules.extract import KINDS, extract, kind_of, sentences

PIECES = st.from_regex(
    r"I|we|prefer|like|shipped|\.|\.\.\.|!|\?|e\.g\.|Dr\.|v2\.1|2024|May|5|march|9:30|is|has|'d|Q1|\n|-|1\.|\(a\)|no\."
    "|\0|\u3002|\u65e5|\u201cso\\.\u201d",
    fullmatch=True,
)
TEXTS = st.lists(PIECES | st.text(max_size=8), max_size=30).map(" ".join)


def parts(text: str) -> list[str]:
    return [sentence for sentence, _ in sentences(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("We use v2.1 of it. It works.", ["We use v2.1 of it", "It works"]),
        ("Use a queue, e.g. Redis, for jobs. Done.", ["Use a queue, e.g. Redis, for jobs", "Done"]),
        ("Ask Dr. Smith. He knows.", ["Ask Dr. Smith", "He knows"]),
        ("J. R. Smith wrote it. So did I. Then we left.", ["J. R. Smith wrote it", "So did I", "Then we left"]),
        ("The U.S. office is open. We moved to the U.S. It was hot.", 3),
        ("Acme Inc. uses Rust. We left Acme Inc. It was time.", 3),
        ("See fig. 2 for it. I said no. No. 5 is alive.", ["See fig. 2 for it", "I said no", "No. 5 is alive"]),
        ("We waited... and then it worked. We waited... Then it failed.", 3),
        ("Read https://example.org/a?b=1. Then reply!", ["Read https://example.org/a?b=1", "Then reply"]),
        ("It costs 3.50 a piece. Fine.", ["It costs 3.50 a piece", "Fine"]),
        ('He said "stop." We stopped.', ['He said "stop."', "We stopped"]),
        ("What?! No way.", ["What", "No way"]),
        ("one\ntwo\r\n\r\nthree\u2028four", ["one", "two", "three", "four"]),
        ("- first\n* second\n3. third\n## Fourth\n> fifth", ["first", "second", "third", "Fourth", "fifth"]),
        ("我们用数据库。它很快！", ["我们用数据库", "它很快"]),
        ("  ...  \n\n --- \n", []),
        ("i like tea. we shipped it.", ["i like tea", "we shipped it"]),
    ],
)
def test_sentences_end_where_they_end(text: str, expected: list[str] | int) -> None:
    found = parts(text)
    assert (len(found) if isinstance(expected, int) else found) == expected


@pytest.mark.parametrize(
    "sentence",
    [
        "The contract was signed on 2024-05-01",
        "Due 01/05/2024 at the latest",
        "The project started in 2019",
        "2024 was a hard year",
        "The meeting is at 9:30",
        "Standup moved to 3 pm",
        "The window closes at midnight",
        "On May 5 the server failed",
        "They arrived on 5 May",
        "It broke on the 3rd of March",
        "march 3rd is the deadline",
        "we met in may",
        "Since Jan it is slower",
        "Sept. 12 is blocked",
        "December was quiet",
        "We deploy on Mondays",
        "yesterday the build was red",
        "The review is next week",
        "Last winter the pipes froze",
        "this morning nothing worked",
        "three weeks ago it crashed",
        "Q3 2025 is the target",
        "I prefer to meet tomorrow",
    ],
)
def test_a_time_makes_a_temporal_event(sentence: str) -> None:
    assert kind_of(sentence) == "temporal_event"


@pytest.mark.parametrize(
    "sentence",
    [
        "It may break under load",
        "You may 5x the cost this way",
        "The soldiers march on, as is their habit",
        "He is marching and the dismay is real",
        "The limit is 2000 users",
        "The page size is 2048 bytes",
        "The server has port 2049",
        "RFC 2045 is old",
        "The ratio is 16:9 here",
        "The address is 10.0.0.1:80 now",
        "The build is 20240 and has a twin",
        "An august body is here",
        "The second item is wrong",
        "Monitoring is on, and the sun is out",
        "It costs $2000 and is cheap",
        "The weekend is long",
    ],
)
def test_words_that_only_look_like_a_time_do_not(sentence: str) -> None:
    assert kind_of(sentence) in ("fact", None)


@pytest.mark.parametrize(
    "sentence",
    [
        "I prefer tabs",
        "I really like dark mode",
        "i'd rather wait",
        "I\u2019d rather wait",
        "I would rather not",
        "We always prefer small commits",
        "I don't like long meetings",
        "My favourite editor is Vim",
        "my favorite is Vim",
        "The user prefers tabs over spaces",
        "Our team dislikes meetings",
        "I want the report in German",
        "Prefer composition over inheritance",
        "They can't stand pop-ups",
    ],
)
def test_a_liking_makes_a_preference(sentence: str) -> None:
    assert kind_of(sentence) == "preference"


@pytest.mark.parametrize(
    "sentence",
    [
        "We decided to use Redis",
        "I fixed the login bug",
        "we've just shipped the importer",
        "I have finally finished the draft",
        "They migrated to Postgres",
        "The team launched the beta",
        "We rolled back the release",
        "I met the new lead",
        "She wrote the parser",
    ],
)
def test_a_deed_makes_an_episode(sentence: str) -> None:
    assert kind_of(sentence) == "episode"


@pytest.mark.parametrize(
    "sentence",
    [
        "The port is 5432",
        "It looks like the port is taken",
        "The service depends on Redis",
        "The daemon runs on Linux",
        "The cluster consists of three nodes",
        "It's a monolith",
        "We use SQLite",
        "Tests aren't flaky",
        "The API returns JSON",
    ],
)
def test_a_statement_makes_a_fact(sentence: str) -> None:
    assert kind_of(sentence) == "fact"


@pytest.mark.parametrize(
    "sentence", ["Thanks a lot", "Island hopping", "Whereas this", "Hash browns", "is", "yesterday", "OK then", ""]
)
def test_what_tells_nothing_has_no_kind(sentence: str) -> None:
    assert kind_of(sentence) is None


def test_a_text_gives_its_knowledge_in_order_and_once() -> None:
    text = (
        "We shipped v2.7 yesterday. I prefer Postgres, e.g. for JSON! Is it fast? It is fast.\n"
        "- We decided to keep it.\n- it is  fast\nThanks."
    )
    assert extract(text) == [
        ("temporal_event", "We shipped v2.7 yesterday"),
        ("preference", "I prefer Postgres, e.g. for JSON"),
        ("fact", "It is fast"),
        ("episode", "We decided to keep it"),
    ]


def test_questions_tell_nothing() -> None:
    assert extract("Did we meet yesterday? Is the port 5432? 它是什么？") == []


@given(text=TEXTS)
def test_whatever_is_found_stands_in_the_text(text: str) -> None:
    found = extract(text)
    for kind, sentence in found:
        assert kind in KINDS
        assert sentence == sentence.strip()
        assert sentence in text
    assert len({sentence.casefold() for _, sentence in found}) == len(found)


@given(text=TEXTS)
def test_the_same_text_always_gives_the_same(text: str) -> None:
    assert extract(text) == extract(text)


@given(texts=st.lists(TEXTS, max_size=4))
def test_lines_are_independent(texts: list[str]) -> None:
    one_line = [" ".join(text.split()) for text in texts]
    alone = dict.fromkeys(" ".join(sentence.casefold().split()) for text in one_line for _, sentence in extract(text))
    together = [" ".join(sentence.casefold().split()) for _, sentence in extract("\n".join(one_line))]
    assert together == list(alone)
