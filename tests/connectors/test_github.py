"""The github connector against a server that behaves like GitHub's REST API, and like GitHub on a bad day."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mimir import Memory
from mimir.connectors.github import ATTEMPTS, check_repository
from mimir.errors import InvalidInput
from mimir.operations.ingestion import Ingested
from tests.conftest import OpenMemory
from tests.connectors.github_server import PREFIX, TOKEN, Fault, GithubServer, fail, hang, serving
from tests.doubles import FixedClock

REPOSITORY = "octo-org/hello.world"
EARLY, LATE = "2025-06-02T10:00:00Z", "2025-06-03T10:00:00Z"

OpenWith = Callable[..., Memory]


@pytest.fixture
def server() -> Iterator[GithubServer]:
    with serving() as one:
        one.repositories[REPOSITORY] = {}
        yield one


@pytest.fixture
def reading(open_memory: OpenMemory, server: GithubServer, tmp_path: Path) -> OpenWith:
    """Open memories that read the server, with further settings of the connector."""

    def open_with(*, offline: bool = False, secrets: str = "warn", **github: object) -> Memory:
        told = {
            "enabled": True,
            "token": TOKEN,
            "repos": [REPOSITORY],
            "base_url": server.address + PREFIX,
            "longest_wait_secs": 5,
            **github,
        }
        config = tmp_path / "connectors.yaml"
        config.write_text(json.dumps({"connectors": {"github": told}}), encoding="utf-8")
        return open_memory(connectors_config=str(config), offline=offline, secrets=secrets, durability="normal")

    return open_with


@pytest.fixture
def memory(reading: OpenWith) -> Memory:
    return reading()


def body(memory: Memory, key: str, category: str = "github-issue") -> dict[str, Any]:
    hits = memory.recall("", category=category, limit=1_000, reinforce=False).items
    (found,) = [hit for hit in hits if hit.key == f"{REPOSITORY}/{key}"]
    read: dict[str, Any] = json.loads(found.body_json)
    return read


def fill(server: GithubServer, count: int) -> None:
    for number in range(1, count + 1):
        server.add(REPOSITORY, number, f"2025-06-02T10:{number // 60:02}:{number % 60:02}Z")


# what is read


def test_an_issue_comes_with_its_labels_and_its_comments_in_order(memory: Memory, server: GithubServer) -> None:
    server.say(f"{REPOSITORY}/issues/7/comments", "bob", "2025-06-02T09:00:00Z", "It is the cache.")
    server.say(f"{REPOSITORY}/issues/7/comments", "cleo", "2025-06-02T08:00:00Z", "Which version?")
    server.add(REPOSITORY, 7, EARLY, title="Login fails", labels=[{"name": "bug"}, "auth"], state="closed")
    assert memory.ingest() == Ingested(ingested=1, dry_run=False, errors=())
    (hit,) = memory.recall("the cache breaks the login").items
    assert (hit.category, hit.key, hit.tags) == ("github-issue", f"{REPOSITORY}/issues/7", ("bug", "auth"))
    assert (hit.source, hit.type, hit.certainty) == ("connector:github", "insight", 0.5)
    assert json.loads(hit.body_json) == {
        "title": "Login fails",
        "body": "Body 7",
        "state": "closed",
        "url": f"https://github.example/{REPOSITORY}/issues/7",
        "author": "ann",
        "created_at": "2025-06-01T00:00:00Z",
        "updated_at": EARLY,
        "labels": ["bug", "auth"],
        "comments": [
            {"author": "cleo", "created_at": "2025-06-02T08:00:00Z", "text": "Which version?"},
            {"author": "bob", "created_at": "2025-06-02T09:00:00Z", "text": "It is the cache."},
        ],
    }


def test_a_pull_request_comes_with_what_its_reviewers_said(memory: Memory, server: GithubServer) -> None:
    place = f"{REPOSITORY}/pulls/8"
    server.say(f"{REPOSITORY}/issues/8/comments", "ann", "2025-06-02T07:00:00Z", "Please look.")
    server.say(f"{place}/comments", "bob", "2025-06-02T08:00:00Z", "This line leaks.")
    server.say(f"{place}/reviews", "cleo", "", "Approved after the fix.", submitted_at="2025-06-02T09:00:00Z")
    server.say(f"{place}/reviews", "dan", "", "", submitted_at="2025-06-02T09:30:00Z")
    server.add(REPOSITORY, 8, EARLY, pull_request={"merged_at": LATE}, user=None)
    assert memory.ingest().ingested == 1
    read = body(memory, "pull/8", "github-pull-request")
    assert [comment["text"] for comment in read["comments"]] == [
        "Please look.",
        "This line leaks.",
        "Approved after the fix.",
    ]
    assert (read["merged_at"], read["author"]) == (LATE, "ghost")


def test_every_page_is_read_up_to_the_bound(reading: OpenWith, server: GithubServer) -> None:
    fill(server, 250)
    assert reading().ingest().ingested == 250
    assert sum("page=" in path.replace("per_page=", "") for path in server.requests) == 2
    server.repositories["octo-org/other"] = server.repositories[REPOSITORY]
    assert reading(repos=["octo-org/other"], max_items_per_repo=120).ingest().ingested == 120


def test_all_comments_of_a_long_issue_are_read(memory: Memory, server: GithubServer) -> None:
    for number in range(230):
        server.say(f"{REPOSITORY}/issues/1/comments", "bob", f"2025-06-02T09:{number // 60:02}:{number % 60:02}Z", "c")
    server.add(REPOSITORY, 1, EARLY)
    memory.ingest()
    assert len(body(memory, "issues/1")["comments"]) == 230


def test_the_first_run_goes_back_as_far_as_it_is_told(reading: OpenWith, server: GithubServer) -> None:
    server.add(REPOSITORY, 1, "2025-06-01T00:00:00Z")
    server.add(REPOSITORY, 2, "2025-06-14T00:00:00Z")
    assert reading(days_past=3).ingest().ingested == 1


def test_several_repositories_are_read_each_once(reading: OpenWith, server: GithubServer) -> None:
    server.add("a/b", 1, EARLY)
    server.add("c/d", 1, EARLY)
    assert reading(repos=["a/b", "c/d", "a/b"]).ingest().ingested == 2


def test_the_token_may_stand_in_the_environment_and_only_there(
    reading: OpenWith, server: GithubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add(REPOSITORY, 1, EARLY)
    monkeypatch.setenv("A_TOKEN", TOKEN)
    assert reading(token="${A_TOKEN}").ingest().ingested == 1
    with pytest.raises(InvalidInput, match="the variable NO_TOKEN is not set"):
        reading(token="${NO_TOKEN}").ingest()
    with pytest.raises(InvalidInput, match="not followed by a name"):
        reading(token="${A_TOKEN").ingest()


# only what is new


def test_a_second_run_asks_once_and_pays_nothing(memory: Memory, server: GithubServer) -> None:
    fill(server, 3)
    memory.ingest()
    memory.ingest()
    server.requests.clear()
    server.remaining = 10
    assert memory.ingest().ingested == 0
    assert len(server.requests) == 1
    assert server.remaining == 10


def test_only_what_has_changed_since_is_read_also_by_another_process(
    memory: Memory, reading: OpenWith, server: GithubServer, clock: FixedClock
) -> None:
    fill(server, 3)
    memory.ingest()
    memory.close()
    clock.advance()
    server.say(f"{REPOSITORY}/issues/2/comments", "bob", LATE, "Fixed by restarting.")
    server.add(REPOSITORY, 2, LATE, state="closed")
    again = reading()
    assert again.ingest().ingested == 1
    assert again.history("github-issue", f"{REPOSITORY}/issues/2").total == 1
    assert body(again, "issues/2")["comments"][0]["text"] == "Fixed by restarting."


def test_labels_follow_and_tags_that_were_given_since_stay(memory: Memory, server: GithubServer) -> None:
    server.add(REPOSITORY, 1, EARLY, labels=[{"name": "bug"}, {"name": "open"}])
    memory.ingest()
    (hit,) = memory.recall("", category="github-issue").items
    memory.remember("github-issue", hit.key, hit.body_json, tags=["bug", "open", "mine"])
    server.add(REPOSITORY, 1, LATE, labels=[{"name": "bug"}, {"name": "done"}])
    memory.ingest()
    assert memory.recall("", category="github-issue").items[0].tags == ("bug", "done", "mine")


def test_a_dry_run_counts_and_leaves_no_trace(memory: Memory, server: GithubServer) -> None:
    fill(server, 3)
    assert memory.ingest(dry_run=True) == Ingested(ingested=3, dry_run=True, errors=())
    assert memory.stats().total_entities == 0
    assert memory.ingest().ingested == 3


# when GitHub does not answer as it should


@pytest.mark.parametrize(
    "faults",
    [
        [fail(502)] * 2,
        [fail(503, Retry_After="0"), fail(500, b"<html>")],
        [fail(429, Retry_After="0")],
        [fail(403, Retry_After="0")],
        [fail(403, X_RateLimit_Remaining="0", X_RateLimit_Reset="1")],
    ],
    ids=["bad gateway", "unavailable", "too many", "secondary limit", "limit that is over"],
)
def test_what_passes_is_asked_again(memory: Memory, server: GithubServer, faults: list[Any]) -> None:
    fill(server, 2)
    server.faults = list(faults)
    assert memory.ingest() == Ingested(ingested=2, dry_run=False, errors=())
    assert server.faults == []


def test_a_server_that_stays_broken_is_given_up(memory: Memory, server: GithubServer) -> None:
    server.faults = [fail(502, Retry_After="0")] * 10
    (error,) = memory.ingest().errors
    assert f"no usable answer in {ATTEMPTS} attempts, the last: HTTP 502" in error
    assert len(server.requests) == ATTEMPTS


def test_a_server_that_hangs_is_given_up(reading: OpenWith, server: GithubServer) -> None:
    server.faults = [hang] * 10
    (error,) = reading(timeout_secs=1, longest_wait_secs=0).ingest().errors
    assert "no answer within 1 s" in error


def test_a_limit_that_ends_soon_is_waited_for(memory: Memory, server: GithubServer) -> None:
    fill(server, 150)
    server.remaining, server.reset = 1, int(time.time()) + 1
    assert memory.ingest() == Ingested(ingested=150, dry_run=False, errors=())


def test_a_limit_that_ends_late_stops_the_run_and_loses_nothing(memory: Memory, server: GithubServer) -> None:
    fill(server, 150)
    server.remaining, server.reset = 1, int(time.time()) + 3_600
    result = memory.ingest()
    assert result.ingested == 100
    (error,) = result.errors
    assert "its rate limit is used up; what was read is kept, run again after" in error
    server.remaining = None
    assert memory.ingest() == Ingested(ingested=50, dry_run=False, errors=())
    assert memory.stats().total_entities == 150


def test_a_long_pause_that_is_asked_for_stops_the_run(memory: Memory, server: GithubServer) -> None:
    server.faults = [fail(429, Retry_After="Fri, 01 Jan 2100 00:00:00 GMT")]
    (error,) = memory.ingest().errors
    assert "run again after" in error


def test_a_run_that_stopped_between_comments_goes_on_where_it_was(memory: Memory, server: GithubServer) -> None:
    for number in (1, 2, 3):
        server.say(f"{REPOSITORY}/issues/{number}/comments", "bob", EARLY, "words")
    fill(server, 3)
    server.faults = [None, None, *[fail(500, Retry_After="0")] * ATTEMPTS]
    result = memory.ingest()
    assert (result.ingested, len(result.errors)) == (1, 1)
    server.requests.clear()
    assert memory.ingest().ingested == 2
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (fail(401, {"message": "Bad credentials"}), "the token is not accepted"),
        (fail(403, {"message": "Forbidden"}), "the token may not read it (Forbidden)"),
        (fail(404), "there is no such repository"),
        (fail(410), "it has no issues"),
        (fail(422, {"message": ["?"]}), "HTTP 422"),
        (fail(200, b"<html>hello</html>"), "no list of JSON objects"),
        (fail(200, {"total": 1}), "no list of JSON objects"),
        (fail(200, [1, 2]), "no list of JSON objects"),
        (fail(200, [{"id": 1}]), "an entry of the list is no issue"),
        (fail(200, [{"number": 5, "updated_at": EARLY}]), "it is not described as issues are"),
        (fail(200, b"[" * 100_000), "no list of JSON objects"),
        (fail(200, b'[{"title":"\xaa"}]'), "no list of JSON objects"),
        (fail(422, b'{"message":"\xaa"}'), "HTTP 422"),
        (fail(302, b"", Location="http://elsewhere.example/"), "another server"),
        (fail(200, [], Link='<http://elsewhere.example/x>; rel="next"'), "another server"),
        (fail(307, b""), "another server"),
    ],
    ids=range(16),
)
def test_what_cannot_be_read_is_named_and_the_next_repository_is_read(
    reading: OpenWith, server: GithubServer, fault: Fault, words: str
) -> None:
    server.add("next/one", 1, EARLY)
    server.faults = [fault]
    result = reading(repos=[REPOSITORY, "next/one"]).ingest()
    (error,) = result.errors
    assert error.startswith(f"github/{REPOSITORY}")
    assert words in error
    assert result.ingested == (0 if "token is not accepted" in error else 1)


def test_a_repository_that_moved_is_read_at_its_new_place(memory: Memory, server: GithubServer) -> None:
    server.add("new/name", 1, EARLY)
    place = f"{server.address}{PREFIX}/repos/new/name/issues?since=2025&direction=desc"
    server.faults = [fail(301, b"", Location=place)]
    assert memory.ingest().ingested == 1


def test_redirects_that_lead_in_a_circle_end(memory: Memory, server: GithubServer) -> None:
    server.faults = [fail(301, b"", Location=f"{server.address}{PREFIX}/again")] * 10
    (error,) = memory.ingest().errors
    assert "HTTP 301" in error


def test_an_issue_that_could_not_be_stored_is_found_again(reading: OpenWith, server: GithubServer) -> None:
    server.add(REPOSITORY, 1, EARLY, body="password: Xk9#mmQ2ppLw41")
    server.add(REPOSITORY, 2, EARLY)
    result = reading(secrets="refuse").ingest()
    assert (result.ingested, len(result.errors)) == (1, 1)
    again = reading(secrets="mask").ingest()
    assert (again.ingested, again.errors) == (1, ())
    assert again.warnings


def test_nothing_that_goes_wrong_shows_the_token(reading: OpenWith, server: GithubServer) -> None:
    server.faults = [fail(418, {"message": f"you sent {TOKEN}"})]
    (error,) = reading().ingest().errors
    assert "you sent ***" in error


@pytest.mark.parametrize(
    "name",
    [
        "",
        "owner",
        "owner/",
        "/name",
        "a/b/c",
        "../x",
        "a/..",
        "a/.",
        "-a/b",
        "a--b/c",
        "a/b?x=1",
        "a/b#1",
        "a%2f/b",
        "a/b\n",
        "x" * 40 + "/b",
        "a/" + "b" * 101,
        "ä/b",
        "a b/c",
    ],
)
def test_a_name_that_is_none_of_a_repository_is_not_asked_for(
    reading: OpenWith, server: GithubServer, name: str
) -> None:
    (error,) = reading(repos=[name]).ingest().errors
    assert "is no repository" in error
    assert server.requests == []


@pytest.mark.parametrize("name", ["a/b", "A-b-1/c.d_e-f", "x" * 39 + "/" + "y" * 100])
def test_names_of_repositories_are_accepted(name: str) -> None:
    check_repository(name)


def test_offline_asks_nobody(reading: OpenWith, server: GithubServer) -> None:
    (error,) = reading(offline=True).ingest().errors
    assert "--offline" in error
    assert server.requests == []


@pytest.mark.parametrize("field", [{"base_url": "file:///etc"}, {"base_url": "http://u:p@h"}, {"token": "a\nb"}])
def test_settings_that_can_be_none_are_named(reading: OpenWith, server: GithubServer, field: dict[str, str]) -> None:
    (error,) = reading(**field).ingest().errors
    assert f"connectors.github.{next(iter(field))}" in error
    assert server.requests == []
