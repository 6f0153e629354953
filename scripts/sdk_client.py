"""Remember and recall through the official SDK's client: `sdk_client.py TRANSPORT TARGET [TOKEN]`.

TRANSPORT is stdio, http or sse; TARGET is the store, or the server's address. Prints what was done; ends with status 3
when the server refuses the token.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
from mcp import Client, MCPError
from mcp.client.sse import sse_client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client

REFUSED = 3
MODES = {"stdio": ("legacy", "2026-07-28"), "http": ("legacy", "2026-07-28"), "sse": ("legacy",)}


async def use(transport: str, target: str, token: str, mode: str) -> str:
    """Return in a few words what a client of one era was served."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with httpx2.AsyncClient(headers=headers, event_hooks={"response": [note_status]}) as http:
        if transport == "stdio":
            program = str(Path(sys.executable).with_name("mimir"))
            served = stdio_client(StdioServerParameters(command=program, args=["serve", "--db", target]))
        elif transport == "sse":
            served = sse_client(f"{target}/sse", headers=headers)
        else:
            served = streamable_http_client(f"{target}/mcp", http_client=http)
        async with Client(served, mode=mode) as client:
            tools = (await client.list_tools()).tools
            body = {"content": f"SQLite it is, over {transport}"}
            arguments = {"category": "decision", "key": f"{transport} {mode}", "body_json": body}
            stored = await client.call_tool("mimir_remember", arguments)
            found = await client.call_tool("mimir_recall", {"query": f"sqlite over {transport}"})
            if stored.is_error or found.is_error or not (found.structured_content or {}).get("items"):
                raise SystemExit(f"{mode}: {stored} {found}")
            return f"{mode} {len(tools)} tools"


async def note_status(response: httpx2.Response) -> None:
    """End when the server refuses the token; how a client reports that differs by era."""
    if response.status_code == httpx2.codes.UNAUTHORIZED:
        raise PermissionError


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and all that it was raised from or holds."""
    yield error
    for inner in (*getattr(error, "exceptions", ()), error.__cause__, error.__context__):
        if inner is not None:
            yield from causes(inner)


def is_refusal(error: BaseException) -> bool:
    """Tell whether a wrong token was the reason."""
    return any(
        isinstance(cause, PermissionError)
        or (isinstance(cause, httpx2.HTTPStatusError) and cause.response.status_code == httpx2.codes.UNAUTHORIZED)
        for cause in causes(error)
    )


def main(transport: str, target: str, token: str = "") -> int:
    """Use the server in each era that the transport has."""
    try:
        for mode in MODES[transport]:
            print(asyncio.run(use(transport, target, token, mode)))
    except (MCPError, ExceptionGroup, httpx2.HTTPError, PermissionError) as error:
        if not is_refusal(error):
            raise
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
