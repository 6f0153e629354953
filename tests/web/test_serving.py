"""How the dashboard is served: alone, beside stdio, on the port of the transports; to whom, and to nobody else."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import threading
from contextlib import closing
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest
from starlette.datastructures import Headers
from starlette.responses import Response

from mimir import Memory
from mimir.config import load_settings
from mimir.web.app import POLICY
from mimir.web.assets import PAGES
from mimir.web.events import MOST_LISTENERS
from mimir.web.session import FAILURES_A_MINUTE, MOST_SESSIONS, SESSION_S, Sessions
from tests.server.client import PATIENCE_S, SERVE, Run, Start, call, remember, request, wire
from tests.server.web import Reply, free_port
from tests.web.pages import Page, StartWeb, entity_path

TOKEN = "correct-horse"


class Events:
    """A browser that listens to live changes."""

    def __init__(self, page: Page) -> None:
        self._connection = page.server.connect()
        self._connection.request("GET", "/api/events", headers={"Cookie": page.cookie} if page.cookie else {})
        self.reply = self._connection.getresponse()
        assert self.reply.status == 200
        assert self.reply.headers["content-type"].startswith("text/event-stream")
        assert self.reply.readline() == b"retry: 2000\n"

    def next(self) -> dict[str, Any]:
        while line := self.reply.readline():
            if line.startswith(b"data: "):
                told: dict[str, Any] = json.loads(line.removeprefix(b"data: "))
                return told
        raise AssertionError("the stream has ended")

    def close(self) -> None:
        self.reply.close()
        self._connection.close()


# Pages and headers


@pytest.mark.parametrize("path", [*PAGES, "/login", "/static/css/base.css", "/api/session", "/api/nothing", "/nothing"])
def test_every_response_keeps_a_browser_from_running_what_is_not_ours(page: Page, path: str) -> None:
    headers = page.ask("GET", path).headers
    assert headers["content-security-policy"] == POLICY
    assert "unsafe" not in POLICY
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == ("no-store" if path.startswith("/api/") else "no-cache")


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_the_one_application_and_names_its_own_modules(page: Page, path: str) -> None:
    reply = page.ask("GET", path)
    assert (reply.status, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")
    own = [name for name in PAGES.values() if f"/js/pages/{name}.js".encode() in reply.body]
    assert own == [PAGES[path]]
    linked = re.compile(rb'<link rel="modulepreload".*\n')
    assert linked.sub(b"", reply.body) == linked.sub(b"", page.ask("GET", "/").body)
    assert page.ask("GET", path, If_None_Match=reply.headers["etag"]).status == 304


@pytest.mark.parametrize("path", ["/", "/login"])
def test_what_a_page_links_to_is_kept_for_good_under_an_address_of_its_content(start_web: StartWeb, path: str) -> None:
    page = start_web(MIMIR_WEB_AUTH_TOKEN=TOKEN) if path == "/login" else start_web()
    linked = re.findall(r'(?:src|href)="(/static/[^"]+)"', page.ask("GET", path).body.decode())
    assert any(address.endswith("/style.css") for address in linked)
    for address in linked:
        reply = page.ask("GET", address)
        assert (reply.status, reply.headers["cache-control"]) == (200, "public, max-age=31536000, immutable"), address
    digest = linked[0].split("/")[2]
    assert page.ask("GET", linked[0].replace(digest, "0" * len(digest))).status == 404


def test_files_are_sent_again_only_when_they_have_changed(page: Page) -> None:
    first = page.ask("GET", "/static/css/base.css")
    assert (first.status, first.headers["content-type"]) == (200, "text/css; charset=utf-8")
    again = page.ask("GET", "/static/css/base.css", If_None_Match=first.headers["etag"])
    assert (again.status, again.body) == (304, b"")


# Who may


def test_without_a_token_the_dashboard_is_there_for_this_machine(start_web: StartWeb) -> None:
    page = start_web()
    assert page.server.address == f"mimir: dashboard at {page.server.url}/"
    assert page.begin()["auth"] is False
    assert page.ask("GET", "/login").status == 303


def test_with_a_token_nothing_is_told_before_the_login(start_web: StartWeb) -> None:
    page = start_web(MIMIR_WEB_AUTH_TOKEN=TOKEN)
    for path in ("/api/session", "/api/entities", "/api/entities/x", "/api/events", "/api/nothing"):
        reply = page.ask("GET", path)
        assert (reply.status, reply.headers["www-authenticate"]) == (401, "Bearer")
        assert "set-cookie" not in reply.headers
    for given in ("Bearer wrong", f"Basic {TOKEN}", "Bearer", f"bearer {TOKEN}x", "Bearer \xe9"):
        assert page.ask("GET", "/api/stats", Authorization=given).status == 401, given
    for method, path in (("POST", "/api/entities"), ("PATCH", "/api/entities/x"), ("POST", "/logout")):
        assert page.ask(method, path, {}).status == 401
    moved = page.ask("GET", "/graph")
    assert (moved.status, moved.headers["location"]) == (303, "/login?next=/graph")
    assert page.ask("GET", "/healthz").status == 200
    assert page.ask("GET", "/static/css/base.css").status == 200


def login(page: Page, token: str, path: str = "/login") -> Reply:
    form = "application/x-www-form-urlencoded"
    reply = page.ask("POST", path, f"token={token}", Content_Type=form, Origin=page.server.url)
    if "set-cookie" in reply.headers:
        page.cookie = reply.headers["set-cookie"].partition(";")[0]
    return reply


def test_a_browser_logs_in_and_out(start_web: StartWeb) -> None:
    page = start_web(MIMIR_WEB_AUTH_TOKEN=TOKEN)
    reply = login(page, TOKEN, "/login?next=/memories?q=a")
    assert (reply.status, reply.headers["location"]) == (303, "/memories?q=a")
    attributes = reply.headers["set-cookie"].lower()
    assert "httponly" in attributes
    assert "samesite=strict" in attributes
    assert TOKEN not in attributes
    assert page.ask("GET", "/").status == 200
    page.begin()
    page.change("POST", "/api/entities", category="c", key="k", body={"content": "x"})
    former = page.cookie
    page.change("POST", "/logout")
    page.cookie = former
    assert page.ask("GET", "/api/stats").status == 401


@pytest.mark.parametrize("after", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:x", "/x"])
def test_the_login_leads_to_no_other_place(start_web: StartWeb, after: str) -> None:
    page = start_web(MIMIR_WEB_AUTH_TOKEN=TOKEN)
    assert login(page, TOKEN, f"/login?next={after}").headers["location"] == "/"


def test_a_program_sends_the_token_itself(start_web: StartWeb) -> None:
    page = start_web("--web-auth-token", TOKEN)
    made = page.ask(
        "POST",
        "/api/entities",
        {"category": "c", "key": "k", "body": {"content": "x"}},
        Authorization=f"Bearer {TOKEN}",
    )
    assert made.status == 200
    assert page.ask("GET", "/api/stats", Authorization=f"Bearer {TOKEN}").status == 200


def test_wrong_tokens_are_soon_not_looked_at_any_more(start_web: StartWeb) -> None:
    page = start_web(MIMIR_WEB_AUTH_TOKEN=TOKEN)
    # They may fall into two minutes, each of which allows some.
    statuses = [login(page, "wrong").status for _ in range(2 * FAILURES_A_MINUTE + 1)]
    assert statuses[0] == 401
    assert 429 in statuses
    assert b"Too many wrong tokens" in login(page, "wrong").body
    assert page.ask("GET", "/api/stats", Authorization="Bearer wrong").status == 429


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
@pytest.mark.parametrize("token", [None, "", "wrong"])
def test_a_change_that_no_page_of_ours_asked_for_is_refused(page: Page, method: str, token: str | None) -> None:
    browser = page.another()
    browser.begin()
    headers = {} if token is None else {"X_CSRF_Token": token}
    reply = browser.ask(method, "/api/entities/x", {}, **headers)
    assert (reply.status, json.loads(reply.body)["code"]) == (403, "forbidden")
    with_origin = page.another().ask(method, "/api/entities/x", {}, Origin=page.server.url)
    assert with_origin.status == 403


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (403, {"Origin": "https://evil.example"}),
        (403, {"Origin": "http://localhost:1"}),
        (421, {"Host": "evil.example"}),
    ],
)
def test_a_foreign_page_is_refused_whatever_it_has(page: Page, status: int, headers: dict[str, str]) -> None:
    browser = page.another()
    browser.begin()
    reply = browser.ask("POST", "/api/undo", {}, X_CSRF_Token=browser.csrf, **headers)
    assert reply.status == status
    assert "access-control-allow-origin" not in reply.headers


def test_a_read_only_dashboard_previews_but_changes_nothing(page: Page) -> None:
    browser = page.another()
    path = entity_path(browser.find("cache")["id"])
    for method, where in (
        ("PATCH", path),
        ("POST", f"{path}/forget"),
        ("POST", "/api/entities"),
        ("POST", "/api/undo"),
    ):
        assert "read-only" in browser.change(method, where, expects=503, revision=1)["error"]
    browser.change("POST", "/api/maintenance/decay", expects=503, dry_run=False)
    assert browser.change("POST", "/api/maintenance/decay", dry_run=True)["entities_checked"]


def test_a_change_is_sent_as_json_and_within_bounds(page: Page) -> None:
    browser = page.another()
    browser.begin()
    sent = {"X_CSRF_Token": browser.csrf}
    assert browser.ask("POST", "/api/undo", "a=b", Content_Type="text/plain", **sent).status == 415
    assert (
        browser.ask("POST", "/api/undo", "a=b", Content_Type="application/x-www-form-urlencoded", **sent).status == 415
    )
    assert browser.ask("POST", "/api/undo", b"x", Content_Length=str(1 << 30), **sent).status == 413


def test_other_machines_reach_it_only_with_a_token(run: Run) -> None:
    done = run(b"", "--web", "--web-bind", "0.0.0.0", "--port", str(free_port()))  # noqa: S104 - refused
    assert (done.returncode, done.stdout) == (2, b"")
    assert "MIMIR_WEB_AUTH_TOKEN" in done.stderr.decode()
    both = ("--transport", "http", "--web", "--web-bind", "0.0.0.0", "--mcp-token", "t")  # noqa: S104 - refused
    assert "MIMIR_WEB_AUTH_TOKEN" in run(b"", *both, "--port", str(free_port())).stderr.decode()


# Where it is served


def test_transports_and_dashboard_share_one_port_and_have_a_token_each(start_web: StartWeb) -> None:
    tokens = {"MIMIR_MCP_TOKEN": "for-agents", "MIMIR_WEB_AUTH_TOKEN": TOKEN}
    page = start_web("--web", words=("serve", "--transport", "http"), **tokens)
    assert page.server.address == f"mimir: serving {page.server.url}/mcp, dashboard at {page.server.url}/"
    stored = page.ask("POST", "/message", remember(1, "day", "Tuesday"), Authorization="Bearer for-agents")
    assert stored.status == 200
    assert page.ask("POST", "/message", remember(1, "day"), Authorization=f"Bearer {TOKEN}").status == 401
    assert page.ask("GET", "/api/stats", Authorization="Bearer for-agents").status == 401
    listed = page.ask("GET", "/api/entities", Authorization=f"Bearer {TOKEN}")
    assert [one["key"] for one in json.loads(listed.body)["items"]] == ["day"]


def test_the_dashboard_runs_beside_stdio_on_the_same_store(start: Start) -> None:
    port = free_port()
    client = start("--embedding", "off", "--web", "--port", str(port))
    client.ask(remember(1, "day", "Tuesday"))
    status, body = 0, b""
    while status != 200:  # it starts after the first reply
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
            try:
                connection.request("GET", "/api/entities")
                reply = connection.getresponse()
                status, body = reply.status, reply.read()
            except ConnectionRefusedError:
                client.ask(request(2, "ping"))
    assert [one["key"] for one in json.loads(body)["items"]] == ["day"]
    assert client.ask(call(3, "mimir_recall", query="tuesday"))["result"]["structuredContent"]["total"] == 1


def test_a_taken_port_costs_stdio_one_warning_and_nothing_else(start_web: StartWeb, db: str) -> None:
    page = start_web()
    port = str(page.server.port)
    command = [*SERVE, "--db", db, "--embedding", "off", "--web", "--port", port]
    with subprocess.Popen(command, stdin=PIPE, stdout=PIPE, stderr=PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(wire(remember(1, "day")))
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["result"]["structuredContent"]["action"] == "created"
        warning = process.stderr.readline().decode()
        assert warning.startswith(f"mimir: warning: serving without the dashboard. Port {port} of 127.0.0.1 is taken")
        process.stdin.write(wire(request(2, "ping")))
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["result"] == {}
        assert process.communicate(timeout=PATIENCE_S) == (b"", b"")
    assert process.returncode == 0
    assert page.find("day")["key"] == "day"


def test_nothing_of_the_web_is_imported_before_the_first_reply(run: Run) -> None:
    done = run(b"", "--web", "--port", str(free_port()), PYTHONPROFILEIMPORTTIME="1")
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.decode().splitlines()}
    assert "mimir.server.stdio" in loaded
    assert not loaded & {"starlette", "uvicorn", "asyncio", "mimir.web.app", "mimir.server.front", "mcp"}


def test_the_dashboard_needs_no_sdk(start_web: StartWeb, tmp_path: Path) -> None:
    (tmp_path / "mcp").mkdir()
    (tmp_path / "mcp" / "__init__.py").write_text("raise ImportError('mcp')\n", encoding="utf-8")
    assert start_web(PYTHONPATH=str(tmp_path)).get("/api/stats")["total_entities"] == 0


# Live


def test_a_write_of_another_process_is_told_at_once(start_web: StartWeb, db: str) -> None:
    page = start_web()
    page.get("/api/stats")
    with closing(Events(page)) as events, Memory.open(db, embedding="off") as memory:
        # The first look at the counters may come before or after this write.
        heard: list[dict[str, Any]] = []
        listening = threading.Thread(target=lambda: heard.append(events.next()), daemon=True)
        listening.start()
        ids: set[str] = set()
        while listening.is_alive():
            ids.add(memory.remember("c", f"k{len(ids)}", {"content": "x"}).id)
            listening.join(0.1)
        assert set(heard[0]["entities"]) <= ids
        assert heard[0]["entities"]
        memory.journal("done")
        while (told := events.next())["journal"] == heard[0]["journal"]:
            pass
        assert told["journal"] == 1


def test_open_streams_end_with_the_server(start_web: StartWeb) -> None:
    page = start_web()
    with closing(Events(page)) as events:
        page.server.close()
        with pytest.raises(AssertionError, match="ended"):
            events.next()


def test_only_so_many_may_listen(start_web: StartWeb) -> None:
    page = start_web()
    listening = [Events(page) for _ in range(MOST_LISTENERS)]
    assert page.ask("GET", "/api/events").status == 503
    for one in listening:
        one.close()


# Sessions


def test_two_servers_of_a_machine_do_not_share_a_cookie(start_web: StartWeb) -> None:
    first, second = start_web(), start_web()
    first.begin()
    second.begin()
    assert first.cookie.partition("=")[0] != second.cookie.partition("=")[0]


def begun(sessions: Sessions) -> Headers:
    response = Response()
    sessions.begin(response)
    return Headers({"cookie": response.headers["set-cookie"].partition(";")[0]})


def test_over_tls_the_cookie_is_only_sent_encrypted() -> None:
    response = Response()
    Sessions(load_settings(db="x", tls_cert="cert.pem")).begin(response)
    assert response.headers["set-cookie"].startswith("__Host-")
    assert "secure" in response.headers["set-cookie"].lower()


def test_a_session_ends_when_it_is_not_used_for_long() -> None:
    now = [0.0]
    sessions = Sessions(load_settings(db="x"), lambda: now[0])
    cookie = begun(sessions)
    now[0] += SESSION_S - 1
    assert sessions.find(cookie) is not None
    now[0] += SESSION_S - 1
    assert sessions.find(cookie) is not None
    now[0] += SESSION_S + 1
    assert sessions.find(cookie) is None


def test_the_session_used_longest_ago_makes_room_for_a_new_one() -> None:
    sessions = Sessions(load_settings(db="x"))
    first, second = begun(sessions), begun(sessions)
    assert sessions.find(first) is not None
    for _ in range(MOST_SESSIONS - 1):
        begun(sessions)
    assert (sessions.find(first) is None, sessions.find(second) is None) == (False, True)


@pytest.mark.parametrize("cookie", ["", "x", "mimir_session_8767=", "mimir_session_8767=guess", "a=b; =;;", "\xff=1"])
def test_a_made_up_cookie_is_no_session(cookie: str) -> None:
    sessions = Sessions(load_settings(db="x"))
    begun(sessions)
    assert sessions.find(Headers({"cookie": cookie})) is None
