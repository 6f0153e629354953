"""A language model over HTTP, if one is set: Ollama's generate protocol or OpenAI-compatible chat completions.

Nothing is sent anywhere unless an endpoint is set. The key goes into one header and nowhere else.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit, urlunsplit

from mimir.errors import Unavailable
from mimir.remote import Reply, exchange, read_address, read_secret, without_secret

if TYPE_CHECKING:
    from mimir.config import Settings


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
    parts = read_address(
        settings.llm_endpoint,
        "--llm-endpoint",
        "Give one such as http://localhost:11434/api/generate, and a key with --llm-api-key.",
    )
    key = read_secret(settings.llm_api_key, "--llm-api-key")
    path = parts.path.rstrip("/")
    if path.endswith("/v1"):
        path += "/chat/completions"
    model = ChatModel if "/v1/" in path else OllamaModel
    endpoint = urlunsplit(parts._replace(path=path or "/api/generate"))
    return model(endpoint, settings.llm_model, key, settings.llm_timeout_secs)


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
        headers = {"Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        try:
            answer = exchange(self._url, data=json.dumps(body).encode(), headers=headers, timeout_s=self._timeout_s)
        except Unavailable as error:
            raise self._failure(error.message) from None
        if not answer.is_success:
            raise self._failure(_refusal(answer))
        try:
            reply = json.loads(answer.data)
        except (ValueError, RecursionError):
            raise self._failure("the reply is no JSON") from None
        if not isinstance(reply, dict):
            raise self._failure("the reply is no JSON object")
        return reply

    def _failure(self, reason: str) -> Unavailable:
        parts = urlsplit(self._url)
        return Unavailable(
            f"LLM API call failed: {without_secret(reason, self._key)}.",
            hint=f"Check that {parts.scheme}://{parts.hostname} serves the model that --llm-model names.",
        )


def _refusal(answer: Reply) -> str:
    """Return what a server that refused said about it."""
    if 300 <= answer.status < 400:  # noqa: PLR2004 - the class of redirects
        return f"it answered with a redirect (HTTP {answer.status}), which is not followed"
    try:
        told = json.loads(answer.data)["error"]
        told = told["message"] if isinstance(told, dict) else told
    except (ValueError, KeyError, TypeError, RecursionError):
        told = answer.reason
    return f"HTTP {answer.status}: {told}"


def _text(answer: object) -> str:
    if not isinstance(answer, str) or not answer.strip():
        raise Unavailable(
            "LLM API call failed: the reply holds no text.",
            hint="Check that --llm-endpoint is Ollama's /api/generate or an OpenAI-compatible /v1/chat/completions.",
        )
    return answer.strip()
