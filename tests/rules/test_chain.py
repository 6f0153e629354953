"""The journal's chain: every byte of every row counts, and a blanked payload gives nothing away."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimir.model import Event
from mimir.rules.chain import GENESIS, chain_hash, commitment, misfit, read_payload, write_payload

SALT = bytes(range(16))
KEY = b"k" * 32
PAYLOAD = write_payload(SALT, '{"options":2}', "null", '["later"]')
TEXTS = ("id", "event_type", "category", "key", "entity_id", "agent_id", "workspace_hash")

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


def event(sequence: int = 1, payload: str | None = PAYLOAD, **changes: Any) -> Event:  # noqa: ANN401 - of any field
    fields: dict[str, Any] = {name: f"{name} {sequence}" for name in TEXTS}
    return Event(
        **{
            **fields,
            "sequence": sequence,
            "payload": payload,
            "payload_commitment": commitment(payload) if payload else "",
            "audit_hash": "",
            "created_at_unix_ms": -5,
            **changes,
        }
    )


def bound(former: str, one: Event, key: bytes | None = None) -> Event:
    return msgspec.structs.replace(one, audit_hash=chain_hash(former, one, key))


def framed(*fields: str) -> bytes:
    return b"".join(len(field.encode()).to_bytes(8, "big") + field.encode() for field in fields)


def test_a_row_is_the_sha256_of_its_fields_each_with_its_length() -> None:
    one = event()
    fields = [GENESIS, "1", *(getattr(one, name) for name in TEXTS), "-5", one.payload_commitment]
    assert chain_hash(GENESIS, one) == hashlib.sha256(framed(*fields)).hexdigest()
    assert chain_hash(GENESIS, one, KEY) == hmac.digest(KEY, framed(*fields), "sha256").hex()


def test_a_commitment_is_the_sha256_of_salt_and_values() -> None:
    fields = (SALT.hex(), '{"options":2}', "null", '["later"]')
    assert commitment(PAYLOAD) == hashlib.sha256(framed(*fields)).hexdigest()
    assert commitment(PAYLOAD, KEY) == hmac.digest(KEY, framed(*fields), "sha256").hex()


@given(values, values, values)
def test_a_payload_gives_back_the_texts_that_were_put_into_it(one: object, two: object, three: object) -> None:
    said = tuple(json.dumps(value, ensure_ascii=False) for value in (one, two, three))
    assert read_payload(write_payload(SALT, *said)) == said


def test_equal_words_with_another_salt_have_another_commitment() -> None:
    other = write_payload(bytes(16), '{"options":2}', "null", '["later"]')
    assert commitment(other) != commitment(PAYLOAD)


@pytest.mark.parametrize("name", [*TEXTS, "payload_commitment"])
def test_every_text_of_a_row_counts(name: str) -> None:
    assert chain_hash(GENESIS, msgspec.structs.replace(event(), **{name: "changed"})) != chain_hash(GENESIS, event())


@pytest.mark.parametrize(
    "changed", [event(2, id="id 1"), event(created_at_unix_ms=-6), event(created_at_unix_ms=5)], ids=["place", "a", "b"]
)
def test_place_and_time_of_a_row_count(changed: Event) -> None:
    assert chain_hash(GENESIS, changed) != chain_hash(GENESIS, event())


@given(texts, texts, texts)
def test_a_letter_cannot_move_from_one_field_to_the_next(first: str, letter: str, second: str) -> None:
    left = event(category=first + letter, key=second)
    right = event(category=first, key=letter + second)
    assert (chain_hash(GENESIS, left) == chain_hash(GENESIS, right)) == (letter == "")


def test_a_row_is_bound_to_the_one_before_it() -> None:
    assert chain_hash("a" * 64, event()) != chain_hash("b" * 64, event())


def test_rows_that_follow_each_other_fit() -> None:
    first = bound(GENESIS, event(1))
    second = bound(first.audit_hash, event(2))
    assert misfit(0, GENESIS, first) == ""
    assert misfit(1, first.audit_hash, second) == ""


def test_a_blanked_row_fits_by_its_hash_alone() -> None:
    blanked = msgspec.structs.replace(bound(GENESIS, event()), payload=None)
    assert misfit(0, GENESIS, blanked) == ""
    assert misfit(0, GENESIS, msgspec.structs.replace(blanked, payload_commitment="0" * 64)).startswith("hash")


@pytest.mark.parametrize(
    ("former", "reason"),
    [(1, "gap in sequence: 1 row missing"), (0, "gap in sequence: 2 rows missing")],
)
def test_missing_rows_are_counted(former: int, reason: str) -> None:
    assert misfit(former, GENESIS, bound(GENESIS, event(3))).startswith(reason)


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "keyed"])
@pytest.mark.parametrize("place", range(len(PAYLOAD)))
def test_one_changed_byte_of_a_payload_is_seen(place: int, key: bytes | None) -> None:
    one = bound(GENESIS, event(payload_commitment=commitment(PAYLOAD, key)), key)
    changed = PAYLOAD[:place] + chr(ord(PAYLOAD[place]) ^ 1) + PAYLOAD[place + 1 :]
    assert misfit(0, GENESIS, one, key) == ""
    assert misfit(0, GENESIS, msgspec.structs.replace(one, payload=changed), key).startswith("commitment")


@pytest.mark.parametrize("payload", [" " + PAYLOAD, PAYLOAD + "\n", PAYLOAD[:-1] + ',"more":1}', "", "null", "{}"])
def test_a_payload_holds_its_four_members_and_nothing_else(payload: str) -> None:
    one = bound(GENESIS, event())
    assert misfit(0, GENESIS, msgspec.structs.replace(one, payload=payload)).startswith("commitment")


def test_with_another_key_nothing_fits() -> None:
    one = bound(GENESIS, event(payload_commitment=commitment(PAYLOAD, KEY)), KEY)
    assert misfit(0, GENESIS, one, KEY) == ""
    assert misfit(0, GENESIS, one, b"x" * 32).startswith("hash")
    assert misfit(0, GENESIS, one).startswith("hash")
