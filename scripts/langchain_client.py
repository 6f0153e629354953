"""Remember and recall through langchain-mcp-adapters: `langchain_client.py MIMIR STORE`, in an environment that has it.

Each call starts a server of its own, as the adapter does unless a session is opened.
"""

import asyncio
import sys

from langchain_mcp_adapters.client import MultiServerMCPClient


async def use(program: str, store: str) -> None:
    """List the tools, remember with one and find it again with another."""
    server = {"command": program, "args": ["serve", "--db", store], "transport": "stdio"}
    tools = {tool.name: tool for tool in await MultiServerMCPClient({"mimir": server}).get_tools()}
    body = {"content": "SQLite it is"}
    await tools["mimir_remember"].ainvoke({"category": "decision", "key": "database", "body_json": body})
    found = await tools["mimir_recall"].ainvoke({"query": "sqlite"})
    print(f"{len(tools)} tools")
    print(found)


asyncio.run(use(*sys.argv[1:]))
