"""`mimir connect`: every client's own file gets the server, and gets it out again without a trace."""

from __future__ import annotations

import json
import shlex
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from mimir import Memory
from mimir.cli.clients import CLIENTS, SYSTEMS, Client, located
from mimir.model import Json
from mimir.workspace import name_of
from tests.cli.conftest import RunMimir

Files = dict[Path, bytes]

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="the prepared home has the places of Linux")

PREPARED = {
    ".config/Claude/claude_desktop_config.json": '{\n    "globalShortcut": "",\n    "mcpServers": {}\n}',
    ".claude.json": '{"numStartups":3,"projects":{"/x":{"mcpServers":{}}}}',
    ".claude/settings.json": '{\r\n  "model": "o",\r\n  "hooks": {\r\n    "Stop": []\r\n  }\r\n}\r\n',
    ".claude/CLAUDE.md": "# Mine\n\nBe brief.",
    ".cursor/mcp.json": '{\n\t"mcpServers": {\n\t\t"time": {"command": "uvx"}\n\t}\n}\n',
    ".cursor/hooks.json": '{\n  "version": 1,\n  "hooks": {"stop": [{"command": "date"}]}\n}\n',
    ".codeium/windsurf/mcp_config.json": "",
    ".config/Code/User/mcp.json": '// mine\n{\n  "inputs": [], // none\n  "servers": { "time": {} },\n}\n',
    ".continue/config.yaml": "name: mine\nversion: 1.0.0\n",
    ".config/zed/settings.json": '\ufeff// Zed settings\n{\n  "theme": "One", // dark\n  /* "vim": 1 */\n}\n',
    ".codex/config.toml": 'model = "o" # mine\n\n[mcp_servers.time] # uvx\ncommand = "uvx"',
    ".codex/AGENTS.md": "Use tabs.\n",
    ".codex/hooks.json": '{"hooks": {"Stop": []}}\n',
    ".gemini/settings.json": '{\n  // mine\n  "hooks": {"SessionStart": [{"hooks": []}]},\n  "mcpServers": {}\n}\n',
    ".hermes/config.yaml": "model: o # mine\nmcp_servers:\n  # the time\n  time:\n    command: uvx\n\nlast: 1\n",
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home in which every client has its configuration."""
    folder = tmp_path / "home"
    for name, text in PREPARED.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return folder


def files_in(folder: Path) -> Files:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def entry_of(path: Path, key: str) -> Json:
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix == ".toml":
        return tomllib.loads(text)[key]["mimir"]
    if path.suffix == ".yaml":
        return yaml.safe_load(text)[key]["mimir"]
    return json.loads(text)[key]["mimir"]


@linux_only
def test_every_client_gets_the_server_once_and_its_file_back(mimir: RunMimir, home: Path) -> None:
    before = files_in(home)
    arguments = ("connect", "--all-detected", "--hooks", "--rules")

    tried = mimir(*arguments, "--dry-run")
    assert (tried.status, files_in(home)) == (0, before)
    assert tried.out.count("+[mcp_servers.mimir]\n") == 1

    report = json.loads(mimir(*arguments, "--json").out)
    assert {Path(file["file"]).relative_to(home).as_posix() for file in report["files"]} == {
        *(name for name in PREPARED if not name.startswith(".continue")),
        ".continue/mcpServers/mimir.json",
        ".gemini/GEMINI.md",
    }
    connected = files_in(home)
    for name, text in PREPARED.items():
        if not name.startswith(".continue"):
            assert connected[home / name] != text.encode()
            assert connected[home / f"{name}.before-mimir"] == text.encode()

    again = json.loads(mimir(*arguments, "--json").out)
    assert {file["action"] for file in again["files"]} == {"unchanged"}
    assert files_in(home) == connected

    assert mimir("connect", "--all-detected", "--remove").status == 0
    assert files_in(home) == before


@linux_only
@pytest.mark.parametrize("name", [client.name for client in CLIENTS])
def test_what_a_client_is_given_starts_a_server(mimir: RunMimir, tmp_path: Path, name: str) -> None:
    db = str(tmp_path / "with space" / "é.db")
    report = json.loads(mimir("connect", name, "--db", db, "--tools", "standard", "--json").out)
    client = next(client for client in CLIENTS if client.name == name)
    entry = entry_of(Path(report["files"][0]["file"]), client.key)
    assert entry["args"][-4:] == ["--db", db, "--tools", "standard"]
    assert Path(entry["command"]).is_absolute()
    served = subprocess.run(
        [entry["command"], *entry["args"]],
        input=b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n',
        capture_output=True,
        check=True,
        cwd=tmp_path,
    )
    assert served.stdout == b'{"jsonrpc":"2.0","id":1,"result":{}}\n'


def test_a_project_gets_a_file_of_its_own_and_loses_it_again(
    mimir: RunMimir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert mimir("connect", "claude-code", "--scope", "project", "--rules").status == 0
    entry = entry_of(tmp_path / ".mcp.json", "mcpServers")
    assert entry["type"] == "stdio"
    assert "mimir_recall" in (tmp_path / "CLAUDE.md").read_text(encoding="utf-8")
    assert mimir("connect", "claude-code", "--scope", "project", "--remove").status == 0
    assert files_in(tmp_path) == {}


def test_a_note_that_clients_share_goes_with_the_last_of_them(
    mimir: RunMimir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    note = tmp_path / "AGENTS.md"
    for name in ("cursor", "zed"):
        assert mimir("connect", name, "--scope", "project", "--rules").status == 0
    assert mimir("connect", "zed", "--scope", "project", "--remove").status == 0
    assert note.read_text(encoding="utf-8").count("## Memory") == 1
    assert mimir("connect", "cursor", "--scope", "project", "--remove").status == 0
    assert files_in(tmp_path) == {}


def test_a_key_is_passed_on_only_when_it_is_given(mimir: RunMimir, tmp_path: Path) -> None:
    plain = json.loads(mimir("connect", "generic", "--db", "m.db").out)["mcpServers"]["mimir"]
    assert plain["args"] == ["serve", "--db", str(Path("m.db").absolute()), "--tools", "core"]
    key = str(tmp_path / "key")
    sealed = json.loads(mimir("connect", "generic", "--db", "m.db", "--encryption-key", key).out)["mcpServers"]["mimir"]
    assert sealed["args"] == [*plain["args"], "--encryption-key", key]


def test_a_key_and_files_that_only_this_shell_knows_are_written_by_absolute_paths(
    mimir: RunMimir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MIMIR_ENCRYPTION_KEY_FILE", "key")
    printed = mimir("connect", "generic", "--log-file", "~/log", "--connectors-config", "sources.yaml").out
    words = json.loads(printed)["mcpServers"]["mimir"]["args"]
    given = dict(zip(words[1::2], words[2::2], strict=True))
    assert given["--encryption-key"] == str(tmp_path / "key")
    assert given["--log-file"] == str(tmp_path / "home" / "log")
    assert given["--connectors-config"] == str(tmp_path / "sources.yaml")


def test_a_file_that_cannot_be_read_is_left_alone_and_the_others_are_not(mimir: RunMimir, tmp_path: Path) -> None:
    broken = tmp_path / "home" / ".cursor" / "mcp.json"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b'{"mcpServers": {')
    (tmp_path / "home" / ".codex").mkdir()
    ran = mimir("connect", "--all-detected")
    assert ran.status == 2
    assert str(broken) in ran.err
    assert broken.read_bytes() == b'{"mcpServers": {'
    assert list(broken.parent.iterdir()) == [broken]
    assert entry_of(tmp_path / "home" / ".codex" / "config.toml", "mcp_servers")


@pytest.mark.skipif(sys.platform == "win32", reason="links and modes of POSIX")
def test_a_linked_file_stays_a_link_and_keeps_its_mode(mimir: RunMimir, tmp_path: Path) -> None:
    real = tmp_path / "dotfiles" / "mcp.json"
    real.parent.mkdir()
    real.write_text("{}", encoding="utf-8")
    real.chmod(0o640)
    link = tmp_path / "home" / ".cursor" / "mcp.json"
    link.parent.mkdir(parents=True)
    link.symlink_to(real)
    assert mimir("connect", "cursor").status == 0
    assert link.is_symlink()
    assert entry_of(real, "mcpServers")
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert mimir("connect", "cursor", "--remove").status == 0
    assert files_in(tmp_path / "dotfiles") == {real: b"{}"}


def test_an_entry_written_by_hand_is_backed_up_replaced_and_removed(mimir: RunMimir, tmp_path: Path) -> None:
    path = tmp_path / "home" / ".cursor" / "mcp.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"mcpServers": {"mimir": {"command": "mimir"}, "b": {}}}', encoding="utf-8")
    assert mimir("connect", "cursor").status == 0
    assert "mimir" not in json.loads(path.read_text(encoding="utf-8"))["mcpServers"]["mimir"]["args"]
    assert path.with_name("mcp.json.before-mimir").exists()
    assert mimir("connect", "cursor", "--remove").status == 0
    assert json.loads(path.read_text(encoding="utf-8")) == {"mcpServers": {"b": {}}}


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("nothing",),
        ("cursor", "--all-detected"),
        ("hermes", "--scope", "project"),
        ("cursor", "--tools", "nope"),
        ("claude-code", "--scope", "project", "--mcp-token", "a-secret"),
        ("generic", "--all-detected"),
        ("generic", "--remove"),
        ("generic", "--rules", "--hooks"),
    ],
)
def test_a_wrong_request_is_refused_with_advice(mimir: RunMimir, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    ran = mimir("connect", *arguments)
    assert ran.status == 2
    assert len(ran.err.splitlines()) > 1
    assert not (tmp_path / "home").exists()


def test_a_session_that_starts_is_given_what_is_remembered(mimir: RunMimir, db: str) -> None:
    assert mimir("context", "--hook", "--db", db).out == ""
    with Memory.open(db, embedding="off") as memory:
        memory.remember("decision", "database", {"content": "SQLite it is"})
    output = json.loads(mimir("context", "--hook", "--db", db).out)["hookSpecificOutput"]
    assert output["hookEventName"] == "SessionStart"
    assert "SQLite it is" in output["additionalContext"]


def test_cursor_is_given_what_is_remembered_in_its_own_form(mimir: RunMimir, db: str) -> None:
    with Memory.open(db, embedding="off") as memory:
        memory.remember("decision", "database", {"content": "SQLite it is"})
    output = json.loads(mimir("context", "--hook", "sessionStart", "--db", db).out)
    assert output.keys() == {"additional_context"}
    assert "SQLite it is" in output["additional_context"]


def test_a_hook_that_fails_does_not_stop_the_session(mimir: RunMimir, tmp_path: Path) -> None:
    ran = mimir("context", "--hook", "--db", str(tmp_path / "m.db"), "--encryption-key", str(tmp_path))
    assert (ran.status, ran.out) == (1, "")
    assert str(tmp_path) in ran.err


@pytest.mark.parametrize("variable", ["CLAUDE_PROJECT_DIR", "CURSOR_PROJECT_DIR"])
def test_a_hook_that_runs_elsewhere_takes_the_workspace_of_the_project(
    mimir: RunMimir, db: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    project = tmp_path / "a project"
    (project / ".git").mkdir(parents=True)
    with Memory.open(db, embedding="off") as memory:
        memory.remember("fact", "here", {"content": "told here"}, workspace_hash=name_of(str(project)))
        memory.remember("fact", "there", {"content": "told there"}, workspace_hash="another")
    monkeypatch.setenv(variable, str(project))
    out = mimir("context", "--hook", "--workspace", "auto", "--db", db).out
    assert "told here" in out
    assert "told there" not in out


@linux_only
def test_a_hooks_file_that_was_not_there_begins_as_its_client_wants_and_goes_again(
    mimir: RunMimir, db: str, tmp_path: Path
) -> None:
    with Memory.open(db, embedding="off") as memory:
        memory.remember("decision", "database", {"content": "SQLite it is"})
    hooks = tmp_path / "home" / ".cursor" / "hooks.json"
    assert mimir("connect", "cursor", "--hooks", "--db", db).status == 0
    settings = json.loads(hooks.read_text(encoding="utf-8"))
    assert settings["version"] == 1
    (start,) = settings["hooks"]["sessionStart"]
    ran = subprocess.run(["/bin/sh", "-c", start["command"]], capture_output=True, check=True)
    assert "SQLite it is" in json.loads(ran.stdout)["additional_context"]
    before = files_in(tmp_path / "home" / ".cursor")
    assert mimir("connect", "cursor", "--hooks", "--db", db).status == 0
    assert files_in(tmp_path / "home" / ".cursor") == before
    assert mimir("connect", "cursor", "--remove").status == 0
    # Not even the folder, by which the client would seem to be installed.
    assert list((tmp_path / "home").iterdir()) == []


def test_a_client_that_runs_the_hooks_of_another_is_pointed_to_them(mimir: RunMimir) -> None:
    assert "mimir connect claude-code --hooks" in mimir("connect", "vscode", "--hooks").err
    assert mimir("connect", "claude-code", "--hooks").status == 0
    assert "VS Code" not in mimir("connect", "--all-detected", "--hooks").err


@linux_only
def test_the_hooks_of_a_client_run_as_they_stand_in_its_settings(mimir: RunMimir, db: str, tmp_path: Path) -> None:
    with Memory.open(db, embedding="off") as memory:
        memory.remember("decision", "database", {"content": "SQLite it is"})
    assert mimir("connect", "claude-code", "--hooks", "--db", db).status == 0
    settings = json.loads((tmp_path / "home" / ".claude" / "settings.json").read_text(encoding="utf-8"))
    ran = {
        event: subprocess.run(
            ["/bin/sh", "-c", settings["hooks"][event][0]["hooks"][0]["command"]], capture_output=True, check=True
        ).stdout
        for event in ("SessionStart", "SessionEnd")
    }
    assert "SQLite it is" in json.loads(ran["SessionStart"])["hookSpecificOutput"]["additionalContext"]
    assert ran["SessionEnd"] == b""


def test_grooming_tells_what_it_did(mimir: RunMimir, db: str) -> None:
    ran = mimir("groom", "--json", "--db", db)
    assert ran.status == 0
    assert "error" not in json.loads(ran.out)


def test_the_doctor_tries_what_each_client_would_start(mimir: RunMimir, db: str, tmp_path: Path) -> None:
    with Memory.open(db, embedding="off") as memory:
        memory.remember("decision", "database", {"content": "SQLite it is"})
    assert mimir("connect", "codex", "--db", db).status == 0
    cursor = tmp_path / "home" / ".cursor" / "mcp.json"
    cursor.parent.mkdir()
    cursor.write_text('{"mcpServers": {"mimir": {"command": "/nowhere/mimir"}}}', encoding="utf-8")
    ran = mimir("doctor", "--json", "--db", db, "--embedding", "off")
    report = json.loads(ran.out)
    checks = {check["name"]: check for check in report["checks"]}
    assert ran.status == 1
    assert checks["codex"]["status"] == "ok"
    assert "recalled in" in checks["codex"]["detail"]
    assert checks["cursor"]["status"] == "fail"
    matrix = {one["client"]: one for one in report["clients"]}
    assert matrix.keys() == {client.name for client in CLIENTS}
    assert (matrix["codex"]["state"], matrix["codex"]["store"], matrix["codex"]["profile"]) == ("connected", db, "core")
    answer = matrix["codex"]["answer"]
    assert answer["tools"] > 0
    assert answer["handshake_ms"] > 0
    assert answer["recall_ms"] > 0
    assert "/nowhere/mimir" in matrix["cursor"]["answer"]["problem"]
    assert (matrix["zed"]["state"], matrix["zed"]["installed"]) == ("not connected", False)


def test_the_doctor_gives_the_server_the_variables_that_the_client_would(
    mimir: RunMimir, db: str, tmp_path: Path
) -> None:
    with Memory.open(db, embedding="off") as memory:
        memory.remember("decision", "database", {"content": "SQLite it is"})
    written = mimir("connect", "generic", "--db", db).out
    entry = json.loads(written)["mcpServers"]["mimir"]
    entry = {"command": entry["command"], "args": ["serve"], "env": {"MIMIR_DB_PATH": db, "MIMIR_TOOLS": "core"}}
    cursor = tmp_path / "home" / ".cursor" / "mcp.json"
    cursor.parent.mkdir(parents=True)
    secret = {**entry, "env": {**entry["env"], "SECRET": "a-secret"}}
    cursor.write_text(json.dumps({"mcpServers": {"mimir": secret}}), encoding="utf-8")
    ran = mimir("doctor", "--json", "--db", db, "--embedding", "off")
    report = json.loads(ran.out)
    (cursor_check,) = [check for check in report["checks"] if check["name"] == "cursor"]
    assert "recalled in" in cursor_check["detail"]
    (connection,) = [one for one in report["clients"] if one["client"] == "cursor"]
    assert (connection["store"], connection["profile"]) == (db, "core")
    assert "a-secret" not in ran.out


def test_the_doctor_shows_the_store_and_tools_that_an_entry_leaves_to_the_defaults(
    mimir: RunMimir, tmp_path: Path
) -> None:
    default = tmp_path / "home" / ".mimir" / "data" / "mimir.db"
    with Memory.open(str(default), embedding="off") as memory:
        memory.remember("decision", "database", {"content": "SQLite it is"})
    command = json.loads(mimir("connect", "generic").out)["mcpServers"]["mimir"]["command"]
    cursor = tmp_path / "home" / ".cursor" / "mcp.json"
    cursor.parent.mkdir(parents=True)
    entry = {"command": command, "args": ["serve", "--mcp-token", "a-secret", "--web-auth-token=a-secret"]}
    cursor.write_text(json.dumps({"mcpServers": {"mimir": entry}}), encoding="utf-8")
    ran = mimir("doctor", "--json", "--embedding", "off")
    (connection,) = [one for one in json.loads(ran.out)["clients"] if one["client"] == "cursor"]
    assert (connection["store"], connection["profile"]) == (str(default), "all")
    assert connection["answer"]["recall_ms"] > 0
    assert "a-secret" not in ran.out


@pytest.mark.parametrize(
    ("entry", "status"), [({"url": "http://localhost:1/mcp"}, "ok"), ({"args": []}, "fail")], ids=["address", "nothing"]
)
def test_the_doctor_says_when_an_entry_starts_nothing(
    mimir: RunMimir, tmp_path: Path, entry: Json, status: str
) -> None:
    cursor = tmp_path / "home" / ".cursor" / "mcp.json"
    cursor.parent.mkdir(parents=True)
    cursor.write_text(json.dumps({"mcpServers": {"mimir": entry}}), encoding="utf-8")
    checks = json.loads(mimir("doctor", "--json", "--embedding", "off").out)["checks"]
    assert [check["status"] for check in checks if check["name"] == "cursor"] == [status]


def test_the_doctor_repeats_why_a_server_did_not_start(mimir: RunMimir, tmp_path: Path) -> None:
    assert mimir("connect", "cursor", "--encryption-key", str(tmp_path / "no-key")).status == 0
    checks = json.loads(mimir("doctor", "--json", "--embedding", "off").out)["checks"]
    (cursor,) = [check for check in checks if check["name"] == "cursor"]
    assert cursor["status"] == "fail"
    assert str(tmp_path / "no-key") in cursor["detail"]


def test_the_connection_that_the_doctor_advises_keeps_the_store_and_the_tools(mimir: RunMimir, tmp_path: Path) -> None:
    db = tmp_path / "of mine.db"
    db.mkdir()
    assert mimir("connect", "cursor", "--db", str(db), "--tools", "all").status == 0
    report = json.loads(mimir("doctor", "--json", "--embedding", "off").out)
    (hint,) = [check["hint"] for check in report["checks"] if check["name"] == "cursor"]
    words = shlex.split(hint.partition("run: ")[2])
    assert words == ["mimir", "connect", "cursor", "--scope", "user", "--db", str(db), "--tools", "all"]


def test_the_doctor_repeats_what_a_server_said_instead_of_an_answer(mimir: RunMimir, tmp_path: Path) -> None:
    cursor = tmp_path / "home" / ".cursor" / "mcp.json"
    cursor.parent.mkdir(parents=True)
    entry = {"command": sys.executable, "args": ["-c", "print('Welcome!', flush=True); input()"]}
    cursor.write_text(json.dumps({"mcpServers": {"mimir": entry}}), encoding="utf-8")
    checks = json.loads(mimir("doctor", "--json", "--embedding", "off").out)["checks"]
    (check,) = [check for check in checks if check["name"] == "cursor"]
    assert check["status"] == "fail"
    assert "it said 'Welcome!'" in check["detail"]


def test_the_doctor_lists_a_file_once_that_is_the_users_and_the_folders(
    mimir: RunMimir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home" / ".cursor").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "home")
    assert mimir("connect", "cursor").status == 0
    clients = json.loads(mimir("doctor", "--json", "--embedding", "off").out)["clients"]
    assert [one["scope"] for one in clients if one["client"] == "cursor"] == ["user"]


def test_the_doctor_starts_nothing_that_a_foreign_folder_declares(
    mimir: RunMimir, db: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    touched = tmp_path / "touched"
    foreign = {"mcpServers": {"mimir": {"command": sys.executable, "args": ["-c", f"open({str(touched)!r}, 'w')"]}}}
    (tmp_path / ".mcp.json").write_text(json.dumps(foreign), encoding="utf-8")
    assert mimir("connect", "vscode", "--scope", "project", "--db", db).status == 0
    ran = mimir("doctor", "--json", "--db", db, "--embedding", "off")
    checks = {check["name"]: check["detail"] for check in json.loads(ran.out)["checks"]}
    assert "not tried" in checks["claude-code"]
    assert "lists" in checks["vscode"]
    assert not touched.exists()


@pytest.mark.parametrize(
    ("name", "place", "key"),
    [
        ("continue", ".continue/mcpServers/mimir.json", "url"),
        ("gemini-cli", ".gemini/settings.json", "httpUrl"),
        ("windsurf", ".codeium/windsurf/mcp_config.json", "serverUrl"),
    ],
)
def test_a_server_reached_by_address_becomes_one_that_is_started(
    mimir: RunMimir, tmp_path: Path, name: str, place: str, key: str
) -> None:
    path = tmp_path / "home" / place
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"mcpServers": {"mimir": {key: "http://localhost:1/mcp"}}}), encoding="utf-8")
    assert mimir("connect", name).status == 0
    assert entry_of(path, "mcpServers").keys() == {"command", "args"}


def test_what_a_client_has_no_place_for_is_said(mimir: RunMimir) -> None:
    left_out = mimir("connect", "windsurf", "--rules", "--hooks").err.splitlines()
    assert [line.rpartition(": ")[2] for line in left_out] == ["Windsurf.", "Windsurf."]


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_every_client_has_a_place_on_every_system(client: Client) -> None:
    for system in SYSTEMS:
        assert Path(located(client.place("user", system))).is_absolute()


@linux_only
def test_on_macos_the_places_of_macos_are_used(
    mimir: RunMimir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    support = tmp_path / "home" / "Library" / "Application Support"
    for folder in ("Claude", "Code/User"):
        (support / folder).mkdir(parents=True)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert mimir("connect", "--all-detected").status == 0
    assert files_in(tmp_path / "home").keys() == {
        support / "Claude" / "claude_desktop_config.json",
        support / "Code" / "User" / "mcp.json",
    }


@linux_only
@pytest.mark.parametrize("is_packaged", [False, True], ids=["installed", "package"])
def test_on_windows_claude_desktop_is_given_the_file_that_it_reads(
    mimir: RunMimir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_packaged: bool
) -> None:
    monkeypatch.setattr("mimir.cli.clients.IS_WINDOWS", True)
    monkeypatch.setenv("APPDATA", str(tmp_path / "Roaming"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "Local"))
    package = tmp_path / "Local" / "Packages" / "Claude_pzs8sxrjxfjjc"
    if is_packaged:
        package.mkdir(parents=True)
    assert mimir("connect", "claude-desktop").status == 0
    roaming = package / "LocalCache" / "Roaming" if is_packaged else tmp_path / "Roaming"
    assert list(tmp_path.rglob("*.json")) == [roaming / "Claude" / "claude_desktop_config.json"]


@linux_only
def test_a_variable_of_the_client_moves_its_place(
    mimir: RunMimir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEX_HOME", str(tmp_path / "elsewhere"))
    assert mimir("connect", "codex").status == 0
    assert entry_of(tmp_path / "elsewhere" / "config.toml", "mcp_servers")
