"""A language model over HTTP, if one is set: Ollama's generate protocol or OpenAI-compatible chat completions.

Nothing is sent anywhere unless an endpoint is set. The key goes into one header and nowhere else.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import SplitResult, urlsplit, urlunsplit

from mimir.errors import InvalidInput, Unavailable

if TYPE_CHECKING:
    from http.client import HTTPResponse
    from urllib.request import OpenerDirector

    from mimir.config import Settings

LONGEST_REPLY_BYTES: Final = 16 * 1024 * 1024

_CHUNK_BYTES: Final = 65_536
_SHOWN_CHARACTERS: Final = 300
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class Llm(Protocol):
    """A language model that continues a prompt."""

    def complete(self, prompt: str) -> str:
        """Return the model's answer to a prompt.

        Raises:
            Unavailable: the model cannot be reached, takes too long, or answers something else.
        """


class OllamaModel:
    """A model behind Ollama's generate protocol."""

    def __init__(self, endpoint: str, model: str, api_key: str, timeout_s: float) -> None:
        self._endpoint = Endpoint(endpoint, api_key, timeout_s)
        self._model = model

    def complete(self, prompt: str) -> str:
        """Return the model's answer to a prompt.

        Raises:
            Unavailable: the model cannot be reached, takes too long, or answers something else.
        """
        reply = self._endpoint.post({"model": self._model, "prompt": prompt, "stream": False})
        return _text(reply.get("response"))


class ChatModel:
    """A model behind an OpenAI-compatible chat completions endpoint."""

    def __init__(self, endpoint: str, model: str, api_key: str, timeout_s: float) -> None:
        self._endpoint = Endpoint(endpoint, api_key, timeout_s)
        self._model = model

    def complete(self, prompt: str) -> str:
        """Return the model's answer to a prompt.

        Raises:
            Unavailable: the model cannot be reached, takes too long, or answers something else.
        """
        messages = [{"role": "user", "content": prompt}]
        reply = self._endpoint.post({"model": self._model, "messages": messages, "stream": False})
        try:
            content = reply["choices"][0]["message"]["content"]
        except (KeyError, IndexError, TypeError):
            content = None
        return _text(content)


def open_llm(settings: Settings, tool: str) -> Llm:
    """Return the language model that the settings name, for the tool that needs it.

    A URL with ``/v1/`` in it, or that ends in ``/v1``, speaks chat completions, every other one Ollama's protocol. Of
    a bare server address or ``/v1`` the rest of the path is filled in.

    Raises:
        Unavailable: no endpoint is set, or the settings say offline.
        InvalidInput: the endpoint is no HTTP address, or the key can be none.
    """
    if not settings.llm_endpoint or settings.offline:
        why = "--offline (MIMIR_OFFLINE) keeps it from being asked." if settings.llm_endpoint else ""
        raise Unavailable(
            f"LLM is not enabled. Set --llm-endpoint to enable {tool}.",
            hint=why or "For example --llm-endpoint http://localhost:11434 --llm-model llama3, or MIMIR_LLM_ENDPOINT.",
        )
    parts = _address(settings.llm_endpoint)
    key = settings.llm_api_key.strip()
    if not (key.isascii() and key.isprintable()):
        raise InvalidInput("--llm-api-key holds characters that no header can carry.", hint="Give the key as issued.")
    path = parts.path.rstrip("/")
    if path.endswith("/v1"):
        path += "/chat/completions"
    model = ChatModel if "/v1/" in path else OllamaModel
    endpoint = urlunsplit(parts._replace(path=path or "/api/generate"))
    return model(endpoint, settings.llm_model, key, settings.llm_timeout_secs)


def _address(url: str) -> SplitResult:
    # The URL is not shown in what goes wrong: it may hold a password.
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, is_address = SplitResult("", "", "", "", ""), False
    if not is_address or "@" in parts.netloc:
        raise InvalidInput(
            "--llm-endpoint is no HTTP address, or holds a user name.",
            hint="Give one such as http://localhost:11434/api/generate, and a key with --llm-api-key.",
        )
    return parts


class Endpoint:
    """One URL that takes JSON by POST and answers with a JSON object."""

    def __init__(self, url: str, api_key: str, timeout_s: float) -> None:
        self._url = url
        self._key = api_key
        self._timeout_s = timeout_s

    def post(self, body: dict[str, Any]) -> dict[str, Any]:
        """Send one JSON object and return the one that comes back.

        Raises:
            Unavailable: there is no answer in time, an error, a redirect, or no JSON object.
        """
        from http.client import HTTPException
        from urllib.error import HTTPError, URLError
        from urllib.request import Request

        until = time.monotonic() + self._timeout_s
        headers = {"Content-Type": "application/json", "User-Agent": "mimir"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        try:
            request = Request(self._url, json.dumps(body).encode(), headers)  # noqa: S310 - the scheme was checked
            with _opener(request.host).open(request, timeout=self._timeout_s) as response:
                data = _read(response, until)
        except HTTPError as error:
            with error:
                raise self._failure(_refusal(error)) from None
        except TimeoutError:
            raise self._failure(f"no answer within {self._timeout_s:g} s") from None
        except URLError as error:
            late = isinstance(error.reason, TimeoutError)
            raise self._failure(f"no answer within {self._timeout_s:g} s" if late else str(error.reason)) from None
        except (HTTPException, OSError, ValueError) as error:
            raise self._failure(f"{type(error).__name__}: {error}") from None
        try:
            reply = json.loads(data)
        except (ValueError, RecursionError):
            raise self._failure("the reply is no JSON") from None
        if not isinstance(reply, dict):
            raise self._failure("the reply is no JSON object")
        return reply

    def _failure(self, reason: str) -> Unavailable:
        # A server may repeat the headers it was sent in its error.
        shown = reason.replace(self._key, "***") if self._key else reason
        parts = urlsplit(self._url)
        return Unavailable(
            f"LLM API call failed: {' '.join(shown.split())[:_SHOWN_CHARACTERS]}.",
            hint=f"Check that {parts.scheme}://{parts.hostname} serves the model that --llm-model names.",
        )


def _opener(host: str) -> OpenerDirector:
    from urllib.request import HTTPRedirectHandler, ProxyHandler, build_opener

    class NoRedirect(HTTPRedirectHandler):
        """A prompt, and a key, go to the address that was set and to no other."""

        def redirect_request(self, *_arguments: object) -> None:
            """Follow nothing: the answer then counts as an error."""

    # A model on this machine is never behind a proxy.
    name = urlsplit(f"//{host}").hostname
    return build_opener(NoRedirect, *([ProxyHandler({})] if name in _LOOPBACK else []))


def _read(response: HTTPResponse, until: float) -> bytes:
    # The timeout of a connection counts from byte to byte; this one counts from the question.
    data = bytearray()
    while chunk := response.read1(_CHUNK_BYTES):
        data += chunk
        if len(data) > LONGEST_REPLY_BYTES:
            raise ValueError(f"the reply is longer than {LONGEST_REPLY_BYTES} bytes")
        if time.monotonic() > until:
            raise TimeoutError
    return bytes(data)


def _refusal(error: Any) -> str:  # noqa: ANN401 - urllib's error is also a response
    """Return what a server that refused said about it."""
    if 300 <= error.code < 400:  # noqa: PLR2004 - the class of redirects
        return f"it answered with a redirect (HTTP {error.code}), which is not followed"
    try:
        told = json.loads(error.read1(_CHUNK_BYTES))["error"]
        told = told["message"] if isinstance(told, dict) else told
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        told = error.reason
    return f"HTTP {error.code}: {told}"


def _text(answer: object) -> str:
    if not isinstance(answer, str) or not answer.strip():
        raise Unavailable(
            "LLM API call failed: the reply holds no text.",
            hint="Check that --llm-endpoint is Ollama's /api/generate or an OpenAI-compatible /v1/chat/completions.",
        )
    return answer.strip()
