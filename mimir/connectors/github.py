"""The github connector: issues and pull requests that have changed, with their comments, over GitHub's REST API.

A repository is listed from the newest change down to the last run's newest; its bookmark moves only when all of it was
read. What each issue was last read at is kept as well, so that a run which had to stop goes on where it was.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from mimir.connectors import Bookmark, Document, Found, GithubSource, Text, Unreadable
from mimir.errors import InvalidInput, MimirError, Unavailable
from mimir.model import Json
from mimir.progress import pause
from mimir.remote import Reply, exchange, read_address, read_secret, without_secret

NAME: Final = "github"
ISSUES: Final = "github-issue"
PULL_REQUESTS: Final = "github-pull-request"

ATTEMPTS: Final = 4
"""How often one question is asked when GitHub fails or does not answer."""

FIRST_PAUSE_S: Final = 0.5
"""How long the first repetition waits, in seconds; each further one twice as long."""

MOST_COMMENT_PAGES: Final = 10
"""Pages of 100 comments of one kind that are read of one issue."""

_PAGE: Final = 100
_MOST_REDIRECTS: Final = 3
# https://docs.github.com: names of owners hold letters, digits and single hyphens, those of repositories also . and _.
_OWNER: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9]|-(?=[A-Za-z0-9])){0,38}")
_REPOSITORY: Final = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}")
_NEXT: Final = re.compile(r'<([^<>]*)>\s*;[^,]*\brel="?next"?')
_STATUS_REDIRECT: Final = (301, 302, 307, 308)
_STATUS_NOT_MODIFIED: Final = 304
_STATUS_UNAUTHORIZED: Final = 401
_STATUS_LIMITED: Final = (403, 429)
_STATUS_SERVER: Final = 500
_REASONS: Final = {
    401: "the token is not accepted: give one that is valid as connectors.github.token",
    403: "the token may not read it",
    404: "there is no such repository, or the token may not see it",
    410: "it has no issues: they are switched off, or were deleted",
}


class Page(NamedTuple):
    """One page of a list, the address of the next, and the mark under which the page is known to the server."""

    items: list[dict[str, Any]]
    following: str
    etag: str


class Stopped(Unavailable):
    """GitHub answers no more for now, whichever repository is asked for."""


def fetch(source: GithubSource, known: Mapping[str, str], now_ms: int) -> Iterator[Found]:
    """Yield the issues and pull requests that have changed since the last run, and a bookmark after each repository.

    ``known`` maps items to positions as documents and bookmarks had them. The first run goes back ``days_past`` days.
    """
    try:
        api = Api(source)
    except InvalidInput as error:
        yield Unreadable(key="connectors.github", reason=error.message)
        return
    for repository in dict.fromkeys(source.repos):
        try:
            check_repository(repository)
            yield from _changed(api, repository, source, known, now_ms)
        except Stopped as error:
            yield Unreadable(key=repository, reason=error.message)
            return
        except MimirError as error:
            yield Unreadable(key=repository, reason=error.message)


def check_repository(name: str) -> None:
    """See that a name is that of a repository, and can be nothing else in an address.

    Raises:
        InvalidInput: it is not.
    """
    owner, slash, repository = name.partition("/")
    if not (slash and _OWNER.fullmatch(owner) and _REPOSITORY.fullmatch(repository)):
        raise InvalidInput(f"{name!r} is no repository", hint="Write owner/name.")


class Api:
    """GitHub's REST API at one address, asked with patience.

    Raises:
        InvalidInput: the address or the token can be none.
    """

    def __init__(self, source: GithubSource) -> None:
        read_address(source.base_url, "connectors.github.base_url", "Write https://HOST/api/v3.")
        self._token = read_secret(source.token, "connectors.github.token")
        self._source = source
        self._base = source.base_url.rstrip("/")
        self._resumes_at = 0.0

    def url(self, path: str, **query: str | int) -> str:
        """Return the address of a path below the API, with a query."""
        return f"{self._base}/{quote(path)}?{urlencode(query)}"

    def page(self, url: str, etag: str = "") -> Page | None:
        """Return one page of a list, or None if it is the one that ``etag`` marks.

        Raises:
            Stopped: GitHub answers no more for now.
            Unavailable: it does not answer with a page.
        """
        reply = self._get(url, {"If-None-Match": etag} if etag else {})
        if reply.status == _STATUS_NOT_MODIFIED:
            return None
        try:
            items = msgspec.json.decode(reply.data, type=list[dict[str, Any]])
        except (ValueError, RecursionError):
            raise Unavailable("the answer is no list of JSON objects") from None
        match = _NEXT.search(reply.headers.get("Link", ""))
        following = match.group(1) if match else ""
        if following:
            self._check_place(following)
        return Page(items, following, reply.headers.get("ETag", ""))

    def all(self, url: str, most_pages: int) -> Iterator[dict[str, Any]]:
        """Yield the items of a list, page by page.

        Raises:
            Stopped, Unavailable: as `page`.
        """
        for _ in range(most_pages):
            page = self.page(url)
            yield from page.items if page else ()
            if page is None or not page.following:
                return
            url = page.following

    def _get(self, url: str, conditions: Mapping[str, str]) -> Reply:
        headers = {
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
            **({"Authorization": f"Bearer {self._token}"} if self._token else {}),
            **conditions,
        }
        pause = FIRST_PAUSE_S
        redirects = attempts = 0
        while True:
            self._wait(self._resumes_at - time.time(), "its rate limit is used up")
            reply, reason = self._ask(url, headers)
            if reply is not None:
                self._resumes_at = _resumption(reply)
                if reply.is_success or reply.status == _STATUS_NOT_MODIFIED:
                    return reply
                if reply.status in _STATUS_REDIRECT and redirects < _MOST_REDIRECTS:
                    # A repository that was renamed answers from its new address; the token goes to no other server.
                    url = reply.headers.get("Location", "")
                    self._check_place(url)
                    redirects += 1
                    continue
                if not _is_passing(reply):
                    raise self._refused(reply)
                reason = f"HTTP {reply.status}: {reply.reason}"
            attempts += 1
            if attempts == ATTEMPTS:
                raise Stopped(f"no usable answer in {ATTEMPTS} attempts, the last: {reason}")
            asked = _asked_pause(reply) if reply is not None else None
            if asked is None and self._resumes_at <= time.time():
                asked, pause = pause, 2 * pause
            self._wait(asked or 0.0, reason)

    def _ask(self, url: str, headers: Mapping[str, str]) -> tuple[Reply | None, str]:
        """Return the reply, or why there is none."""
        try:
            return exchange(url, headers=headers, timeout_s=self._source.timeout_secs), ""
        except Unavailable as error:
            return None, without_secret(error.message, self._token)

    def _wait(self, seconds: float, reason: str) -> None:
        if seconds > self._source.longest_wait_secs:
            at = datetime.fromtimestamp(time.time() + seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
            raise Stopped(f"{reason}; what was read is kept, run again after {at} UTC")
        if seconds > 0:
            pause(seconds)

    def _check_place(self, url: str) -> None:
        if urlsplit(url)[:2] != urlsplit(self._base)[:2]:
            raise Unavailable("it points to another server, which is not followed")

    def _refused(self, reply: Reply) -> MimirError:
        reason = _REASONS.get(reply.status) or f"HTTP {reply.status}: {reply.reason}"
        try:
            said = msgspec.json.decode(reply.data)["message"]
        except (ValueError, KeyError, TypeError, RecursionError):
            said = ""
        told = f"{reason} ({said})" if isinstance(said, str) and said else reason
        kind = Stopped if reply.status == _STATUS_UNAUTHORIZED else Unavailable
        return kind(without_secret(told, self._token))


def _is_passing(reply: Reply) -> bool:
    """Tell whether the same question may be answered later."""
    if reply.status in _STATUS_LIMITED:
        is_limited = _asked_pause(reply) is not None or reply.headers.get("X-RateLimit-Remaining") == "0"
        return is_limited or reply.status != _STATUS_LIMITED[0]
    return reply.status >= _STATUS_SERVER


def _asked_pause(reply: Reply) -> float | None:
    """Return for how many seconds the server asks to be left alone, None if it does not say."""
    told = reply.headers.get("Retry-After", "")
    if told.isascii() and told.isdecimal():
        return float(told)
    try:
        return max(0.0, parsedate_to_datetime(told).timestamp() - time.time())
    except ValueError:
        return None


def _resumption(reply: Reply) -> float:
    """Return from when on there is something left of the rate limit, in seconds since 1970; 0 if there is now."""
    reset = reply.headers.get("X-RateLimit-Reset", "")
    used_up = reply.headers.get("X-RateLimit-Remaining") == "0"
    return float(reset) if used_up and reset.isascii() and reset.isdecimal() else 0.0


def _changed(api: Api, repository: str, source: GithubSource, known: Mapping[str, str], now_ms: int) -> Iterator[Found]:
    bookmark = _digest(f"repository {repository}")
    since, _, etag = known.get(bookmark, "").partition(" ")
    if not since:
        first = datetime.fromtimestamp(now_ms / 1000, UTC) - timedelta(days=source.days_past)
        since = first.strftime("%Y-%m-%dT%H:%M:%SZ")
    # Newest first: what changes meanwhile comes to the front, and no item can slip from a page not yet read to one
    # that was.
    listed: dict[str, str | int] = {
        "state": "all",
        "since": since,
        "per_page": _PAGE,
        "sort": "updated",
        "direction": "desc",
    }
    url, newest, mark, count = api.url(f"repos/{repository}/issues", **listed), since, "", 0
    while url:
        page = api.page(url, "" if count else etag)
        if page is None:
            return
        mark = mark if count else page.etag
        for item in page.items[: source.max_items_per_repo - count]:
            newest = max(newest, str(item.get("updated_at", "")))
            found = _read(api, repository, item, known)
            if found is not None:
                yield found
        count += len(page.items)
        url = page.following if page.items and count < source.max_items_per_repo else ""
    # The mark is that of a question, and another bookmark asks another one.
    yield Bookmark(item=bookmark, position=f"{newest} {mark}" if newest == since else newest)


def _read(api: Api, repository: str, item: Mapping[str, Any], known: Mapping[str, str]) -> Document | Unreadable | None:
    """Return what an entry of the list stands for, or None if it was read as it is now."""
    number = item.get("number")
    if not isinstance(number, int):
        return Unreadable(key=repository, reason="an entry of the list is no issue")
    if known.get(_item(repository, number)) == item.get("updated_at"):
        return None
    try:
        return _document(api, repository, number, item)
    except Stopped:
        raise
    except Unavailable as error:
        reason = error.message
    except (AttributeError, KeyError, TypeError) as error:
        reason = f"it is not described as issues are ({type(error).__name__}: {error})"
    return Unreadable(key=f"{repository}#{number}", reason=reason)


def _document(api: Api, repository: str, number: int, item: Mapping[str, Any]) -> Document:
    """Return an issue or a pull request with all of its comments, oldest first."""
    pull_request = item.get("pull_request")
    place = f"repos/{repository}"
    lists = [f"{place}/issues/{number}/comments"] if item.get("comments") else []
    if pull_request is not None:
        lists += [f"{place}/pulls/{number}/comments", f"{place}/pulls/{number}/reviews"]
    comments = [
        {"author": _author(one), "created_at": one.get("submitted_at") or one["created_at"], "text": one["body"]}
        for path in lists
        for one in api.all(api.url(path, per_page=_PAGE), MOST_COMMENT_PAGES)
        if one.get("body")
    ]
    labels = [_label(label) for label in item.get("labels") or ()]
    body: dict[str, Json] = {
        "title": item["title"],
        "body": item.get("body") or "",
        "state": item["state"],
        "url": item["html_url"],
        "author": _author(item),
        "created_at": item["created_at"],
        "updated_at": item["updated_at"],
        "closed_at": item.get("closed_at"),
        "merged_at": (pull_request or {}).get("merged_at"),
        "labels": labels,
        "comments": sorted(comments, key=lambda comment: str(comment["created_at"])),
    }
    kind, word = (ISSUES, "issues") if pull_request is None else (PULL_REQUESTS, "pull")
    text = Text(
        category=kind,
        key=f"{repository}/{word}/{number}",
        tags=tuple(labels),
        body={name: value for name, value in body.items() if value is not None},
    )
    return Document(item=_item(repository, number), position=str(item["updated_at"]), texts=(text,))


def _author(item: Mapping[str, Any]) -> str:
    return str((item.get("user") or {}).get("login") or "ghost")


def _label(label: Json) -> str:
    return str(label["name"] if isinstance(label, dict) else label)


def _item(repository: str, number: int) -> str:
    return _digest(f"issue {repository} {number}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
