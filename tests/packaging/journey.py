"""The default path from wheels to notes, as a program that runs inside a network namespace and tells what it saw.

    journey.py WHEELS FOLDER

Prints one JSON object. Standard library only: what is tried out is installed by the journey itself.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import venv
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

PORT = 8767
MEMORIES = {
    "storage": "We chose SQLite because one file is easy to back up.",
    "billing": "Invoices go out on the first working day of a month.",
    "garden": "The tomatoes want water every evening in July.",
}
QUESTION = "which database did we take, so that I can back it up"


def main() -> None:
    wheels, folder = (Path(word) for word in sys.argv[1:])
    seen: dict[str, Any] = {
        "routes": run(["ip", "route"]) + run(["ip", "-6", "route"]),
        "interfaces": [name for _, name in socket.if_nameindex()],
        "name": name_lookup(),
    }
    mimir = install(wheels, folder / "environment")
    db = str(folder / "memory.db")
    seen |= served([mimir, "serve", "--db", db])
    seen["dashboard"] = dashboard([mimir, "web", "--db", db])
    seen["exported"] = json.loads(run([mimir, "vault-export", str(folder / "vault"), "--json", "--db", db]))
    seen["notes"] = len(list((folder / "vault").rglob("*.md")))
    seen["doctor"] = json.loads(run([mimir, "doctor", "--json", "--db", db]))
    seen["demo"] = run([mimir, "demo", "--db", str(folder / "demo.db")])
    seen["attempts"] = attempts_to_leave()
    # The control: a socket that is only given a foreign address, and sends nothing, is seen too.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        seen["control"] = control.connect_ex(("192.0.2.1", 9)) != 0 and attempts_to_leave() - seen["attempts"]
    sys.stdout.write(json.dumps(seen))


def run(command: list[str]) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, encoding="utf-8", check=True).stdout


def name_lookup() -> str:
    try:
        return str(socket.getaddrinfo("mimir.invalid", 443))
    except socket.gaierror:
        return "unknown"


def attempts_to_leave() -> int:
    """Return how often the kernel found no route for something that this namespace wanted to send."""
    lines = Path("/proc/net/snmp").read_text(encoding="ascii").splitlines()
    names, numbers = (line.split() for line in lines if line.startswith("Ip:"))
    four = int(numbers[names.index("OutNoRoutes")])
    six = dict(line.split() for line in Path("/proc/net/snmp6").read_text(encoding="ascii").splitlines())
    return four + int(six["Ip6OutNoRoutes"])


def install(wheels: Path, environment: Path) -> str:
    venv.create(environment, with_pip=True)
    pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run([*pip, "--no-index", "--find-links", str(wheels), "mimir-local"])
    return str(environment / "bin" / "mimir")


def served(command: list[str]) -> dict[str, Any]:
    """Return what a session over stdio saw: remembering, then recall by words and by meaning."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        answers = []
        client = {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "journey", "version": "1"},
        }
        calls: list[tuple[str, dict[str, Any]]] = [("initialize", client)]
        for key, text in MEMORIES.items():
            arguments = {"category": "fact", "key": key, "body_json": {"content": text}}
            calls.append(("tools/call", {"name": "mimir_remember", "arguments": arguments}))
        calls.append(("tools/call", {"name": "mimir_recall", "arguments": {"query": QUESTION, "mode": "hybrid"}}))
        for number, (method, params) in enumerate(calls):
            message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            process.stdin.write(json.dumps(message) + "\n")
            process.stdin.flush()
            answers.append(json.loads(process.stdout.readline())["result"])
        process.stdin.close()
    recalled = answers[-1]["structuredContent"]
    return {"server": answers[0]["serverInfo"]["name"], "arms": recalled["arms"], "items": recalled["items"]}


def dashboard(command: list[str]) -> dict[str, Any]:
    """Return what the dashboard answered to a browser's first two requests."""
    with subprocess.Popen([*command, "--port", str(PORT)], stderr=subprocess.PIPE, encoding="utf-8") as process:
        try:
            assert process.stderr is not None
            assert str(PORT) in process.stderr.readline()
            return {"page": fetched("/").decode(), "stats": json.loads(fetched("/api/stats"))}
        finally:
            process.terminate()


def fetched(path: str) -> bytes:
    connection = HTTPConnection("127.0.0.1", PORT, timeout=60)
    connection.request("GET", path)
    return connection.getresponse().read()


if __name__ == "__main__":
    main()
