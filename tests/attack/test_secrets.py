"""Text that looks like a credential: found, named without being repeated, and kept out when that is asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimir import InvalidInput, Memory, MimirError
from mimir.rules.secrets import RULES, find_secrets, masked, screen
from tests.attack.credentials import CLEAN, Draw, key_block, lines, score, tokens, web_token
from tests.attack.effort import effort
from tests.conftest import OpenMemory
from tests.language_model import serving

DRAW: Final = Draw(11)
TOKEN: Final = "gh" + "p_" + DRAW.of("ABCDEFghijklmnopqr23456789", 36)
PASSWORD: Final = DRAW.password()

Write = Callable[[Memory, str, Path], Any]


def ingest(memory: Memory, secret: str, folder: Path) -> Any:  # noqa: ANN401 - each tool's own result
    path = folder / "note.txt"
    path.write_text(f"deploy with {secret}", encoding="utf-8")
    return memory.ingest_file(str(path))


def import_note(memory: Memory, secret: str, folder: Path) -> Any:  # noqa: ANN401 - the same
    (folder / "vault").mkdir()
    note = f"---\nkey: deploy\n---\n\ndeploy with {secret}\n"
    (folder / "vault" / "deploy.md").write_text(note, encoding="utf-8")
    result = memory.vault_import(str(folder / "vault"))
    if result.errors:
        raise InvalidInput(result.errors[0])
    return result


def watch(memory: Memory, secret: str, folder: Path) -> Any:  # noqa: ANN401 - the same
    (folder / "watched").mkdir()
    (folder / "watched" / "deploy.md").write_text(f"deploy with {secret}", encoding="utf-8")
    result = memory.ingest()
    if result.errors:
        raise InvalidInput(result.errors[0])
    return result


def synthesize(memory: Memory, secret: str, _folder: Path) -> Any:  # noqa: ANN401 - the same
    lesson = {"lesson_type": "insight", "summary": f"deploy with {secret}", "evidence": "x", "confidence": 0.5}
    with serving() as server:
        server.answer = json.dumps({"lessons": [lesson]})
        thinking = Memory(
            memory.settings._replace(llm_endpoint=server.address), memory.store, memory.clock, memory.embedder
        )
        result = thinking.synthesize(f"We deploy with {secret}", "s")
        if memory.settings.secrets == "mask":
            assert secret not in str(server.requests)
        return result


WRITES: Final[dict[str, Write]] = {
    "remember": lambda memory, secret, _: memory.remember("c", "k", {"content": f"deploy with {secret}"}),
    "remember, named": lambda memory, secret, _: memory.remember("c", "k", {"deploy": {"auth_token": secret}}),
    "remember, tags": lambda memory, secret, _: memory.remember("c", "k", {"content": "x"}, tags=["a", secret]),
    "remember, situation": lambda memory, secret, _: memory.remember("c", "k", {"a": "x"}, recall_when=[secret]),
    "remember, layer": lambda memory, secret, _: memory.remember("c", "k", {"a": "x"}, layer=secret),
    "remember, member": lambda memory, secret, _: memory.remember("c", "k", {secret: "x", "b": 1}),
    "update": lambda memory, secret, _: (
        memory.remember("c", "k", {"content": "x"}),
        memory.remember("c", "k", {"content": secret}),
    )[1],
    "remember_many": lambda memory, secret, _: memory.remember_many(
        [
            {"category": "c", "key": "a", "body_json": {"content": "x"}},
            {"category": "c", "key": "k", "body_json": {"content": secret}},
        ]
    ),
    "journal": lambda memory, secret, _: memory.journal(evaluated={"with": [secret]}, acted=f"used {secret}"),
    "state_set": lambda memory, secret, _: memory.state_set("deploy", {"with": secret}),
    "correct": lambda memory, secret, _: memory.correct(f"used {secret}", "use the vault", "deploying"),
    "bench": lambda memory, secret, _: memory.bench(f"deploy with {secret}", 1, 1, False),
    "synthesize": synthesize,
    "ingest_file": ingest,
    "ingest": watch,
    "vault_import": import_note,
}


@pytest.fixture
def open_with(open_memory: OpenMemory, tmp_path: Path) -> Callable[[str], Memory]:
    config = tmp_path / "connectors.yaml"
    folder = json.dumps(str(tmp_path / "watched"))
    config.write_text(f"connectors: {{file_watcher: {{enabled: true, paths: [{folder}]}}}}", encoding="utf-8")

    def open_one(secrets: str) -> Memory:
        return open_memory(secrets=secrets, connectors_config=str(config))

    return open_one


def holds(folder: Path, secret: str) -> bool:
    """Tell whether any file of the store holds a secret, or the part of it that the index would keep as a word."""
    found = [path.read_bytes().lower() for path in folder.iterdir() if path.name.startswith("memory.db")]
    return any(secret.rpartition("_")[2].lower().encode() in data for data in found)


@pytest.mark.parametrize("name", WRITES)
def test_a_secret_is_reported_by_kind_and_place_and_stored_by_default(
    open_with: Callable[[str], Memory], tmp_path: Path, name: str
) -> None:
    memory = open_with("warn")
    result = WRITES[name](memory, TOKEN, tmp_path)
    assert any("GitHub token" in warning for warning in result.warnings)
    assert all(TOKEN not in warning for warning in result.warnings)
    assert holds(tmp_path, TOKEN)


@pytest.mark.parametrize("name", WRITES)
def test_a_masked_secret_reaches_no_file(open_with: Callable[[str], Memory], tmp_path: Path, name: str) -> None:
    memory = open_with("mask")
    result = WRITES[name](memory, TOKEN, tmp_path)
    assert any("GitHub token" in warning for warning in result.warnings)
    memory.embed_pending()
    assert memory.recall(TOKEN, mode="fts5").items == ()
    assert not holds(tmp_path, TOKEN)
    memory.close()
    assert not holds(tmp_path, TOKEN)


@pytest.mark.parametrize("name", WRITES)
def test_a_refused_secret_is_named_and_nothing_is_stored(
    open_with: Callable[[str], Memory], tmp_path: Path, name: str
) -> None:
    memory = open_with("refuse")
    with pytest.raises(MimirError) as raised:
        WRITES[name](memory, TOKEN, tmp_path)
    assert "GitHub token" in raised.value.message
    assert TOKEN not in raised.value.message + raised.value.hint
    assert not holds(tmp_path, TOKEN)


@pytest.mark.parametrize("name", [name for name in WRITES if name not in ("ingest", "vault_import")])
def test_switched_off_nothing_is_said(open_with: Callable[[str], Memory], tmp_path: Path, name: str) -> None:
    result = WRITES[name](open_with("off"), TOKEN, tmp_path)
    assert not result.warnings


@pytest.mark.parametrize("secrets", ["mask", "refuse"])
def test_a_secret_in_a_name_is_refused_since_a_masked_name_is_another(
    open_memory: OpenMemory, tmp_path: Path, secrets: str
) -> None:
    memory = open_memory(secrets=secrets)
    memory.remember("c", "old", {"content": "x"})
    kept = memory.remember("c", "new", {"content": "y"}).id
    for write in (
        lambda: memory.remember("c", TOKEN, {"content": "x"}),
        lambda: memory.remember(TOKEN, "k", {"content": "x"}),
        lambda: memory.remember("c", "k", {"content": "x"}, workspace_hash=TOKEN),
        lambda: memory.state_set(TOKEN, "1"),
        lambda: memory.link("c", "old", kept, TOKEN),
        lambda: memory.supersede("c", "old", "c", "new", relationship=TOKEN),
        lambda: memory.share("c", "old", TOKEN),
        lambda: memory.federate("", TOKEN),
    ):
        with pytest.raises(InvalidInput, match="GitHub token"):
            write()
    memory.close()
    assert not holds(tmp_path, TOKEN)


def test_a_link_of_a_note_whose_name_is_a_secret_is_not_made(open_memory: OpenMemory, tmp_path: Path) -> None:
    (tmp_path / "vault").mkdir()
    for key, links in (("a", ""), ("b", f"\n\n## Links\n\n- [[a]] ({TOKEN})\n- [[a]] (part of)")):
        note = f"---\nkey: {key}\n---\n\nwords{links}\n"
        (tmp_path / "vault" / f"{key}.md").write_text(note, encoding="utf-8")
    memory = open_memory(secrets="mask")
    result = memory.vault_import(str(tmp_path / "vault"))
    assert len(result.errors) == 1
    assert "GitHub token" in result.errors[0]
    (linked,) = [hit for hit in memory.recall("").items if hit.links]
    assert [link.relationship for link in linked.links] == ["part of"]
    memory.close()
    assert not holds(tmp_path, TOKEN)


def test_a_masked_memory_keeps_the_rest_of_its_words(open_memory: OpenMemory) -> None:
    memory = open_memory(secrets="mask")
    memory.remember("c", "k", {"content": f"The staging database password is {PASSWORD}, ask Ada."})
    (hit,) = memory.recall("staging database", mode="fts5").items
    expected = "The staging database password is [masked: password], ask Ada."
    assert json.loads(hit.body_json) == {"content": expected}


def test_a_clean_memory_is_stored_byte_for_byte(open_memory: OpenMemory) -> None:
    memory = open_memory(secrets="mask")
    body = '{ "content" : "caf\\u00e9",  "n": 1.50 }'
    memory.remember("c", "k", body)
    assert memory.recall("k").items[0].body_json == body


def test_what_a_memory_is_called_tells_what_it_holds(open_memory: OpenMemory) -> None:
    memory = open_memory()
    assert memory.remember("access", "staging-db-password", {"content": PASSWORD}).warnings
    assert memory.state_set("api_key", json.dumps(DRAW.of("abcdefghijklmnop0123456789XYZ", 32))).warnings
    assert not memory.remember("rules", "password", {"content": "At least 12 characters."}).warnings


def test_the_rules_of_a_labelled_set_hold() -> None:
    labelled = lines()
    assert len(labelled) >= 200
    result = score(labelled)
    assert result.in_vain == ()
    assert result.missed == ()


@pytest.mark.parametrize("text", CLEAN)
def test_a_line_without_a_credential_raises_no_alarm(text: str) -> None:
    assert find_secrets(text) == []


@pytest.mark.parametrize(
    "write",
    [
        lambda block: block,
        lambda block: block.replace("\n", "\r\n"),
        lambda block: "\n".join(f"> {line}" for line in block.split("\n")),
        lambda block: "\n".join(f"    # {line}" for line in block.split("\n")),
        lambda block: " +\n".join(f'"{line}"' for line in block.split("\n")),
        lambda block: json.dumps({"key": block}),
        lambda block: block.rpartition("\n")[0],
    ],
    ids=["as it is", "of Windows", "quoted", "in a comment", "in a program", "in JSON", "cut off"],
)
def test_a_private_key_is_found_however_it_is_written(write: Callable[[str], str]) -> None:
    text = write(key_block(DRAW))
    safe, (secret,) = masked(text)
    assert secret.kind == "private key"
    assert "masked" in safe
    assert len(safe) < 100


def test_a_text_about_private_keys_holds_none() -> None:
    for text in (
        "Files with -----BEGIN PRIVATE KEY----- are refused, see docs/deploy/handling-of-credentials-in-2024.md",
        "-----BEGIN RSA PRIVATE KEY-----\n" + "x" * 64 + "\n-----END RSA PRIVATE KEY-----",
    ):
        assert find_secrets(text) == []


def test_every_rule_finds_something() -> None:
    extra = [
        f"PuTTY-User-Key-File-2: ssh-rsa\n{DRAW.base64(90)}",
        "AccountKey=" + DRAW.base64(64),
        f"abc8Q~{DRAW.of('abcdefghijklmnopqrstuvwxyz0123456789', 34)}",
        "ops" + "_eyJ" + DRAW.of("abcdefghijklmnopqrstuvwxyz0123456789", 240),
        "fo" + "1_" + DRAW.of("abcdefghijklmnopqrstuvwxyz0123456789", 43),
        f"https://hooks.slack.com/services/T{DRAW.of('ABCDEFGH23', 9)}/B23456789/{DRAW.of('abcdefghijkl23', 24)}",
        f"https://discord.com/api/webhooks/123456789012345678/{DRAW.of('abcdefghijklmnopqr23', 68)}",
        f"discord bot M{DRAW.of('ABCDEFghijkl23', 23)}.{DRAW.of('abcdef2', 6)}.{DRAW.of('ABCDEFghijkl23', 38)}",
        "pc" + "sk_" + DRAW.of("abcdefghijklmnopqrstuvwxyz0123456789", 70),
        f"mimir --password {PASSWORD}",
        key_block(DRAW),
        web_token(DRAW),
    ]
    texts = [line.text for line in lines()] + list(tokens(DRAW)) + extra
    found = {secret.kind for text in texts for secret in find_secrets(text)}
    assert {rule.kind for rule in RULES} - found == set()


@given(
    text=st.text() | st.lists(st.sampled_from([*CLEAN, TOKEN, f"pwd={PASSWORD}", "://a:b@"]), max_size=4).map("\n".join)
)
@effort(60)
def test_what_was_masked_is_clean(text: str) -> None:
    once, _ = masked(text)
    assert find_secrets(once) == []
    if TOKEN in text:
        assert TOKEN not in once


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.just(TOKEN),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | st.just(TOKEN), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(value=json_values)
@effort(60)
def test_no_part_of_a_value_is_overlooked_and_nothing_else_is_changed(value: object) -> None:
    before = json.dumps(value)
    safe, found = screen(value, "value")
    assert json.dumps(value) == before
    assert TOKEN not in json.dumps(safe)
    assert bool(found) == (TOKEN in before)
    assert found or safe == value
    assert all(TOKEN not in one.place for one in found)
