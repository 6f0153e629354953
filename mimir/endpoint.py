"""A model behind HTTP: one address that takes JSON by POST and answers with JSON, and failures that say what to do.

The language model and the embedding model are both reached here. What is sent goes to the address that was set and to
no other; a key goes into one header and nowhere else.
"""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias
from urllib.parse import urlsplit, urlunsplit

from mimir import progress
from mimir.errors import Unavailable
from mimir.remote import Reply, exchange, read_address, read_secret, without_secret

if TYPE_CHECKING:
    from mimir.config import Settings

Kind: TypeAlias = Literal["llm", "embedding"]
"""Which model: its settings are ``--<kind>-endpoint``, ``--<kind>-model``, ``--<kind>-api-key``."""

ATTEMPTS: Final = 3
FIRST_PAUSE_S: Final = 0.25
"""Pause before the second attempt, doubled before each further one; what Retry-After asks for wins if it is longer."""

RETRIED: Final = frozenset({429, 500, 502, 503, 504})

_SUBJECTS: Final = {"llm": "LLM", "embedding": "Embedding"}
_EXAMPLES: Final = {"llm": "http://localhost:11434/api/generate", "embedding": "http://localhost:11434/api/embed"}
_PATHS: Final = ("/chat/completions", "/embeddings", "/api/chat", "/api/generate", "/api/embed")
_VERSIONED: Final = re.compile(r"/(v\d+[a-z0-9]*|openai)(/|$)")
_ADVICE: Final = {
    400: "The service does not take this request: check {model} and that its context is large enough.",
    401: "Give the service's key with {key} or {variable}.",
    403: "The service knows the key but refuses: check {key} and what it may use.",
    404: "Check {model} and the path {path}. With Ollama, fetch the model first: ollama pull {name}",
    413: "The request is too long for the service.",
    429: "The service limits how often it may be asked: wait and try again.",
}
_OWN_FAULT: Final = "The service failed by itself: look at its log, or try again later."


class Endpoint(NamedTuple):
    """Where a model is, its name, the key for it, and how long one answer may take in seconds."""

    kind: Kind
    url: str
    model: str
    key: str
    timeout_s: float

    @property
    def path(self) -> str:
        """Return the path of the address."""
        return urlsplit(self.url).path

    def post(self, body: dict[str, Any], *, timeout_s: float | None = None, attempts: int = ATTEMPTS) -> dict[str, Any]:
        """Send one JSON object and return the one that comes back.

        A refused connection and the statuses in `RETRIED` are tried again while the time lasts.

        Raises:
            Unavailable: there is no answer in time, an error, a redirect, or no JSON object.
        """
        until = time.monotonic() + (timeout_s or self.timeout_s)
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        data = json.dumps(body).encode()
        pause = FIRST_PAUSE_S
        while True:
            attempts -= 1
            left = until - time.monotonic()
            try:
                reply = exchange(self.url, data=data, headers=headers, timeout_s=max(left, 0.001))
            except Unavailable as error:
                # How long it took in all is what was set; the last attempt had less.
                late = time.monotonic() >= until
                reason = f"no answer within {timeout_s or self.timeout_s:g} s" if late else error.message
                failure = self.failure(reason)
            else:
                if reply.is_success:
                    return self._decoded(reply)
                failure = self._refused(reply)
                if reply.status not in RETRIED:
                    raise failure
                pause = max(pause, _asked_pause(reply))
            if attempts <= 0 or time.monotonic() + pause >= until:
                raise failure
            progress.pause(pause)
            pause *= 2

    def failure(self, reason: str, hint: str = "") -> Unavailable:
        """Return the error for a call that failed, the key taken out of the reason."""
        parts = urlsplit(self.url)
        return Unavailable(
            f"{_SUBJECTS[self.kind]} API call failed: {without_secret(reason, self.key).rstrip('.')}.",
            hint=hint or f"Check that {parts.scheme}://{parts.netloc} serves the model that --{self.kind}-model names.",
        )

    def _decoded(self, reply: Reply) -> dict[str, Any]:
        try:
            answer = json.loads(reply.data)
        except (ValueError, RecursionError):
            raise self.failure("the reply is no JSON", self._path_hint()) from None
        if not isinstance(answer, dict):
            raise self.failure("the reply is no JSON object", self._path_hint())
        if answer.get("error"):
            raise self.failure(_told(answer) or "the reply is an error")
        return answer

    def _refused(self, reply: Reply) -> Unavailable:
        if 300 <= reply.status < 400:  # noqa: PLR2004 - the class of redirects
            return self.failure(
                f"it answered with a redirect (HTTP {reply.status}), which is not followed",
                f"Set --{self.kind}-endpoint to the address that it redirects to, if you trust that.",
            )
        try:
            told = _told(json.loads(reply.data))
        except (ValueError, RecursionError):
            told = ""
        asked = _asked_pause(reply)
        wait = f" (asks to wait {asked:g} s)" if asked else ""
        advice = _ADVICE.get(reply.status, _OWN_FAULT if reply.status >= 500 else self._path_hint())  # noqa: PLR2004
        return self.failure(
            f"HTTP {reply.status}: {told or reply.reason}{wait}",
            advice.format(
                key=f"--{self.kind}-api-key",
                variable=f"MIMIR_{self.kind.upper()}_API_KEY",
                model=f"--{self.kind}-model {self.model}",
                name=self.model,
                path=self.path,
            ),
        )

    def _path_hint(self) -> str:
        return f"Check that the path {self.path} of --{self.kind}-endpoint is one such as {_EXAMPLES[self.kind]}."


def open_endpoint(settings: Settings, kind: Kind, openai: str, ollama: str, known: tuple[str, ...]) -> Endpoint:
    """Return the endpoint that the settings name, its path filled in.

    A path that ends in one of ``known`` stays. An address with a version in its path, such as ``/v1``, is
    OpenAI-compatible and gets ``openai``, if its path ends there; any other is Ollama's and gets ``ollama``.

    Raises:
        Unavailable: the settings say offline.
        InvalidInput: the endpoint is no HTTP address, or the key can be none.
    """
    flag = f"--{kind}-endpoint"
    if settings.offline:
        raise Unavailable(
            f"{flag} is set, but --offline (MIMIR_OFFLINE) keeps it from being asked.", hint="Start without --offline."
        )
    address = getattr(settings, f"{kind}_endpoint")
    hint = f"Give one such as {_EXAMPLES[kind]}, and a key with --{kind}-api-key."
    parts = read_address(address, flag, hint)
    path = completed_path(parts.path, openai, ollama, known)
    return Endpoint(
        kind=kind,
        url=urlunsplit(parts._replace(path=path, fragment="")),
        model=getattr(settings, f"{kind}_model"),
        key=read_secret(_key(settings, kind), f"--{kind}-api-key"),
        timeout_s=getattr(settings, f"{kind}_timeout_secs"),
    )


def completed_path(path: str, openai: str, ollama: str, known: tuple[str, ...]) -> str:
    """Return the path of an address with what it lacks; one meant for the other model of a server is turned."""
    path = path.rstrip("/").replace("/api/embeddings", "/api/embed")
    if path.endswith(known):
        return path
    for other in _PATHS:
        path = path.removesuffix(other)
    version = _VERSIONED.search(path)
    if version is None:
        return path.removesuffix("/api") + ollama
    return path + openai if re.fullmatch(r"(/v\d+[a-z0-9]*)?(/openai)?", path[version.start() :]) else path


def _key(settings: Settings, kind: Kind) -> str:
    if kind == "llm" or settings.embedding_api_key:
        return str(getattr(settings, f"{kind}_api_key"))
    # One key for both models of one server; it does not go to another one.
    here, there = (urlsplit(url)[:2] for url in (settings.embedding_endpoint, settings.llm_endpoint))
    return settings.llm_api_key if here == there or not settings.llm_endpoint else ""


def _asked_pause(reply: Reply) -> float:
    """Return the seconds that Retry-After asks for; a date is not looked at."""
    asked = reply.headers.get("Retry-After", "")
    return float(asked) if asked.isdecimal() and asked.isascii() else 0.0


def _told(answer: Any) -> str:  # noqa: ANN401 - whatever JSON a server sends
    """Return what the JSON of an error says."""
    for name in ("error", "detail", "message"):
        told = answer.get(name) if isinstance(answer, dict) else None
        told = told.get("message") if isinstance(told, dict) else told
        if isinstance(told, str) and told.strip():
            return told
    return ""
