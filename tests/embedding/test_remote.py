"""Embedding models at an endpoint: what is sent, what becomes of bad answers, and that models are never mixed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from mimir import InvalidInput, Memory, Unavailable
from mimir.config import environment_for_child, load_settings
from mimir.embedding import open_embedder
from mimir.embedding.remote import RemoteEmbedder
from mimir.endpoint import Endpoint
from mimir.model import Recalled
from mimir.operations.search import embed_all
from tests.conftest import OpenMemory
from tests.doubles import WordEmbedder
from tests.language_model import Handler, ModelServer, serving

PATIENCE_S = 60.0


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with serving() as one:
        yield one


@pytest.fixture
def remote(open_memory: OpenMemory, server: ModelServer) -> Callable[..., Memory]:
    """Open memories whose vectors come from the server."""

    def open_one(path: str = "", **settings: object) -> Memory:
        return open_memory(embedder=None, embedding_endpoint=server.address + path, **settings)

    return open_one


def drinks(memory: Memory) -> None:
    memory.remember("drink", "green", {"content": "green tea is brewed at eighty degrees"})
    memory.remember("drink", "black", {"content": "black coffee wants ninety six degrees"})


def keys(answer: Recalled) -> list[str]:
    return [hit.key for hit in answer.items]


def models(memory: Memory) -> list[tuple[str, int]]:
    """Return the models of the stored vectors with the number of each."""
    with memory.store.reading() as connection:
        rows = connection.execute(
            "SELECT m.name, count(*) FROM vectors v JOIN models m ON m.number = v.model GROUP BY 1 ORDER BY 1"
        ).fetchall()
    return [(name, count) for name, count in rows]


@pytest.mark.parametrize(
    ("set_", "asked"),
    [
        ("", "/api/embed"),
        ("/api/generate", "/api/embed"),
        ("/api/embeddings", "/api/embed"),
        ("/v1", "/v1/embeddings"),
        ("/v1/chat/completions", "/v1/embeddings"),
        ("/v1/embeddings", "/v1/embeddings"),
    ],
)
def test_an_endpoint_wins_over_the_bundled_model(
    remote: Callable[..., Memory], server: ModelServer, set_: str, asked: str
) -> None:
    memory = remote(set_, embedding_model="tiny", embedding_api_key="k-1")
    drinks(memory)
    answer = memory.recall("green tea")
    assert keys(answer)[0] == "green"
    assert answer.arms["dense"] == 2
    assert models(memory) == [("tiny/64", 2)]
    assert {path for path, _, _ in server.requests} == {asked}
    assert {"model": "tiny", "input": ["green tea"]} in [body for _, _, body in server.requests]
    assert all(headers["Authorization"] == "Bearer k-1" for _, headers, _ in server.requests)


def test_the_order_of_an_openai_reply_is_that_of_its_indexes(remote: Callable[..., Memory]) -> None:
    memory = remote("/v1")
    memory.remember_many(
        [{"category": "c", "key": f"k{n}", "body_json": {"content": f"word{n} alone"}} for n in range(40)]
    )
    memory.embed_pending()
    for number in (0, 17, 39):
        assert keys(memory.recall(f"word{number} alone", mode="dense", limit=1)) == [f"k{number}"]


def test_texts_are_sent_in_batches(remote: Callable[..., Memory], server: ModelServer) -> None:
    memory = remote()
    memory.remember_many([{"category": "c", "key": f"k{n}", "body_json": {"content": f"note {n}"}} for n in range(70)])
    memory.embed_pending()
    sizes = [len(body["input"]) for _, _, body in server.requests]
    assert sum(sizes) >= 70
    assert max(sizes) == 32
    assert len(sizes) <= 5


def refuse(status: int, body: object) -> Callable[[Handler], None]:
    def reply(handler: Handler) -> None:
        handler.send(status, body if isinstance(body, bytes) else json.dumps(body).encode())

    return reply


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (refuse(404, {"error": "model 'x' not found, try pulling it first"}), "HTTP 404: model 'x' not found"),
        (refuse(401, {"error": {"message": "no key"}}), "HTTP 401: no key"),
        (refuse(200, b"<html>"), "no JSON"),
        (refuse(200, {}), "one vector for each of 1 texts"),
        (refuse(200, {"embeddings": []}), "one vector for each of 1 texts"),
        (refuse(200, {"embeddings": [[1.0], [2.0]]}), "one vector for each of 1 texts"),
        (refuse(200, {"embeddings": [["a", "b"]]}), "one vector for each of 1 texts"),
        (refuse(200, {"embeddings": [[]]}), "one vector for each of 1 texts"),
        (refuse(200, {"embeddings": [[0.0, 0.0]]}), "without a direction"),
        (refuse(200, b'{"embeddings": [[NaN, 1.0]]}'), "without a direction"),
        (refuse(200, b'{"embeddings": [[1e999, 1.0]]}'), "without a direction"),
        (refuse(200, {"data": [{"embedding": None}]}), "one vector for each of 1 texts"),
        (refuse(200, {"data": "none"}), "one vector for each of 1 texts"),
    ],
    ids=range(13),
)
def test_what_a_service_does_wrong_is_named_and_words_still_find(
    remote: Callable[..., Memory], server: ModelServer, reply: Callable[[Handler], None], words: str
) -> None:
    server.reply = reply
    memory = remote()
    drinks(memory)
    answer = memory.recall("green tea")
    assert (keys(answer), answer.mode) == (["green"], "fts5")
    assert isinstance(answer.degraded, str)
    assert answer.degraded.startswith("keyword recall only: Embedding API call failed: ")
    assert words in answer.degraded
    with pytest.raises(Unavailable):
        memory.recall("green tea", mode="dense")
    server.reply = server.say
    assert memory.store.count_pending() == 2


def test_a_service_that_failed_is_left_alone_for_a_while(remote: Callable[..., Memory], server: ModelServer) -> None:
    server.reply = refuse(500, {"error": "overloaded"})
    memory = remote()
    drinks(memory)
    memory.recall("green tea")
    asked = len(server.requests)
    answer = memory.recall("black coffee")
    assert keys(answer) == ["black"]
    assert isinstance(answer.degraded, str)
    assert "overloaded" in answer.degraded
    assert "asked again in" in answer.degraded
    assert len(server.requests) == asked


def test_a_service_that_came_back_is_used_again(open_memory: OpenMemory, server: ModelServer) -> None:
    endpoint = Endpoint("embedding", server.address + "/api/embed", "m", "", 5.0)
    memory = open_memory(embedder=RemoteEmbedder(endpoint, rest_s=0.01))
    drinks(memory)
    server.reply = refuse(500, {})
    assert memory.recall("green tea").mode == "fts5"
    server.reply = server.say
    answers = (memory.recall("green tea") for _ in range(10_000))
    assert any(answer.arms.get("dense") == 2 for answer in answers)


@pytest.mark.slow
def test_a_service_that_hangs_costs_its_time_once(remote: Callable[..., Memory], server: ModelServer) -> None:
    def hang(_: Handler) -> None:
        server.released.wait()

    server.reply = hang
    memory = remote(embedding_timeout_secs=1)
    drinks(memory)
    answer = memory.recall("green tea")
    assert keys(answer) == ["green"]
    assert isinstance(answer.degraded, str)
    assert "no answer within 1 s" in answer.degraded
    asked = len(server.requests)
    assert [keys(memory.recall("green tea")) for _ in range(20)] == [["green"]] * 20
    assert len(server.requests) == asked


def test_models_of_one_name_and_other_dimensions_are_not_compared(
    remote: Callable[..., Memory], server: ModelServer
) -> None:
    first = remote(embedding_model="same")
    drinks(first)
    first.embed_pending()
    first.close()
    server.embedder = WordEmbedder("other", 32)
    memory = remote(embedding_model="same")
    answer = memory.recall("green tea")
    assert (keys(answer), answer.mode) == (["green"], "fts5")
    assert isinstance(answer.degraded, str)
    assert "vectors of another model" in answer.degraded
    assert embed_all(memory).embedded == 2
    assert models(memory) == [("same/32", 2)]
    assert memory.recall("green tea").arms["dense"] == 2


def test_a_service_that_changes_its_model_meanwhile_is_not_believed(
    remote: Callable[..., Memory], server: ModelServer
) -> None:
    memory = remote()
    drinks(memory)
    memory.recall("green tea")
    server.embedder = WordEmbedder("other", 32)
    memory.remember("drink", "milk", {"content": "milk is cold"})
    with pytest.raises(Unavailable, match="have 32 numbers and had 64 before: it is another model"):
        memory.embed_pending()
    assert models(memory) == [("nomic-embed-text/64", 2)]


def test_while_models_are_switched_both_words_and_new_vectors_find_and_it_is_said(
    open_memory: OpenMemory, remote: Callable[..., Memory]
) -> None:
    former = open_memory()
    drinks(former)
    former.embed_pending()
    former.close()
    memory = remote(embedding_model="new")
    memory.remember("drink", "milk", {"content": "milk is cold"})
    answer = memory.recall("green tea or cold milk")
    assert sorted(keys(answer)) == ["green", "milk"]
    assert answer.arms["dense"] == 1
    assert isinstance(answer.degraded, str)
    assert "mimir embed --all" in answer.degraded
    embed_all(memory)
    assert models(memory) == [("new/64", 3)]
    answer = memory.recall("green tea or cold milk")
    assert (answer.arms["dense"], answer.degraded) == (3, Recalled(items=(), total=0, mode="", arms={}).degraded)


def test_a_question_to_a_foreign_model_is_never_called_off_topic(remote: Callable[..., Memory]) -> None:
    memory = remote()
    drinks(memory)
    assert memory.recall("submarine volcano").low_relevance is not True


def test_offline_keeps_the_service_from_being_asked(remote: Callable[..., Memory], server: ModelServer) -> None:
    memory = remote(offline=True)
    drinks(memory)
    answer = memory.recall("green tea")
    assert answer.degraded == (
        "keyword recall only: --embedding-endpoint is set, but --offline (MIMIR_OFFLINE) keeps it from being asked"
    )
    assert server.requests == []


def test_embedding_off_wins_over_an_endpoint(remote: Callable[..., Memory], server: ModelServer) -> None:
    memory = remote(embedding="off")
    drinks(memory)
    assert memory.recall("green tea").degraded == "keyword recall only: embedding is switched off"
    assert server.requests == []


def test_an_llm_endpoint_leaves_the_vectors_to_the_bundled_model(server: ModelServer) -> None:
    embedder, _ = open_embedder(load_settings(llm_endpoint=server.address))
    assert embedder is not None
    assert embedder.model_id == "all-MiniLM-L6-v2-q8"


def test_the_language_models_key_goes_to_its_own_server_only(
    remote: Callable[..., Memory], server: ModelServer
) -> None:
    with serving() as other:
        for endpoint, sent in ((server.address + "/v1", "Bearer k-llm"), (other.address + "/v1", None)):
            memory = remote("/v1", llm_endpoint=endpoint, llm_api_key="k-llm")
            memory.recall("tea", mode="hybrid")
            drinks(memory)
            memory.recall("tea")
            assert server.requests[-1][1].get("Authorization") == sent
        assert other.requests == []


@pytest.mark.parametrize("endpoint", ["localhost:11434", "ftp://h", "http://u:p4ss@h/"])
def test_an_endpoint_that_is_no_address_is_refused_at_the_start(endpoint: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mimir", "serve", "--embedding-endpoint", endpoint],
        capture_output=True,
        encoding="utf-8",
        stdin=subprocess.DEVNULL,
        check=False,
        timeout=PATIENCE_S,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("mimir: --embedding-endpoint is no HTTP address")
    assert "p4ss" not in done.stderr


def test_the_key_is_in_no_message(remote: Callable[..., Memory], server: ModelServer) -> None:
    server.reply = refuse(401, {"error": "Bearer k-secret is wrong"})
    memory = remote(embedding_api_key="k-secret")
    drinks(memory)
    told = [str(memory.recall("green tea").degraded), repr(memory.settings)]
    with pytest.raises(Unavailable) as raised:
        memory.recall("green tea", mode="dense")
    told += [raised.value.message, raised.value.hint]
    assert "k-secret" not in "".join(told)
    with pytest.raises(InvalidInput, match="--embedding-api-key"):
        open_embedder(load_settings(embedding_endpoint=server.address, embedding_api_key="a\nb"))


def run_embed(db: str, server: ModelServer) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "mimir", "embed", "--all", "--json", "--db", db],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env=environment_for_child(MIMIR_EMBEDDING_ENDPOINT=server.address),
    )


def test_embedding_everything_goes_on_after_a_kill(open_memory: OpenMemory, server: ModelServer, db: str) -> None:
    with open_memory() as memory:
        memory.remember_many(
            [{"category": "c", "key": f"k{n}", "body_json": {"content": f"note {n}"}} for n in range(150)]
        )
        memory.embed_pending()

    def texts() -> list[str]:
        return [text for _, _, body in server.requests for text in body["input"] if text.startswith("note")]

    process = run_embed(db, server)

    def third_time_kill(handler: Handler) -> None:
        if len(texts()) > 96:
            process.kill()
        else:
            server.say(handler)

    server.reply = third_time_kill
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode != 0
    before = set(texts()[:96])
    server.reply = server.say
    done = len(texts())
    process = run_embed(db, server)
    output, errors = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, errors) == (0, "")
    result: dict[str, Any] = json.loads(output)
    assert result == {"embedded": 150 - len(before), "dimensions": 64, "model": "nomic-embed-text/64"}
    assert before.isdisjoint(texts()[done:])
    with open_memory(embedder=WordEmbedder("nomic-embed-text/64")) as memory:
        assert models(memory) == [("nomic-embed-text/64", 150)]
        assert memory.store.count_pending() == 0


def test_embedding_everything_says_how_far_it_came_when_the_service_fails(
    remote: Callable[..., Memory], server: ModelServer
) -> None:
    server.reply = refuse(500, {"error": "overloaded"})
    memory = remote()
    memory.recall("warm up the dimensions", mode="hybrid")
    with pytest.raises(Unavailable, match="overloaded"):
        embed_all(memory)


def test_vectors_have_length_one(server: ModelServer) -> None:
    server.reply = refuse(200, {"embeddings": [[3.0, 4.0], [0.0, -2.0]]})
    embedder = RemoteEmbedder(Endpoint("embedding", server.address + "/api/embed", "m", "", 5.0))
    vectors = embedder.embed(["a", "b"])
    assert np.allclose(vectors, [[0.6, 0.8], [0.0, -1.0]])
    assert (embedder.model_id, embedder.dimensions) == ("m/2", 2)


def test_the_text_index_is_made_anew_without_the_service(remote: Callable[..., Memory], server: ModelServer) -> None:
    memory = remote()
    drinks(memory)
    server.reply = refuse(500, {})
    assert memory.reindex().reindexed == 2
    assert memory.conflicts(category="drink").conflicts == ()
    assert keys(memory.recall("green tea")) == ["green"]
