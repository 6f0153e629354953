"""Recall: what is found, in what order, with what beside it, and what it leaves behind."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimir import InvalidInput, Memory, Unavailable
from mimir.model import Recalled
from tests.conftest import OpenMemory
from tests.doubles import DAY_MS, START_MS, FixedClock, WordEmbedder

MODES = ["fts5", "dense", "hybrid"]
ANY_MODE = [*MODES, ""]

each_mode = pytest.mark.parametrize("mode", MODES)


def keys(answer: Recalled) -> list[str]:
    return [hit.key for hit in answer.items]


def fill(memory: Memory, texts: Sequence[str], category: str = "c") -> None:
    memory.remember_many(
        {"category": category, "key": f"k{place}", "body_json": {"content": text}} for place, text in enumerate(texts)
    )


@pytest.fixture
def drinks(memory: Memory) -> Memory:
    fill(
        memory,
        [
            "green tea is brewed at eighty degrees",
            "black tea is brewed with boiling water",
            "coffee is ground fresh every morning",
            "the kettle boils water in two minutes",
        ],
    )
    return memory


# --- modes and arms


@each_mode
def test_the_memory_that_answers_comes_first(drinks: Memory, mode: str) -> None:
    answer = drinks.recall("how is green tea brewed", mode=mode)
    assert answer.items[0].key == "k0"
    assert answer.mode == mode


def test_every_answer_says_which_arms_ran_and_what_each_gave(drinks: Memory) -> None:
    assert drinks.recall("tea", mode="fts5").arms == {"keyword": 2}
    assert drinks.recall("tea", mode="dense").arms == {"dense": 4}
    assert drinks.recall("tea", mode="hybrid").arms == {"keyword": 2, "dense": 4}
    assert drinks.recall("").arms == {"browse": 4}


def test_without_a_mode_both_arms_run_once_something_can_have_a_vector(memory: Memory) -> None:
    assert memory.recall("tea").mode == "fts5"
    memory.remember("c", "k", {"content": "tea"})
    assert memory.recall("tea").mode == "hybrid"


def test_an_unknown_mode_is_keyword_recall(drinks: Memory) -> None:
    assert drinks.recall("tea", mode="vector").mode == "fts5"


def test_without_an_embedder_recall_goes_on_by_keyword_and_says_so(keyword_memory: Memory) -> None:
    keyword_memory.remember("c", "k", {"content": "green tea"})
    for mode in ("", "hybrid"):
        answer = keyword_memory.recall("tea", mode=mode)
        assert keys(answer) == ["k"]
        assert answer.mode == "fts5"
        assert isinstance(answer.degraded, str)
        assert "keyword" in answer.degraded
        assert "off" in answer.degraded


def test_keyword_recall_that_was_asked_for_is_not_called_degraded(keyword_memory: Memory) -> None:
    assert keyword_memory.recall("tea", mode="fts5").degraded is msgspec.UNSET


def test_recall_by_meaning_alone_needs_an_embedder(keyword_memory: Memory) -> None:
    for call in (
        lambda: keyword_memory.recall("tea", mode="dense"),
        lambda: keyword_memory.semantic_search("tea"),
        lambda: keyword_memory.embed(batch_category="c"),
    ):
        with pytest.raises(Unavailable, match="No embedding backend available") as raised:
            call()
        assert raised.value.hint


def test_by_meaning_alone_everything_has_a_place(drinks: Memory) -> None:
    assert len(drinks.recall("unheard of", mode="dense", limit=10).items) == 4
    assert len(drinks.recall("unheard of", mode="dense", limit=2).items) == 2


def test_a_reply_far_from_every_memory_is_marked(drinks: Memory) -> None:
    assert drinks.recall("submarine volcano", mode="dense").low_relevance is True
    assert drinks.recall("green tea is brewed at eighty degrees", mode="dense").low_relevance is msgspec.UNSET


def test_an_exact_key_is_never_marked_as_off_topic(drinks: Memory) -> None:
    answer = drinks.recall("k3", mode="hybrid")
    assert answer.items[0].key == "k3"
    assert answer.low_relevance is msgspec.UNSET


@pytest.mark.parametrize("fusion", ["score", "rrf"])
def test_a_memory_that_both_arms_put_first_has_the_whole_relevance(drinks: Memory, fusion: Any) -> None:  # noqa: ANN401
    first = drinks.recall("green tea is brewed at eighty degrees", mode="hybrid", fusion=fusion).items[0]
    assert first.key == "k0"
    assert 0.98 < first.score <= 1.0


# --- what a hit carries


def test_a_hit_carries_its_dates_its_age_and_why_it_was_found(memory: Memory, clock: FixedClock) -> None:
    memory.remember("c", "k", {"content": "green tea"})
    clock.advance(3 * DAY_MS)
    (hit,) = memory.recall("green tea", mode="hybrid").items
    assert (hit.created_at_unix_ms, hit.recorded_at_unix_ms, hit.age_days) == (START_MS, START_MS, 3.0)
    assert hit.evidence == "green tea"
    assert isinstance(hit.scores, dict)
    assert hit.scores.keys() == {"keyword", "dense"}
    assert hit.scores["dense"] == pytest.approx(1.0, abs=0.01)


@each_mode
def test_the_passage_that_matched_is_the_evidence(memory: Memory, mode: str) -> None:
    filler = "\n\n".join(f"paragraph {number} speaks of ordinary things " + "and so on " * 60 for number in range(12))
    needle = "The vault combination is kept by the harbour master."
    memory.remember("c", "long", {"content": f"{filler}\n\n{needle}\n\n{filler}"})
    memory.remember("c", "short", {"content": "the harbour is closed"})
    hits = {hit.key: hit for hit in memory.recall("vault combination harbour master", mode=mode).items}
    assert needle in hits["long"].evidence
    assert len(hits["long"].evidence) <= 600


def test_body_keys_are_lifted_but_never_override_the_system(memory: Memory) -> None:
    body = {
        "content": "tea",
        "summary": "short",
        "verified": True,
        "archived": True,
        "decay_score": 99,
        "score": 99,
        "confidence": 99,
        "version_id": "forged",
        "id": "forged",
        "type": "forged",
        "evidence": "forged",
    }
    entity_id = memory.remember("c", "k", body).id
    (item,) = memory.recall("tea", mode="fts5").wire()["items"]
    assert (item["content"], item["summary"]) == ("tea", "short")
    assert (item["verified"], item["archived"], item["decay_score"]) == (False, False, 0.5)
    assert (item["id"], item["type"]) == (entity_id, "insight")
    assert item["score"] <= 1.0
    assert item["evidence"] != "forged"
    assert "confidence" not in item
    assert "version_id" not in item
    assert json.loads(item["body_json"]) == body


@pytest.mark.parametrize("body", ["[1, 2]", '"words"', "5", "null"])
def test_a_body_that_is_no_object_lifts_nothing(memory: Memory, body: str) -> None:
    memory.remember("c", "k", body)
    (item,) = memory.recall("k", mode="fts5").wire()["items"]
    assert item["body_json"] == body


@each_mode
@pytest.mark.parametrize("query", ["tea", ""])
def test_a_long_body_is_cut_at_characters_with_a_pointer_to_the_whole(memory: Memory, mode: str, query: str) -> None:
    body = json.dumps({"content": "tea 茶🍵" * 20}, ensure_ascii=False)
    entity_id = memory.remember("c", "k", body).id
    for cap in (0, 5, 17, len(body) - 1):
        (item,) = memory.recall(query, mode=mode, preview_cap=cap).wire()["items"]
        cut, footer = item["body_json"].split("\n--truncated ", 1)
        assert cut == body[:cap]
        assert footer.startswith(f'({len(body) - cap} more chars)-- full body: get_entity("{entity_id}")')
        assert "content" not in item
    for cap in (len(body), 10_000):
        (item,) = memory.recall(query, mode=mode, preview_cap=cap).wire()["items"]
        assert item["body_json"] == body
        assert "content" in item


def test_confidence_mixes_place_trust_and_strength(memory: Memory) -> None:
    memory.remember("c", "sure", {"content": "green tea hot"}, certainty=1.0, importance=1.0)
    memory.remember("c", "unsure", {"content": "green lamp"}, certainty=0.0, importance=0.0)
    answer = memory.recall("green tea", mode="fts5", include_confidence=True)
    assert [(hit.key, hit.confidence) for hit in answer.items] == [("sure", 1.0), ("unsure", 0.25)]
    alone = memory.recall("tea", mode="fts5", include_confidence=True)
    assert [hit.confidence for hit in alone.items] == [1.0]
    assert memory.recall("tea", mode="fts5").items[0].confidence is msgspec.UNSET


# --- order


@pytest.mark.parametrize("mode", ANY_MODE)
@pytest.mark.parametrize("key", ["auth/token:v2", "green", "用户设置", "a.b-c_d", "tea tea", "OR", '"quoted"', "***"])
def test_the_exact_key_comes_first(drinks: Memory, mode: str, key: str) -> None:
    for number in range(6):
        drinks.remember("c", f"other{number}", {"content": f"{key} {key} {key} is spoken of here {number}"})
    drinks.remember("d", key, {"content": "nothing of the kind"})
    assert drinks.recall(key, mode=mode, limit=3, reinforce=False).items[0].key == key
    assert drinks.recall(f"  {key} ", mode=mode, limit=1, reinforce=False).items[0].key == key


def test_a_published_store_gets_its_item_by_key_and_category(memory: Memory) -> None:
    for number in range(40):
        memory.remember("ns.users", f"user-{number}", {"content": "user profile user"}, type="langgraph_item")
    answer = memory.recall("user-7", category="ns.users", limit=5)
    assert answer.items[0].key == "user-7"


def test_a_whole_word_ranks_above_its_beginning(memory: Memory) -> None:
    memory.remember("c", "begun", {"content": "teapot teapot teapot"})
    memory.remember("c", "whole", {"content": "a cup of tea among many other words in a longer line of text"})
    assert keys(memory.recall("tea", mode="fts5")) == ["whole", "begun"]


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("configuration of the loadbalancer", "config"),
        ("configuration of the loadbalancer", "configurations"),
        ("configuration of the loadbalancer", "loadbal"),
        ("deployments run at night", "deploy"),
        ("deployments run at night", "deploying"),
        ("happiness is a warm server", "happy"),
        ("playlists are kept for a year", "play"),
        ("the berrypicker robot", "berry"),
        ("keyboards are spare", "key"),
        ("deployments run at night", "deploy kind"),
    ],
)
def test_a_word_is_found_by_its_beginning_and_its_stem(memory: Memory, text: str, query: str) -> None:
    memory.remember("c", "wanted", {"content": text})
    memory.remember("c", "other", {"content": "nothing of the kind"})
    assert "wanted" in keys(memory.recall(query, mode="fts5"))


def test_a_word_is_found_by_a_part_when_nothing_else_matches(memory: Memory) -> None:
    memory.remember("c", "wanted", {"content": "configuration of the loadbalancer"})
    memory.remember("c", "other", {"content": "nothing of the kind"})
    assert keys(memory.recall("balancer", mode="fts5")) == ["wanted"]


def test_key_tags_and_topic_are_searched_too(memory: Memory) -> None:
    memory.remember("c", "harbour-master", {"content": "one"}, tags=["lighthouse"], topic_path="/coast/cliffs")
    for query in ("harbour", "master", "lighthouse", "cliffs"):
        assert keys(memory.recall(query, mode="fts5")) == ["harbour-master"], query


def test_key_names_of_a_body_are_not_searched_beside_its_values(memory: Memory) -> None:
    memory.remember("c", "named", {"zebra": "stripes", "walrus": {"deep": True}})
    memory.remember("c", "valued", {"animals": ["zebra", {"sea": "walrus"}], "count": 42})
    for query in ("zebra", "walrus", "42"):
        assert keys(memory.recall(query, mode="fts5")) == ["valued"], query
    assert keys(memory.recall("stripes", mode="fts5")) == ["named"]


def test_rare_words_weigh_more_than_common_ones(memory: Memory) -> None:
    fill(memory, [f"the server runs number {number}" for number in range(30)] + ["the zeppelin rests"])
    assert memory.recall("server zeppelin", mode="fts5", limit=1).items[0].key == "k30"


def test_a_question_of_stop_words_alone_still_finds_them(memory: Memory) -> None:
    memory.remember("c", "k", {"content": "to be or not to be"})
    assert keys(memory.recall("to be or not", mode="fts5")) == ["k"]


def test_an_empty_query_lists_the_most_used_first(memory: Memory, clock: FixedClock) -> None:
    for key in ("a", "b", "d"):
        memory.remember("c", key, {"content": key})
    memory.remember("c", "b", {"content": "b"})
    clock.advance()
    memory.remember("c", "e", {"content": "e"})
    for mode in ANY_MODE:
        assert keys(memory.recall("", mode=mode, reinforce=False)) == ["b", "e", "a", "d"]
        assert keys(memory.recall(" \t\n", mode=mode, reinforce=False)) == ["b", "e", "a", "d"]


@each_mode
def test_equals_are_told_apart_by_trust_then_strength_then_id(memory: Memory, mode: str) -> None:
    texts = {"content": "green tea"}
    memory.remember("c", "k", texts, workspace_hash="plain")
    memory.remember("c", "k", texts, workspace_hash="strong", importance=0.9)
    memory.remember("c", "k", texts, workspace_hash="sure", certainty=0.9)
    memory.remember("c", "k", texts, workspace_hash="plain later")
    found = memory.recall("green tea", mode=mode, reinforce=False).items
    assert [hit.workspace_hash for hit in found] == ["sure", "strong", "plain", "plain later"]


@each_mode
def test_trust_acts_fully_when_its_weight_is_given(memory: Memory, mode: str) -> None:
    memory.remember("c", "sure", {"content": "a green lamp"}, certainty=1.0, importance=1.0)
    memory.remember("c", "unsure", {"content": "green tea"}, certainty=0.0, importance=0.0)
    assert keys(memory.recall("green tea", mode=mode, reinforce=False)) == ["unsure", "sure"]
    assert keys(memory.recall("green tea", mode=mode, trust_weight=1.0, reinforce=False)) == ["sure", "unsure"]
    assert keys(memory.recall("green tea", mode=mode, trust_weight=0.0, reinforce=False)) == ["unsure", "sure"]


@each_mode
def test_recency_halves_the_score_per_half_life(memory: Memory, clock: FixedClock, mode: str) -> None:
    memory.remember("c", "old", {"content": "green tea pot"})
    clock.advance(10_000)
    memory.remember("c", "new", {"content": "green tea"})
    fill(memory, ["submarine volcano", "brass kettle", "harbour master", "river stone"], "other")
    assert keys(memory.recall("green tea pot", mode=mode, reinforce=False))[0] == "old"
    answer = memory.recall("green tea pot", mode=mode, recency_half_life_secs=1, reinforce=False)
    assert keys(answer)[0] == "new"
    old = next(hit for hit in answer.items if hit.key == "old")
    assert old.score < 0.02
    for off in (0, None):
        assert keys(memory.recall("green tea pot", mode=mode, recency_half_life_secs=off, reinforce=False))[0] == "old"


def test_content_weight_lifts_bodies_that_hold_the_whole_query(memory: Memory) -> None:
    memory.remember("c", "scattered", {"content": "tea green tea green tea"})
    memory.remember(
        "c", "phrase", {"content": "there is a pot of GREEN   tea? no, green tea leaves it is, among others"}
    )
    lifted = memory.recall("green tea leaves", mode="fts5", content_weight=1.0, reinforce=False)
    assert lifted.items[0].key == "phrase"
    assert lifted.items[0].score > 1.5


def test_diversity_gives_every_further_word_fewer_places(memory: Memory) -> None:
    fill(memory, ["apple pie"] * 3 + ["banana pie"] * 6 + ["cherry pie"] * 6)
    answer = memory.recall("apple banana cherry", mode="fts5", limit=8, diversity_halving=0.5)
    fruits = [json.loads(hit.body_json)["content"].split()[0] for hit in answer.items]
    assert fruits == ["apple"] * 3 + ["banana"] * 4 + ["cherry"]


def test_diversity_reaches_the_places_that_limit_allows(memory: Memory) -> None:
    fill(memory, ["apple pie"] * 20 + ["banana bread and more words"] * 20)
    answer = memory.recall("apple banana", mode="fts5", limit=10, diversity_halving=0.5)
    fruits = [json.loads(hit.body_json)["content"].split()[0] for hit in answer.items]
    assert len(fruits) == 10


@each_mode
def test_members_of_a_sequence_lend_to_each_other(memory: Memory, clock: FixedClock, mode: str) -> None:
    for number, text in enumerate(["yes", "the zeppelin lands", "yes", "yes", "yes"]):
        memory.remember("talk", f"turn{number}", {"content": text}, topic_path="/talk")
        clock.advance()
    found = keys(memory.recall("where does the zeppelin land", mode=mode, reinforce=False))
    assert found[0] == "turn1"
    assert set(found[1:3]) == {"turn0", "turn2"}


def test_a_neighbour_outside_the_filter_stays_out(memory: Memory) -> None:
    memory.remember("talk", "before", {"content": "good morning"}, topic_path="/talk", type="greeting")
    memory.remember("talk", "match", {"content": "the zeppelin lands"}, topic_path="/talk")
    memory.remember("other", "after", {"content": "thank you"}, topic_path="/talk")
    memory.remember("talk", "gone", {"content": "bye"}, topic_path="/talk")
    memory.forget("talk", "gone")
    for mode in MODES:
        found = memory.recall("zeppelin", mode=mode, category="talk", type="insight", reinforce=False)
        assert keys(found) == ["match"]


# --- limits and pages


@each_mode
@pytest.mark.parametrize("query", ["tea", ""])
def test_no_more_than_the_limit_is_returned(drinks: Memory, mode: str, query: str) -> None:
    for limit in range(4):
        answer = drinks.recall(query, mode=mode, limit=limit)
        assert len(answer.items) <= limit
        assert answer.total == len(answer.items)


@each_mode
@pytest.mark.parametrize("query", ["tea", ""])
def test_limits_and_offsets_out_of_bounds_are_moved_to_them(drinks: Memory, mode: str, query: str) -> None:
    everything = keys(drinks.recall(query, mode=mode, reinforce=False))
    assert keys(drinks.recall(query, mode=mode, limit=-1, reinforce=False)) == []
    assert keys(drinks.recall(query, mode=mode, limit=5_000, reinforce=False)) == everything
    assert keys(drinks.recall(query, mode=mode, offset=-2, reinforce=False)) == everything
    assert keys(drinks.recall(query, mode=mode, offset=10**9, reinforce=False)) == []


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Any:  # noqa: ANN401 - a generator fixture
    """Return a memory of 240 texts that share words to every degree; only read."""
    words = [
        "river",
        "stone",
        "cloud",
        "ember",
        "glass",
        "wolf",
        "barley",
        "tin",
        "harbour",
        "lantern",
        "quill",
        "raven",
        "moss",
        "tide",
    ]
    path = str(tmp_path_factory.mktemp("library") / "memory.db")
    with Memory.open(path, clock=FixedClock(), embedder=WordEmbedder(), embedding="bundled") as memory:
        memory.remember_many(
            {
                "category": f"c{number % 3}",
                "key": f"text-{number}",
                "body_json": {
                    "content": " ".join(words[(number * step + step) % len(words)] for step in range(1, 2 + number % 9))
                },
                "topic_path": f"/shelf/{number % 20}" if number % 2 else "",
                "certainty": (number % 10) / 10,
            }
            for number in range(240)
        )
        memory.embed_pending()
        yield memory


PAGED = [
    ("fts5", "score"),
    ("dense", "score"),
    ("hybrid", "score"),
    ("hybrid", "rrf"),
]


@pytest.mark.parametrize(("mode", "fusion"), PAGED)
@pytest.mark.parametrize("query", ["river stone", "ember glass wolf lantern", "riv", "text-5", ""])
@pytest.mark.parametrize("size", [7, 25])
def test_pages_join_to_the_long_list(library: Memory, mode: str, fusion: Any, query: str, size: int) -> None:  # noqa: ANN401
    def page(limit: int, offset: int) -> list[str]:
        return keys(library.recall(query, mode=mode, fusion=fusion, limit=limit, offset=offset, reinforce=False))

    paged: list[str] = []
    while True:
        found = page(size, len(paged))
        paged += found
        if len(found) < size or len(paged) >= 100:
            break
    assert len(set(paged)) == len(paged), "pages overlap"
    assert paged[:100] == page(100, 0)[: len(paged)]


@pytest.mark.parametrize(("mode", "fusion"), PAGED)
def test_a_shorter_list_is_the_beginning_of_a_longer_one(library: Memory, mode: str, fusion: Any) -> None:  # noqa: ANN401
    longest = keys(library.recall("river stone moss", mode=mode, fusion=fusion, limit=60, reinforce=False))
    for limit in (1, 5, 10, 20, 40):
        found = keys(library.recall("river stone moss", mode=mode, fusion=fusion, limit=limit, reinforce=False))
        assert found == longest[:limit]


@pytest.mark.parametrize(("mode", "fusion"), PAGED)
@pytest.mark.parametrize("query", ["river stone", "ember glass wolf lantern", ""])
def test_the_same_question_gets_the_same_bytes(library: Memory, mode: str, fusion: Any, query: str) -> None:  # noqa: ANN401
    answers = {
        msgspec.json.encode(library.recall(query, mode=mode, fusion=fusion, limit=30, reinforce=False).wire())
        for _ in range(3)
    }
    assert len(answers) == 1


def test_another_process_would_give_the_same_bytes(library: Memory) -> None:
    clock, embedder = FixedClock(), WordEmbedder()
    with Memory.open(library.store.path, clock=clock, embedder=embedder) as other:
        for query in ("river stone", "moss tide quill", ""):
            ours = library.recall(query, limit=50, reinforce=False)
            theirs = other.recall(query, limit=50, reinforce=False)
            assert msgspec.json.encode(ours) == msgspec.json.encode(theirs)


# --- filters


@pytest.mark.parametrize("mode", ANY_MODE)
@pytest.mark.parametrize("query", ["green tea", ""])
@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"category": "a"}, {"a1", "a2", "pinned", "weak"}),
        ({"category": ""}, {"a1", "a2", "b1", "pinned", "weak", "mine", "world", "deep", "deeper", "sibling"}),
        ({"type": "note"}, {"a2"}),
        ({"type": ""}, {"a1", "a2", "b1", "pinned", "weak", "mine", "world", "deep", "deeper", "sibling"}),
        ({"workspace_hash": "w"}, {"b1"}),
        ({"workspace_hash": ""}, {"a1", "a2", "pinned", "weak", "mine", "world", "deep", "deeper", "sibling"}),
        ({"workspace_hash": "none"}, set()),
        ({"agent_id": "me"}, {"mine"}),
        ({"layer": "world"}, {"world"}),
        ({"layer": "core"}, {"world"}),
        ({"layer": ""}, {"a1", "a2", "b1", "pinned", "weak", "mine", "world", "deep", "deeper", "sibling"}),
        ({"always_on": True}, {"pinned"}),
        ({"always_on": False, "category": "a"}, {"a1", "a2", "weak"}),
        ({"min_decay": 0.3, "category": "a"}, {"a1", "a2", "pinned"}),
        ({"topic_path": "/p_1"}, {"deep", "deeper"}),
        ({"topic_path": "/p_1/x"}, {"deeper"}),
        ({"topic_path": "/p%"}, set()),
        ({"category": "talk"}, {"chat"}),
    ],
    ids=repr,
)
def test_a_filter_holds_in_every_mode(
    open_memory: OpenMemory, mode: str, query: str, filters: dict[str, Any], expected: set[str]
) -> None:
    memory = open_memory(exclude_categories="talk, other")
    text = {"content": "green tea"}
    memory.remember("a", "a1", text)
    memory.remember("a", "a2", text, type="note")
    memory.remember("b", "b1", text, workspace_hash="w")
    memory.remember("a", "pinned", text, always_on=True)
    memory.remember("a", "weak", text, importance=0.1)
    memory.remember("d", "mine", text, agent_id="me")
    memory.remember("d", "world", text, layer="world")
    memory.remember("d", "deep", text, topic_path="/p_1")
    memory.remember("d", "deeper", text, topic_path="/p_1/x")
    memory.remember("d", "sibling", text, topic_path="/pa1")
    memory.remember("talk", "chat", text)
    assert set(keys(memory.recall(query, mode=mode, limit=50, **filters))) == expected


@pytest.mark.parametrize("mode", ANY_MODE)
@pytest.mark.parametrize("query", ["green tea", "chat", ""])
def test_conversations_stay_out_unless_asked_for(memory: Memory, mode: str, query: str) -> None:
    memory.remember("conversation", "chat", {"content": "green tea"})
    memory.remember("c", "k", {"content": "green tea"})
    assert "chat" not in keys(memory.recall(query, mode=mode))
    assert keys(memory.recall(query, mode=mode, category="conversation")) == ["chat"]


@pytest.mark.parametrize("mode", ANY_MODE)
def test_no_category_needs_to_be_left_out(open_memory: OpenMemory, mode: str) -> None:
    memory = open_memory(exclude_categories="")
    memory.remember("conversation", "chat", {"content": "green tea"})
    assert keys(memory.recall("tea", mode=mode)) == ["chat"]


RETIRED = ["deprecated", "superseded", "expired", "invalidated"]


@pytest.mark.parametrize("mode", ANY_MODE)
@pytest.mark.parametrize("query", ["green tea", "retired", ""])
@pytest.mark.parametrize("status", RETIRED)
def test_retired_memories_leave_recall_and_come_back_marked_when_asked_for(
    memory: Memory, mode: str, query: str, status: str
) -> None:
    memory.remember("c", "retired", {"content": "green tea"})
    memory.remember("c", "retired", {"content": "green tea"}, status=status)
    memory.remember("c", "live", {"content": "green tea"}, status="draft")
    assert "retired" not in keys(memory.recall(query, mode=mode, reinforce=False))
    found = memory.recall(query, mode=mode, include_archived=True, reinforce=False)
    assert {hit.key: hit.status for hit in found.items}["retired"] == status
    memory.remember("c", "retired", {"content": "green tea"}, status="active")
    assert "retired" in keys(memory.recall(query, mode=mode, reinforce=False))


@pytest.mark.parametrize("mode", ANY_MODE)
@pytest.mark.parametrize("query", ["green tea", "gone", ""])
def test_archived_memories_come_back_marked_when_asked_for(memory: Memory, mode: str, query: str) -> None:
    memory.remember("c", "gone", {"content": "green tea"}, type="note")
    memory.remember("c", "live", {"content": "green tea"})
    memory.forget("c", "gone", "stale")
    found = memory.recall(query, mode=mode, include_archived=True, reinforce=False)
    hits = {hit.key: hit for hit in found.items}
    assert (hits["gone"].archived, hits["gone"].archive_reason) == (True, "stale")
    filtered = memory.recall(query, mode=mode, include_archived=True, type="insight", reinforce=False)
    assert "gone" not in keys(filtered)


def test_archived_memories_are_found_by_beginning_and_part_too(memory: Memory) -> None:
    memory.remember("c", "gone", {"content": "configuration of the loadbalancer"})
    memory.forget("c", "gone")
    memory.remember("c", "live", {"content": "unrelated"})
    for query in ("config", "balancer"):
        assert keys(memory.recall(query, mode="fts5", include_archived=True, reinforce=False)) == ["gone"], query


@each_mode
def test_old_texts_of_a_memory_are_not_found_any_more(memory: Memory, mode: str) -> None:
    memory.remember("c", "k", {"content": "zebra"})
    memory.remember("c", "k", {"content": "walrus"})
    for archived in (False, True):
        answer = memory.recall("zebra", mode=mode, include_archived=archived, reinforce=False)
        assert all("zebra" not in hit.body_json for hit in answer.items)
        assert len(answer.items) <= 1


WORKSPACES = ["", "w1", "w2"]
CATEGORIES = ["a", "b", "conversation"]


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Any:  # noqa: ANN401 - a generator fixture
    """Return a memory with every mixture of category, workspace, status, privacy and age; only read."""
    clock = FixedClock()
    path = str(tmp_path_factory.mktemp("crowd") / "memory.db")
    with (
        Memory.open(path, clock=clock, embedder=WordEmbedder(), agent_id="me") as memory,
        Memory.open(path, clock=clock, embedder=WordEmbedder(), agent_id="them") as other,
    ):
        for number in range(180):
            category, workspace = CATEGORIES[number % 3], WORKSPACES[number // 3 % 3]
            key = f"k{number % 60}"
            memory.remember(
                category,
                key,
                {"content": f"tea note {number % 7} {key}", "recall_when": ["brewing tea"]},
                workspace_hash=workspace,
                status="deprecated" if number % 8 == 7 else "active",
                topic_path=f"/t/{number % 4}",
                visibility="private" if number % 5 == 0 else "workspace",
                agent_id="them" if number % 2 else "me",
                always_on=number % 9 == 0,
            )
            if number % 10 == 3:
                memory.forget(category, key, workspace_hash=workspace)
            if number % 6 == 5:
                # A private memory takes a new text from its own agent only.
                owner = other if number % 2 else memory
                owner.remember(category, key, {"content": f"tea note again {key}"}, workspace_hash=workspace)
            clock.advance()
        yield memory


@given(
    query=st.sampled_from(["tea note", "k7", "again", "t", "3", "brewing", "", "unheard of"]),
    mode=st.sampled_from(ANY_MODE),
    category=st.sampled_from([None, *CATEGORIES, "none"]),
    workspace=st.sampled_from([None, *WORKSPACES, "none"]),
    archived=st.booleans(),
    as_of=st.none() | st.integers(START_MS - 5, START_MS + 200),
    valid_at=st.none() | st.integers(START_MS - 5, START_MS + 200),
    fusion=st.sampled_from(["score", "rrf"]),
    limit=st.sampled_from([1, 10, 100]),
)
def test_a_filtered_recall_never_returns_a_row_outside_its_filter(
    crowd: Memory,
    query: str,
    mode: str,
    category: str | None,
    workspace: str | None,
    archived: bool,
    as_of: int | None,
    valid_at: int | None,
    fusion: Any,  # noqa: ANN401 - one of two words
    limit: int,
) -> None:
    answer = crowd.recall(
        query,
        mode=mode,
        category=category,
        workspace_hash=workspace,
        include_archived=archived,
        as_of_unix_ms=as_of,
        valid_at_unix_ms=valid_at,
        fusion=fusion,
        limit=limit,
        reinforce=False,
    )
    for hit in answer.items:
        assert category in (None, hit.category)
        assert category is not None or hit.category != "conversation"
        assert workspace in (None, hit.workspace_hash)
        assert hit.visibility != "private" or hit.agent_id == "me"
        if not archived:
            assert hit.status == "active"
            assert not hit.archived
        if as_of is not None:
            assert hit.recorded_at_unix_ms <= as_of
    ids = [hit.id for hit in answer.items]
    assert len(set(ids)) == len(ids)


@given(
    query=st.sampled_from(["tea note", "k7", "again", "brewing"]),
    category=st.sampled_from(CATEGORIES),
    workspace=st.sampled_from(WORKSPACES),
    mode=st.sampled_from(MODES),
)
def test_a_filter_leaves_out_nothing_that_it_lets_through(
    crowd: Memory, query: str, category: str, workspace: str, mode: str
) -> None:
    """What an unfiltered recall over everything finds inside the filter, the filtered one finds too."""
    filtered = crowd.recall(query, mode=mode, category=category, workspace_hash=workspace, limit=200, reinforce=False)
    everything = crowd.recall(query, mode=mode, category=category, limit=500, reinforce=False)
    inside = {hit.id for hit in everything.items if hit.workspace_hash == workspace}
    assert inside <= {hit.id for hit in filtered.items}


@pytest.mark.parametrize("words", ["tea", "alphas beta"])
def test_a_selective_filter_finds_old_rows_behind_many_new_matches(keyword_memory: Memory, words: str) -> None:
    keyword_memory.remember("rare", "old", {"content": "alpha beta tea"})
    keyword_memory.remember_many(
        {"category": "common", "key": f"k{number}", "body_json": {"content": f"alpha beta tea {number}"}}
        for number in range(9_000)
    )
    assert keys(keyword_memory.recall(words, category="rare", mode="fts5")) == ["old"]
    assert keys(keyword_memory.recall(words, category="rare", mode="fts5", limit=1)) == ["old"]


# --- uses


def uses(memory: Memory, entity_id: str) -> int:
    memory.flush_uses()
    return memory.get_entity(entity_id).retrieval_count


@pytest.mark.parametrize("mode", ANY_MODE)
@pytest.mark.parametrize("query", ["green tea", ""])
def test_a_recall_refreshes_what_it_returns_once(memory: Memory, clock: FixedClock, mode: str, query: str) -> None:
    entity_id = memory.remember("c", "k", {"content": "green tea"}).id
    clock.advance(50)
    (hit,) = memory.recall(query, mode=mode).items
    assert (hit.retrieval_count, hit.decay_score) == (0, 0.5)
    assert uses(memory, entity_id) == 1
    entity = memory.get_entity(entity_id)
    assert entity.decay_score == 0.75
    assert entity.last_accessed_unix_ms == START_MS + 50
    memory.recall(query, mode=mode)
    memory.recall(query, mode=mode)
    assert uses(memory, entity_id) == 3


def test_only_what_is_on_the_page_is_refreshed(drinks: Memory) -> None:
    shown = drinks.recall("tea", limit=1).items[0].id
    drinks.flush_uses()
    everything = drinks.recall("", reinforce=False)
    assert {hit.id for hit in everything.items if hit.retrieval_count} == {shown}


@pytest.mark.parametrize("mode", ANY_MODE)
def test_a_recall_can_be_told_to_leave_no_trace(memory: Memory, mode: str) -> None:
    entity_id = memory.remember("c", "k", {"content": "green tea"}).id
    memory.recall("tea", mode=mode, reinforce=False)
    memory.recall("", mode=mode, reinforce=False)
    assert uses(memory, entity_id) == 0


def test_the_other_reads_leave_no_trace(memory: Memory) -> None:
    entity_id = memory.remember("c", "k", {"content": "green tea", "recall_when": ["tea"]}).id
    memory.recall_layer("episodic")
    memory.recall_when("tea")
    memory.semantic_search("tea")
    memory.context(query="tea")
    memory.context()
    memory.get_entity(entity_id)
    memory.history("c", "k")
    memory.as_of("c", "k", 1 << 60)
    assert uses(memory, entity_id) == 0


def test_use_raises_a_layer_and_never_lowers_it(memory: Memory) -> None:
    plain = memory.remember("c", "plain", {"content": "tea"}).id
    chosen = memory.remember("c", "chosen", {"content": "tea"}, layer="world").id
    own = memory.remember("c", "own", {"content": "tea"}, layer="attic").id
    for _ in range(4):
        memory.recall("tea", mode="fts5")
    memory.flush_uses()
    assert memory.get_entity(plain).layer == "buffer"
    memory.recall("tea", mode="fts5")
    memory.flush_uses()
    assert [memory.get_entity(one).layer for one in (plain, chosen, own)] == ["working", "core", "attic"]
    for _ in range(15):
        memory.recall("tea", mode="fts5")
    memory.flush_uses()
    assert [memory.get_entity(one).layer for one in (plain, chosen, own)] == ["core", "core", "attic"]


def test_uses_are_written_down_at_the_end(open_memory: OpenMemory) -> None:
    memory = open_memory()
    entity_id = memory.remember("c", "k", {"content": "tea"}).id
    memory.recall("tea")
    memory.close()
    assert open_memory().get_entity(entity_id).retrieval_count == 1


def test_uses_survive_an_operation_that_fails(memory: Memory) -> None:
    entity_id = memory.remember("c", "k", {"content": "tea"}, workspace_hash="a").id
    memory.remember("c", "k", {"content": "tea"}, workspace_hash="b")
    memory.recall("tea", workspace_hash="a", mode="fts5")
    with pytest.raises(Exception, match="several workspaces"):
        memory.forget("c", "k")
    assert uses(memory, entity_id) == 1


def test_uses_in_two_memories_on_one_file_add_up(open_memory: OpenMemory) -> None:
    first, second = open_memory(), open_memory()
    entity_id = first.remember("c", "k", {"content": "tea"}).id
    first.recall("tea")
    second.recall("tea")
    second.recall("tea")
    first.flush_uses()
    assert uses(second, entity_id) == 3
    assert first.get_entity(entity_id).retrieval_count == 3


def test_a_use_that_is_written_late_does_not_undo_an_update(open_memory: OpenMemory, clock: FixedClock) -> None:
    first, second = open_memory(), open_memory()
    entity_id = first.remember("c", "k", {"content": "tea"}).id
    first.recall("tea")
    clock.advance(10)
    second.remember("c", "k", {"content": "coffee"}, layer="world", tags=["new"])
    first.flush_uses()
    entity = first.get_entity(entity_id)
    assert json.loads(entity.body_json) == {"content": "coffee"}
    assert (entity.tags, entity.layer, entity.retrieval_count) == (("new",), "core", 2)
    assert entity.last_accessed_unix_ms == START_MS + 10


def test_a_read_only_memory_leaves_no_trace(open_memory: OpenMemory) -> None:
    writer = open_memory()
    entity_id = writer.remember("c", "k", {"content": "tea"}).id
    reader = open_memory(read_only=True)
    assert keys(reader.recall("tea")) == ["k"]
    assert keys(reader.recall("tea", mode="fts5")) == ["k"]
    reader.close()
    assert writer.get_entity(entity_id).retrieval_count == 0


# --- expansion


def test_expansion_tries_words_as_beginnings_too_and_counts_its_tries(memory: Memory) -> None:
    memory.remember("c", "begun", {"content": "teapot"})
    memory.remember("c", "whole", {"content": "tea"})
    answer = memory.recall("tea", mode="fts5", expansion={"enabled": True, "n_variants": 3})
    assert keys(answer) == ["whole", "begun"]
    assert isinstance(answer.variants, int)
    assert 1 <= answer.variants <= 4
    assert memory.recall("tea", mode="fts5", expansion={"enabled": True, "n_variants": 0}).variants == 1


@pytest.mark.parametrize("expansion", [{"enabled": False}, {}, None])
def test_without_expansion_no_tries_are_counted(memory: Memory, expansion: dict[str, Any] | None) -> None:
    assert memory.recall("tea", mode="fts5", expansion=expansion).variants is msgspec.UNSET


def test_expansion_acts_in_keyword_mode_only(memory: Memory) -> None:
    memory.remember("c", "k", {"content": "tea"})
    for mode in ("", "dense", "hybrid"):
        assert memory.recall("tea", mode=mode, expansion={"enabled": True}).variants is msgspec.UNSET


@pytest.mark.parametrize("variants", [-1, "2", True, 1.5], ids=repr)
def test_a_strange_number_of_variants_is_refused(memory: Memory, variants: object) -> None:
    with pytest.raises(InvalidInput, match="n_variants"):
        memory.recall("tea", mode="fts5", expansion={"enabled": True, "n_variants": variants})


# --- pending vectors


def test_what_was_just_written_is_found_by_meaning_at_once(memory: Memory) -> None:
    memory.remember("c", "k", {"content": "green tea"})
    answer = memory.recall("green tea", mode="dense")
    assert keys(answer) == ["k"]
    assert answer.pending is msgspec.UNSET


def test_a_changed_text_is_found_by_its_new_meaning_only(memory: Memory) -> None:
    fill(memory, ["unrelated words about nothing"] * 3, "other")
    memory.remember("c", "k", {"content": "green tea"})
    memory.recall("green tea", mode="dense")
    memory.remember("c", "k", {"content": "brass kettle"})
    answer = memory.recall("brass kettle", mode="dense")
    assert answer.items[0].key == "k"
    assert isinstance(answer.items[0].scores, dict)
    assert answer.items[0].scores["dense"] == pytest.approx(1.0, abs=0.01)
    stale = next(hit for hit in memory.recall("green tea", mode="dense").items if hit.key == "k")
    assert isinstance(stale.scores, dict)
    assert stale.scores["dense"] < 0.5


def test_what_others_are_embedding_is_told_as_pending(open_memory: OpenMemory, clock: FixedClock) -> None:
    memory = open_memory()
    lender = open_memory()
    fill(memory, ["green tea", "black tea"])
    with lender.store.writing():
        lender.store.lease_pending(1, clock.now_ms(), clock.now_ms() + 60_000)
    answer = memory.recall("tea", mode="hybrid")
    assert answer.pending == 1
    assert sorted(keys(answer)) == ["k0", "k1"]
    clock.advance(60_001)
    assert memory.recall("tea", mode="hybrid").pending is msgspec.UNSET


def test_a_model_that_fails_is_an_error_with_a_hint_and_keyword_recall_goes_on(open_memory: OpenMemory) -> None:
    class BrokenEmbedder(WordEmbedder):
        def embed(self, texts: Sequence[str]) -> Any:  # noqa: ANN401 - never returns
            raise Unavailable(f"The model file is gone ({len(texts)}).", hint="Install it again.")

    memory = open_memory(embedder=BrokenEmbedder())
    memory.remember("c", "k", {"content": "green tea"})
    assert keys(memory.recall("tea", mode="fts5")) == ["k"]
    answer = memory.recall("tea")
    assert keys(answer) == ["k"]
    assert isinstance(answer.degraded, str)
    with pytest.raises(Unavailable, match="model file"):
        memory.recall("tea", mode="dense")
    assert keys(memory.recall("tea", mode="hybrid")) == ["k"]
