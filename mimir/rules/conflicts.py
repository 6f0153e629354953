"""When two memories contradict each other: they are about the same thing and say different things of it.

Being different is not enough, nor is being about the same topic: who likes tea may like coffee, and two sprints end
with different points. A contradiction is one slot of a shared frame that is filled in two ways, or a shared frame that
one side denies.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from mimir.model import Entity
from mimir.rules.query import STOP_WORDS
from mimir.rules.statements import Statement, read_statements, stem, word_set
from mimir.rules.text import searchable_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WINDOW: Final = 5_000
"""Most memories of a category that are compared: those used last."""

NEAR: Final = 0.5
"""Cosine from which two texts are about one topic: on our labelled pairs 2 % of the unrelated ones reach it."""

DENIED: Final = 0.05
REVALUED: Final = 0.1
REPLACED: Final = 0.2
LOOSE: Final = 0.5
"""How far two statements agree: one denies the other; a value differs; a word differs; likely two different things."""

_NEIGHBOURS: Final = 8
_ROWS_AT_ONCE: Final = 512
_BLOCK: Final = 32
_BLOCKED_PAIRS: Final = 200_000
_SHARED_WORDS: Final = 2
_SLOT_WORDS: Final = 3
_TOLERANCE: Final = 0.05
_FIELD_CHARACTERS: Final = 40

_MANY: Final = frozenset(
    map(
        stem,
        word_set(
            "accept add allow answer buy collect contain cook drink eat enjoy fix have include join know lead learn"
            " like need own play provide read require see sell show speak study support teach try use visit want watch"
            " wear"
        ),
    )
)
"""Verbs of which several objects can be true at once: who likes tea may like coffee."""

_SINGLE: Final = frozenset(map(stem, word_set("drive live marry weigh")))
"""Verbs of which one object is true at a time, so that nothing else need be shared."""

_HELD_BY_ONE: Final = frozenset(map(stem, word_set("chair head lead")))
"""Verbs of which one subject is true at a time: a team has one leader."""

_TIMES: Final = word_set("clock day every month weekday year")
_LENGTHS: Final = word_set("duration every")
_PURPOSES: Final = word_set("about as during for if when while")
_NAMING: Final = word_set("email id key name path title url")
_PROSE: Final = word_set("content note text")


class Memory(Struct, frozen=True, kw_only=True):
    """A memory as it is compared: the words of its key, its tags, what it states, and its short fields by name."""

    key: frozenset[str]
    tags: frozenset[str]
    words: frozenset[str]
    statements: tuple[Statement, ...]
    fields: Mapping[str, str]
    workspace_hash: str
    valid_from_ms: int | None
    valid_to_ms: int | None


class Disagreement(Struct, frozen=True, kw_only=True, gc=False):
    """Two of the compared memories by place, and how far they agree, 0 to 1."""

    left: int
    right: int
    agreement: float


def read_memory(entity: Entity) -> Memory:
    """Read what is compared of an entity."""
    key = tuple(stem(word) for word in _key_words(entity.key))
    prose, fields = _parts(entity.body_json)
    statements = tuple(_with_subject(one, key) for one in read_statements(prose)) if prose else ()
    words = frozenset(key).union(fields, *(one.content for one in statements))
    return Memory(
        key=frozenset(key),
        tags=frozenset(tag.lower() for tag in entity.tags),
        words=words,
        statements=statements,
        fields=fields,
        workspace_hash=entity.workspace_hash,
        valid_from_ms=entity.valid_from_unix_ms,
        valid_to_ms=entity.valid_to_unix_ms,
    )


def disagreements(
    memories: Sequence[Memory], places: Sequence[int] = (), vectors: NDArray[np.float32] | None = None
) -> list[Disagreement]:
    """Return the pairs of memories that disagree.

    ``vectors`` are rows of length 1, those of the memories at ``places``. Pairs are looked for among the nearest
    vectors and among memories that share rare words, so that the work grows with their number and not with its square.
    """
    near = {} if vectors is None or len(places) < 2 else _near(places, vectors)  # noqa: PLR2004 - a pair
    pairs = sorted(near.keys() | _sharing(memories))
    cosines = {} if vectors is None else _cosines([pair for pair in pairs if pair not in near], places, vectors)
    found = []
    for left, right in pairs:
        cosine = near.get((left, right), cosines.get((left, right)))
        agreement = agreement_of(memories[left], memories[right], cosine)
        if agreement < 1.0:
            found.append(Disagreement(left=left, right=right, agreement=agreement))
    return found


def agreement_of(left: Memory, right: Memory, cosine: float | None = None) -> float:
    """Return how far two memories agree: below 1 only if they are about the same thing and say different things of it.

    ``cosine`` is that of their vectors, None when there are none.
    """
    if (
        left.words.isdisjoint(right.words)
        or left.workspace_hash != right.workspace_hash
        or not _overlap(left, right)
        or not _is_close(left, right, cosine)
    ):
        return 1.0
    least = _field_agreement(left, right) if left.fields and right.fields else 1.0
    for one in left.statements:
        for other in right.statements:
            least = min(least, _agreement(one, other, cosine))
    return least


def _key_words(key: str) -> list[str]:
    words = "".join(letter if letter.isalnum() else " " for letter in key.lower()).split()
    return [word for word in words if not word.isdigit() and word not in STOP_WORDS]


def _parts(body_json: str) -> tuple[str, dict[str, str]]:
    """Return the prose of a body, and its short fields."""
    try:
        body = msgspec.json.decode(body_json)
    except msgspec.DecodeError:
        return body_json, {}
    if not isinstance(body, dict):
        return searchable_text(body), {}
    fields = {
        name: str(value).strip().lower()
        for name, value in body.items()
        if name not in _PROSE
        and isinstance(value, (str, int, float))
        and len(str(value)) <= _FIELD_CHARACTERS
        and len(str(value).split()) <= _SLOT_WORDS
    }
    return searchable_text({name: value for name, value in body.items() if name not in fields}), fields


def _with_subject(statement: Statement, key: Sequence[str]) -> Statement:
    # A bare value ("5432") is said of what the key names.
    if statement.verb is not None or len(statement.words) > 1:
        return statement
    words = (*key, *statement.words)
    return msgspec.structs.replace(
        statement,
        words=words,
        content=frozenset(words),
        about=frozenset(key),
        places=("",) * len(key) + statement.places,
        subject=len(key),
        verb="",
    )


def _overlap(left: Memory, right: Memory) -> bool:
    """Tell whether there is an instant at which both hold."""
    if left.valid_to_ms is None and right.valid_to_ms is None:
        return True
    starts = [start for start in (left.valid_from_ms, right.valid_from_ms) if start is not None]
    ends = [end for end in (left.valid_to_ms, right.valid_to_ms) if end is not None]
    return not starts or not ends or max(starts) < min(ends)


def _is_close(left: Memory, right: Memory, cosine: float | None) -> bool:
    if cosine is not None and cosine >= NEAR:
        return True
    shared = left.key & right.key
    if left.tags & right.tags or (shared and 2 * len(shared) >= min(len(left.key), len(right.key))):
        return True
    common = left.words & right.words
    return cosine is None and len(common) >= _SHARED_WORDS and 2 * len(common) >= min(len(left.words), len(right.words))


def _agreement(left: Statement, right: Statement, cosine: float | None) -> float:
    ours, theirs = left.content, right.content
    shared = ours & theirs
    if not shared:
        return 1.0
    if _is_apart(left, right):
        return REPLACED if _is_same_role(left, right) else 1.0
    units = left.units | right.units
    only_left, only_right = ours - theirs - units, theirs - ours - units
    differing = _differing(left.values, right.values)
    if left.negative != right.negative:
        if differing or (only_left and only_right) or 2 * len(shared) < max(len(ours), len(theirs)):
            return 1.0
        # "Not run before a merge" does not deny "run".
        denial, more = (left, only_left) if left.negative else (right, only_right)
        return 1.0 if any(_place_of(denial, word) for word in more) else DENIED
    if differing:
        # Different verbs say the same of a value: it expires after 30 days, it lasts 30 days.
        elsewhere = only_left - {left.verb} and only_right - {right.verb}
        if elsewhere or (left.event and right.event) or len(differing) > 1:
            return LOOSE if len(shared) >= _SHARED_WORDS else 1.0
        return REVALUED
    if not only_left and not only_right:
        return REPLACED if left.yields != right.yields and {left.yields, right.yields} <= shared else 1.0
    return REPLACED if _is_replaced(left, right, only_left, only_right, cosine) else 1.0


def _place_of(statement: Statement, word: str) -> str:
    return statement.places[statement.words.index(word)]


def _is_apart(left: Statement, right: Statement) -> bool:
    """Tell whether two statements are about different things: what stands before the verb differs on both sides."""
    ours, theirs = left.content, right.content
    if left.about - theirs and right.about - ours:
        return True
    if left.owned - theirs or right.owned - ours:
        return True
    if left.named and right.named and left.named != right.named:
        return True
    shared = left.about & right.about
    return any({_place_of(left, word), _place_of(right, word)} == {"from", "to"} for word in shared)


def _is_same_role(left: Statement, right: Statement) -> bool:
    """Tell whether two different things are said to fill a place that only one can fill."""
    exclusive = (left.definite and right.definite and left.verb == right.verb == "") or (
        left.verb == right.verb and left.verb in _HELD_BY_ONE
    )
    if not exclusive or left.negative != right.negative:
        return False
    said = set(left.words[left.subject :])
    return bool(said) and said == set(right.words[right.subject :])


def _differing(left: Mapping[str, frozenset[float | str]], right: Mapping[str, frozenset[float | str]]) -> set[str]:
    """Return the kinds of values that both sides give and of which none is the same; all times are one kind."""
    kinds = left.keys() & right.keys()
    differing = {"time" if kind in _TIMES else kind for kind in kinds if not _share(kind, left[kind], right[kind])}
    if not kinds:
        # A bare number may count what the other side names: "length is 100", "100 characters".
        ours, theirs = _counts(left), _counts(right)
        if ours and theirs and ("number" in left) != ("number" in right) and not ours & theirs:
            differing.add("number")
    return differing


def _counts(values: Mapping[str, frozenset[float | str]]) -> frozenset[float | str]:
    return frozenset().union(*(found for kind, found in values.items() if kind == "number" or kind.startswith("of ")))


def _share(kind: str, left: frozenset[float | str], right: frozenset[float | str]) -> bool:
    if left & right:
        return True
    # A month is 30 days here and a year 365: twelve months are to be a year.
    return kind in _LENGTHS and any(
        abs(one - other) <= _TOLERANCE * max(one, other)
        for one in left
        for other in right
        if isinstance(one, float) and isinstance(other, float)
    )


def _is_replaced(
    left: Statement,
    right: Statement,
    only_left: frozenset[str],
    only_right: frozenset[str],
    cosine: float | None,
) -> bool:
    """Tell whether the statements differ in one slot after the verb, of which only one filling can be true."""
    verb = left.verb
    if not only_left or not only_right or max(len(only_left), len(only_right)) > _SLOT_WORDS:
        return False
    if verb is None or verb != right.verb or verb in _MANY or left.event or right.event:
        return False
    shared = left.content & right.content
    if verb == "":
        told = cosine >= NEAR if cosine is not None else len(left.about) > 1
        if not left.about or left.about != right.about or not told:
            return False
        if left.definite and right.definite:
            return False
    elif not shared - {verb} and verb not in _SINGLE:
        return False
    slot, other_slot = _slot(left, only_left), _slot(right, only_right)
    return slot is not None and slot == other_slot


def _slot(statement: Statement, only: frozenset[str]) -> str | None:
    """Return the shared word before the words of one side, if these stand together after the verb; else None."""
    at = [place for place, word in enumerate(statement.words) if word in only]
    first = at[0]
    together = at[-1] - first < len(at)
    if first < statement.subject or not together or statement.places[first] in _PURPOSES:
        return None
    return statement.words[first - 1] if first else ""


def _field_agreement(left: Memory, right: Memory) -> float:
    """Compare short fields of the same name: one that differs, between things that bear the same name."""
    names = left.fields.keys() & right.fields.keys()
    differing = {name for name in names if left.fields[name] != right.fields[name]}
    if not differing or differing & _NAMING or (left.key - right.key and right.key - left.key):
        return 1.0
    return REVALUED if 2 * len(differing) <= len(names) or len(names) == 1 else LOOSE


def _sharing(memories: Sequence[Memory]) -> set[tuple[int, int]]:
    """Return pairs that share two rare words, or one and a tag, the rarest words first."""
    holders: dict[str, list[int]] = {}
    for place, memory in enumerate(memories):
        for word in memory.words:
            holders.setdefault(word, []).append(place)
    counts: Counter[tuple[int, int]] = Counter()
    for group in sorted((group for group in holders.values() if 1 < len(group) <= _BLOCK), key=len):
        counts.update(combinations(group, 2))
        if len(counts) > _BLOCKED_PAIRS:
            break
    return {
        (left, right)
        for (left, right), count in counts.items()
        if count >= _SHARED_WORDS or memories[left].tags & memories[right].tags
    }


def _near(places: Sequence[int], vectors: NDArray[np.float32]) -> dict[tuple[int, int], float]:
    """Return the pairs whose cosine is at least `NEAR`; where these are very many, the nearest of them."""
    import numpy as np

    found: dict[tuple[int, int], float] = {}
    for start in range(0, len(places), _ROWS_AT_ONCE):
        products = vectors[start : start + _ROWS_AT_ONCE] @ vectors[start:].T
        # Each pair once: what lies right of the diagonal.
        rows, columns = np.nonzero(products >= NEAR)
        right = columns > rows
        rows, columns = rows[right], columns[right]
        cosines = products[rows, columns]
        if len(cosines) > _NEIGHBOURS * len(products):
            nearest = np.argpartition(-cosines, _NEIGHBOURS * len(products))[: _NEIGHBOURS * len(products)]
            rows, columns, cosines = rows[nearest], columns[nearest], cosines[nearest]
        for row, column, cosine in zip(rows.tolist(), columns.tolist(), cosines.tolist(), strict=True):
            left, other = places[start + row], places[start + column]
            found[min(left, other), max(left, other)] = cosine
    return found


def _cosines(
    pairs: Sequence[tuple[int, int]], places: Sequence[int], vectors: NDArray[np.float32]
) -> dict[tuple[int, int], float]:
    rows = {place: row for row, place in enumerate(places)}
    known = [pair for pair in pairs if pair[0] in rows and pair[1] in rows]
    if not known:
        return {}
    ours = vectors[[rows[left] for left, _ in known]]
    theirs = vectors[[rows[right] for _, right in known]]
    return dict(zip(known, (ours * theirs).sum(axis=1).tolist(), strict=True))
