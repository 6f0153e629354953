"""Any text is searched for as what it is: every script, every operator, every odd character."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimir import InvalidInput, Memory, MimirError

MODES = ["fts5", "dense", "hybrid", ""]

TEXTS = {
    "english": ("the meeting moved to thursday afternoon", "thursday"),
    "german": ("Die Straße über den großen Fluss ist gesperrt", "straße"),
    "accents": ("le café près de l'hôtel est fermé", "cafe"),
    "decomposed": ("un re\u0301sume\u0301 bref", "résumé"),
    "turkish": ("İstanbul'da yağmur yağıyor", "yağmur"),
    "greek": ("η βιβλιοθήκη κλείνει νωρίς", "βιβλιοθήκη"),
    "russian": ("библиотека закрыта в понедельник", "библиотека"),
    "arabic": ("المكتبة مغلقة يوم الاثنين", "المكتبة"),
    "hebrew": ("הספרייה סגורה ביום שני", "הספרייה"),
    "hindi": ("पुस्तकालय सोमवार को बंद रहता है", "पुस्तकालय"),
    "bengali": ("গ্রন্থাগার সোমবার বন্ধ থাকে", "গ্রন্থাগার"),
    "tamil": ("நூலகம் திங்கட்கிழமை மூடப்படும்", "நூலகம்"),
    "thai": ("ห้องสมุดปิดวันจันทร์", "ห้องสมุด"),
    "lao": ("ຫໍສະໝຸດປິດວັນຈັນ", "ຫໍສະໝຸດ"),
    "khmer": ("បណ្ណាល័យបិទថ្ងៃច័ន្ទ", "បណ្ណាល័យ"),
    "burmese": ("စာကြည့်တိုက်တနင်္လာပိတ်သည်", "စာကြည့်တိုက်"),
    "chinese": ("数据库部署在法兰克福的服务器上", "法兰克福"),
    "one character": ("会议改到周四下午", "周"),
    "mixed": ("我们用PostgreSQL存储数据", "PostgreSQL"),
    "japanese": ("データベースは東京のサーバーにあります", "東京"),
    "katakana": ("データベースの移行", "データ"),
    "korean": ("데이터베이스는 서울 서버에 있습니다", "서울"),
    "rare plane": ("𠮷野家で昼食", "𠮷野家"),
    "emoji": ("release party 🎉 on friday", "party"),
    "identifier": ("set auth_token_ttl before deploying", "auth_token_ttl"),
    "camel": ("call getUserById first", "getUserById"),
    "path": ("the file /etc/nginx/nginx.conf is generated", "nginx.conf"),
    "version": ("upgrade to v2.14.1 tonight", "2.14.1"),
    "number": ("the port is 54321", "54321"),
    "address": ("write to ops@example.org about it", "ops@example.org"),
}


@pytest.fixture
def polyglot(memory: Memory) -> Memory:
    memory.remember_many(
        {"category": "c", "key": f"{number}", "body_json": {"content": text}}
        for number, (text, _) in enumerate(TEXTS.values())
    )
    return memory


@pytest.mark.parametrize("name", TEXTS)
def test_a_word_is_found_in_any_script(polyglot: Memory, name: str) -> None:
    text, word = TEXTS[name]
    key = str(list(TEXTS).index(name))
    for query in (word, f"  {word} ", text):
        hits = polyglot.recall(query, mode="fts5", reinforce=False).items
        assert hits, query
        assert hits[0].key == key, query
    assert polyglot.recall(text, reinforce=False).items[0].key == key


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("the CAFÉ is closed", "cafe"),
        ("cafe\u0301", "CAFÉ"),
        ("서울 서버", unicodedata.normalize("NFD", "서울")),
        (unicodedata.normalize("NFD", "서울 서버"), "서울"),
        (unicodedata.normalize("NFD", "ガイドの手順"), "ガイド"),
        ("don't panic", "panic"),
        ("it’s the user’s choice", "choice"),
    ],
)
def test_words_are_found_in_another_form(keyword_memory: Memory, text: str, query: str) -> None:
    keyword_memory.remember("c", "k", {"content": text})
    keyword_memory.remember("c", "other", {"content": "nothing of the kind"})
    assert [hit.key for hit in keyword_memory.recall(query).items] == ["k"]


OPERATORS = [
    "tea AND coffee",
    "tea OR",
    "NOT tea",
    "NEAR(tea coffee, 5)",
    '"tea',
    'tea"',
    '""',
    "tea*",
    "*tea",
    "*",
    "^tea",
    "content:tea",
    "key : tea",
    "{key text} : tea",
    "-tea",
    "+tea",
    "(tea",
    "tea)",
    "()",
    "tea;DROP TABLE entities",
    "tea' OR '1'='1",
    "tea\\",
    "%",
    "_",
    "tea%",
    "\x00",
    "tea\x00coffee",
    "tea\u2028coffee",
    "\u200b",
    "\ufeff",
    "\u202etea",
    "🎉",
    "👩‍👩‍👧",
    "a" * 5_000,
    "tea " * 3_000,
    "'" * 50,
    "ك" * 300,
    "茶" * 3_000,
]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("query", OPERATORS, ids=lambda query: ascii(query)[:24])
def test_operators_are_plain_text(memory: Memory, query: str, mode: str) -> None:
    memory.remember("c", "k", {"content": "tea and coffee"})
    answer = memory.recall(query, mode=mode, reinforce=False)
    if "tea" in query and "aaa" not in query and mode != "dense":
        assert [hit.key for hit in answer.items] == ["k"]


@pytest.mark.parametrize("text", ["tea\x00coffee", "\x00", "a\x00\x00b"], ids=ascii)
def test_nul_characters_are_kept_and_searched_around(memory: Memory, text: str) -> None:
    memory.remember("c" + text, "k" + text, {"content": text}, tags=[text], topic_path="/" + text)
    for query in ("k" + text, ""):
        (hit,) = memory.recall(query, category="c" + text, topic_path="/" + text, reinforce=False).items
        assert (hit.category, hit.key, hit.tags) == ("c" + text, "k" + text, (text,))
    assert memory.as_of("c" + text, "k" + text, 1 << 60).found is True
    assert memory.as_of("c", "k", 1 << 60).found is False
    if "coffee" in text:
        assert [hit.key for hit in memory.recall("coffee", mode="fts5").items] == ["k" + text]


@pytest.mark.parametrize(
    "call",
    [
        lambda memory, text: memory.recall(text),
        lambda memory, text: memory.recall("x", category=text),
        lambda memory, text: memory.recall("x", workspace_hash=text),
        lambda memory, text: memory.recall("x", topic_path=text),
        lambda memory, text: memory.recall_when(text),
        lambda memory, text: memory.recall_layer(text),
        lambda memory, text: memory.semantic_search(text),
        lambda memory, text: memory.context(query=text),
        lambda memory, text: memory.get_entity(text),
        lambda memory, text: memory.history(text, "k"),
        lambda memory, text: memory.as_of("c", text, 0),
        lambda memory, text: memory.forget("c", "k", text),
        lambda memory, text: memory.embed(category="c", key="k", text=text),
    ],
    ids=[
        "recall",
        "category",
        "workspace",
        "topic",
        "recall_when",
        "recall_layer",
        "semantic_search",
        "context",
        "get_entity",
        "history",
        "as_of",
        "forget",
        "embed",
    ],
)
def test_half_of_a_surrogate_pair_is_refused_by_every_operation(memory: Memory, call: object) -> None:
    memory.remember("c", "k", {"content": "x"})
    assert callable(call)
    with pytest.raises(InvalidInput):
        call(memory, "half \ud800 pair")
    assert memory.recall("x").items[0].archived is False


# Characters that Unicode has not assigned yet are letters to one library and punctuation to another.
ODD = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cn", "Co")), max_size=60)
TYPED = st.one_of(
    ODD,
    st.lists(
        st.sampled_from(
            [
                "tea",
                "AND",
                "OR",
                "NOT",
                "NEAR",
                "(",
                ")",
                '"',
                "*",
                "^",
                ":",
                "-",
                "+",
                "{",
                "}",
                ",",
                "'",
                "茶",
                "\x00",
            ]
        ),
        max_size=12,
    ).map("".join),
    st.lists(
        st.sampled_from(["tea", "AND", "OR", "NOT", "NEAR(", ")", '"', "*", "^", "key:", "-", "の"]), max_size=12
    ).map(" ".join),
)


@settings(max_examples=150)
@given(query=TYPED, mode=st.sampled_from(MODES), archived=st.booleans())
def test_no_text_breaks_a_search(memory: Memory, query: str, mode: str, archived: bool) -> None:
    if memory.stats().total_entities == 0:
        memory.remember("c", "k", {"content": "tea and 茶 AND NOT coffee"})
    try:
        answer = memory.recall(query, mode=mode, include_archived=archived, reinforce=False)
        memory.recall_when(query)
        memory.context(query=query)
    except MimirError as error:
        pytest.fail(f"{error.code}: {error.message}")
    assert len(answer.items) <= 1


@settings(max_examples=100)
@given(text=ODD.filter(lambda text: any(character.isalnum() for character in text)))
def test_every_memory_is_found_by_its_own_text(keyword_memory: Memory, text: str) -> None:
    key = f"key {keyword_memory.stats().total_entities}"
    keyword_memory.remember("own", key, {"content": text})
    answer = keyword_memory.recall(text, category="own", limit=1_000, reinforce=False)
    assert key in [hit.key for hit in answer.items]


@settings(max_examples=100)
@given(topic=ODD, prefix=ODD)
def test_a_topic_filter_is_a_literal_prefix(keyword_memory: Memory, topic: str, prefix: str) -> None:
    keyword_memory.remember("topics", "k", {"content": "tea"}, topic_path=topic)
    for asked in (prefix, topic, topic[:1], topic + "x"):
        found = keyword_memory.recall("", topic_path=asked, reinforce=False).items
        assert bool(found) == topic.startswith(asked)
