"""A language model over HTTP, if one is set: Ollama's two protocols or OpenAI-compatible chat completions.

Nothing is sent anywhere unless an endpoint is set.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from mimir.endpoint import Endpoint, open_endpoint
from mimir.errors import Unavailable

if TYPE_CHECKING:
    from mimir.config import Settings

CHAT_COMPLETIONS: Final = "/chat/completions"
OLLAMA_CHAT: Final = "/api/chat"
OLLAMA_GENERATE: Final = "/api/generate"

_THOUGHTS: Final = re.compile(r"\A\s*<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL)
_STEADY: Final = {"temperature": 0}
"""Ollama's options for the likeliest answer. Some chat completions services refuse any but their own temperature."""


class Prompt(NamedTuple):
    """What is asked of a model: our instructions, and the material they are about, which may come from anyone."""

    instructions: str
    material: str


class Llm(Protocol):
    """A language model that answers a prompt."""

    def complete(self, prompt: Prompt) -> str:
        """Return the model's answer, without the thoughts that some models write before it.

        Raises:
            Unavailable: the model cannot be reached, takes too long, or answers something else.
        """


class RemoteLlm:
    """A model at an endpoint, spoken to in the protocol of its path; answers are never streamed."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def complete(self, prompt: Prompt) -> str:
        """Return the model's answer, without the thoughts that some models write before it.

        Raises:
            Unavailable: the model cannot be reached, takes too long, or answers something else.
        """
        path = self._endpoint.path
        body: dict[str, Any] = {"model": self._endpoint.model}
        if path.endswith(OLLAMA_GENERATE):
            body |= {"system": prompt.instructions, "prompt": prompt.material}
        else:
            body["messages"] = [
                {"role": "system", "content": prompt.instructions},
                {"role": "user", "content": prompt.material},
            ]
        if path.endswith((OLLAMA_GENERATE, OLLAMA_CHAT)):
            body["options"] = _STEADY
        answer = _text(self._endpoint.post({**body, "stream": False}))
        spoken = _THOUGHTS.sub("", answer).strip() if isinstance(answer, str) else ""
        if not spoken:
            raise self._endpoint.failure(
                "the reply holds no text",
                "Check that --llm-endpoint is Ollama's /api/generate or /api/chat, or an OpenAI-compatible"
                " /v1/chat/completions.",
            )
        return spoken


def open_llm(settings: Settings, tool: str) -> Llm:
    """Return the language model that the settings name, for the tool that needs it.

    Raises:
        Unavailable: no endpoint is set, or the settings say offline.
        InvalidInput: the endpoint is no HTTP address, or the key can be none.
    """
    enable = f"LLM is not enabled. Set --llm-endpoint to enable {tool}."
    if not settings.llm_endpoint:
        raise Unavailable(
            enable, hint="For example --llm-endpoint http://localhost:11434 --llm-model llama3, or MIMIR_LLM_ENDPOINT."
        )
    try:
        known = (CHAT_COMPLETIONS, OLLAMA_CHAT, OLLAMA_GENERATE)
        return RemoteLlm(open_endpoint(settings, "llm", CHAT_COMPLETIONS, OLLAMA_GENERATE, known))
    except Unavailable as error:
        raise Unavailable(enable, hint=error.message) from None


def _text(reply: dict[str, Any]) -> object:
    """Return what should be the answer's text in a reply of any of the three protocols."""
    if "response" in reply:
        return reply["response"]
    try:
        message = reply["message"] if "message" in reply else reply["choices"][0]["message"]
        return message["content"]
    except (KeyError, IndexError, TypeError):
        return None
