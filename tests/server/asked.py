"""A server without a wire: requests in, what their replies hold out."""

from __future__ import annotations

import json
from typing import Any

from mimir.config import load_settings
from mimir.server.dispatch import Dispatcher
from mimir.server.message import Request


class Asked:
    """A dispatcher and a short way to ask it."""

    def __init__(self, db: str, **settings: object) -> None:
        self.dispatcher = Dispatcher(load_settings(db=db, embedding="off", **settings))

    def reply(self, method: str, *, modern: bool = False, **params: object) -> dict[str, Any]:
        reply: dict[str, Any] = json.loads(self.dispatcher.answer(Request(1, method, dict(params), modern=modern)))
        return reply

    def read(self, uri: str) -> Any:  # noqa: ANN401 - any JSON
        (content,) = self.reply("resources/read", uri=uri)["result"]["contents"]
        assert content["uri"] == uri
        return json.loads(content["text"]) if content["mimeType"] == "application/json" else content["text"]

    def refused(self, method: str, *, modern: bool = False, **params: object) -> dict[str, Any]:
        error: dict[str, Any] = self.reply(method, modern=modern, **params)["error"]
        return error

    def prompt(self, name: str, **arguments: str) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = self.reply("prompts/get", name=name, arguments=arguments)["result"]["messages"]
        return [message["content"] for message in messages]

    def complete(self, ref: dict[str, str], name: str, value: str, **given: str) -> dict[str, Any]:
        argument, context = {"name": name, "value": value}, {"arguments": given}
        reply = self.reply("completion/complete", ref=ref, argument=argument, context=context)
        completion: dict[str, Any] = reply["result"]["completion"]
        return completion
