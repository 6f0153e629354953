"""`mimir doctor`: it sees what is wrong, says what to do, and leaves everything as it was."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mimir import Memory
from mimir.crypto import write_key_file
from tests.cli.conftest import Ran, RunMimir
from tests.doubles import FixedClock

CHECKS = ["python", "sqlite", "trial store", "model files", "model", "place", "store"]
STORE_CHECKS = ["encryption", "integrity", "write and read", "vectors", "last write"]


def checks_of(ran: Ran) -> dict[str, dict[str, Any]]:
    return {check["name"]: check for check in json.loads(ran.out)["checks"]}


def fill(db: str) -> None:
    with Memory.open(db, embedding="off") as memory:
        memory.remember("note", "a", {"content": "text"})


def test_a_healthy_installation_passes_every_check(mimir: RunMimir, db: str) -> None:
    fill(db)
    ran = mimir("doctor", "--json", "--db", db)
    checks = checks_of(ran)
    assert ran.status == 0
    assert list(checks) == CHECKS + STORE_CHECKS
    assert {check["status"] for check in checks.values()} == {"ok"}
    assert json.loads(ran.out)["ok"] is True


@pytest.mark.parametrize("sealed", [False, True], ids=["plain", "sealed"])
def test_the_report_for_people_ends_with_a_configuration_that_works(
    mimir: RunMimir, db: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, sealed: bool
) -> None:
    if sealed:
        # Named as in a shell; the client that starts the server has neither this folder nor this variable.
        monkeypatch.chdir(tmp_path)
        write_key_file("key")
        monkeypatch.setenv("MIMIR_ENCRYPTION_KEY_FILE", "key")
        fill(db)
    ran = mimir("doctor", "--db", db)
    monkeypatch.delenv("MIMIR_ENCRYPTION_KEY_FILE", raising=False)
    assert ran.status == 0
    assert "Everything works." in ran.out
    configuration = json.loads(ran.out[ran.out.index("{\n") :])
    server = configuration["mcpServers"]["mimir"]
    assert Path(server["command"]).is_absolute()
    served = subprocess.run(
        [server["command"], *server["args"]],
        input=b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n',
        capture_output=True,
        check=True,
        cwd="/" if sealed else None,
    )
    assert served.stdout == b'{"jsonrpc":"2.0","id":1,"result":{}}\n'


def test_no_store_is_made_where_there_is_none(mimir: RunMimir, tmp_path: Path) -> None:
    ran = mimir("doctor", "--json")
    checks = checks_of(ran)
    assert ran.status == 0
    assert checks["store"]["detail"] == "none yet; the first use makes it"
    assert "the default place" in checks["place"]["detail"]
    assert not (tmp_path / "home" / ".mimir").exists()


def test_the_store_is_left_as_it_was(mimir: RunMimir, db: str) -> None:
    fill(db)
    before = Path(db).read_bytes()
    assert checks_of(mimir("doctor", "--json", "--db", db))["write and read"]["status"] == "ok"
    assert Path(db).read_bytes() == before
    assert not Path(db + "-wal").exists()


@pytest.mark.parametrize("kind", ["text", "folder", "foreign", "damaged"])
def test_a_store_that_cannot_be_used_fails_with_advice(mimir: RunMimir, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "store"
    if kind == "text":
        path.write_text("no database\n" * 100, encoding="utf-8")
    elif kind == "folder":
        path.mkdir()
    elif kind == "foreign":
        other = sqlite3.connect(path)
        other.execute("CREATE TABLE songs (title)")
        other.close()
    else:
        fill(str(path))
        data = bytearray(path.read_bytes())
        data[4096:] = b"\x5a" * (len(data) - 4096)
        path.write_bytes(data)
    ran = mimir("doctor", "--json", "--db", str(path))
    failed = [check for check in checks_of(ran).values() if check["status"] == "fail"]
    assert ran.status == 1
    assert json.loads(ran.out)["ok"] is False
    assert failed
    assert all(check["hint"] for check in failed)
    assert "FAIL" in mimir("doctor", "--db", str(path)).out


def test_a_store_that_nobody_wrote_to_for_long_is_warned_about(mimir: RunMimir, db: str) -> None:
    with Memory.open(db, embedding="off", clock=FixedClock()) as memory:
        memory.remember("note", "a", {"content": "text"})
    ran = mimir("doctor", "--json", "--db", db)
    assert ran.status == 0
    assert checks_of(ran)["last write"]["status"] == "warn"


def test_other_stores_that_could_be_meant_are_named(mimir: RunMimir, tmp_path: Path) -> None:
    home = tmp_path / "home"
    fill(str(home / ".mimir" / "data" / "mimir.db"))
    fill(str(home / "mimir.db"))
    checks = checks_of(mimir("doctor", "--json"))
    assert checks["other stores"]["status"] == "warn"
    assert str(home / "mimir.db") in checks["other stores"]["detail"]
    assert "other stores" not in checks_of(mimir("doctor", "--json", "--db", str(home / "mimir.db")))


@pytest.mark.parametrize(("named", "why"), [("flag", "named by --db"), ("environment", "named by MIMIR_DB_PATH")])
def test_it_says_what_names_the_store(
    mimir: RunMimir, db: str, monkeypatch: pytest.MonkeyPatch, named: str, why: str
) -> None:
    if named == "environment":
        monkeypatch.setenv("MIMIR_DB_PATH", db)
    ran = mimir("doctor", "--json", *(["--db", db] if named == "flag" else []))
    assert checks_of(ran)["place"]["detail"] == f"{db}: {why}"


def test_without_embedding_it_warns_and_goes_on(mimir: RunMimir, db: str) -> None:
    ran = mimir("doctor", "--json", "--embedding", "off", "--db", db)
    assert ran.status == 0
    assert checks_of(ran)["model"]["status"] == "warn"


def test_pending_vectors_are_counted(mimir: RunMimir, db: str) -> None:
    with Memory.open(db, embedding="off") as memory:
        memory.remember_many({"category": "c", "key": f"k{n}", "body_json": {"n": f"text {n}"}} for n in range(5))
    assert checks_of(mimir("doctor", "--json", "--db", db))["vectors"]["detail"].startswith("5 passages wait")
    with Memory.open(db, embedding="off") as memory:
        assert memory.store.count_pending() == 5


def test_nothing_is_left_in_the_home_folder(db: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    subprocess.run([sys.executable, "-m", "mimir", "doctor", "--db", db], check=True, capture_output=True)
    assert list(home.rglob("*")) == []
