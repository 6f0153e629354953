"""LangGraph: `MimirStore`, a complete `BaseStore` whose items are memories.

An item is a memory: its namespace is the category (labels joined by ``/``), its key the key, its value the body. Its
topic path is namespace and key, so that a namespace prefix is a prefix of that path. Items that are not to be searched
differ by their type. A time to live is the period for which the memory holds.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final, Self

from mimir.adapters.extras import needed
from mimir.adapters.session import (
    CALL_TIMEOUT_S,
    START_TIMEOUT_S,
    Json,
    Session,
    entity_named,
    every_item,
    open_session,
)
from mimir.clock import SystemClock
from mimir.errors import InvalidInput

with needed("LangGraph", "'mimir-local[langgraph]'"):
    from langgraph.store.base import (
        BaseStore,
        GetOp,
        IndexConfig,
        Item,
        ListNamespacesOp,
        MatchCondition,
        Op,
        PutOp,
        Result,
        SearchItem,
        SearchOp,
        TTLConfig,
        get_text_at_path,
        tokenize_path,
    )

ITEM_TYPE: Final = "langgraph_item"
UNSEARCHED_TYPE: Final = "langgraph_item_unsearched"
EMPTY_NAMESPACE: Final = "default"
"""The category of items whose namespace has no labels."""

_MINUTE_MS: Final = 60_000
_NO_END_MS: Final = 253_402_300_799_000
"""The last second of the year 9999: a memory's end cannot be taken back, only put off."""

_REFRESH_FROM: Final = 0.9
"""A read puts off the end of an item once less than this share of its life is left: each time leaves a version."""

_FILTERED_PAGE: Final = 200
_WHOLE: Final = "$"


class MimirStore(BaseStore):
    """Items of LangGraph in a store of Mimir; usable from several threads and event loops.

    ``session`` uses an open session, which stays open. Without one a session is opened as the other arguments say, as
    `mimir.adapters.session.open_session` reads them: ``binary`` starts a server of its own, ``url`` speaks to one over
    HTTP, and with neither the store at ``db_path`` is opened in this process.

    Mimir embeds what it stores by itself, so every query searches by meaning and by words. Of ``index`` only ``fields``
    counts: with it, vectors are made of these fields alone and a query compares meaning alone. Items that have expired
    are never returned.

    Raises:
        MimirError: the store cannot be opened.
    """

    supports_ttl = True

    def __init__(
        self,
        db_path: str | None = None,
        *,
        session: Session | None = None,
        binary: str = "",
        url: str = "",
        token: str = "",
        timeout: float = CALL_TIMEOUT_S,
        connect_timeout: float = START_TIMEOUT_S,
        encryption_key: str | None = None,
        workspace_hash: str = "",
        index: IndexConfig | None = None,
        ttl: TTLConfig | None = None,
        **settings: Any,  # noqa: ANN401 - passed on as they are
    ) -> None:
        self.ttl_config = ttl
        self._fields = (index or {}).get("fields") or [_WHOLE]
        self._workspace = workspace_hash
        if encryption_key:
            settings["encryption_key"] = encryption_key
        if not url:
            # A namespace of that name must not be left out of a search.
            settings.setdefault("exclude_categories", "")
        self.session = open_session(
            db_path,
            session=session,
            command=(binary,) if binary else (),
            url=url,
            token=token,
            timeout_s=timeout,
            start_timeout_s=connect_timeout,
            **settings,
        )

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the store."""
        self.close()

    def close(self) -> None:
        """Release what the store opened; closing twice is harmless."""
        self.session.close()

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Run operations and return their results in the same order.

        Reads see the state before the batch; of several writes of one item the last counts.

        Raises:
            MimirError: an operation failed; what came before it stays.
        """
        results: list[Result] = []
        puts: dict[tuple[tuple[str, ...], str], PutOp] = {}
        for op in ops:
            if isinstance(op, PutOp):
                puts[op.namespace, op.key] = op
                results.append(None)
            else:
                results.append(self._read(op))
        for put in puts.values():
            self._put(put)
        return results

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Run operations on a thread, as `batch` does.

        Raises:
            MimirError: an operation failed; what came before it stays.
        """
        return await asyncio.to_thread(self.batch, list(ops))

    def _read(self, op: Op) -> Result:
        if isinstance(op, GetOp):
            return self._get(op)
        if isinstance(op, SearchOp):
            return self._search(op)
        if isinstance(op, ListNamespacesOp):
            return self._list_namespaces(op)
        raise InvalidInput(f"{type(op).__name__} is no operation of a store.")

    def _get(self, op: GetOp) -> Item | None:
        entity = entity_named(self.session, category_of(op.namespace), op.key, self._workspace)
        if entity is None:
            return None
        self._refresh([entity], op.refresh_ttl)
        return Item(
            value=json.loads(entity["body_json"]),
            key=op.key,
            namespace=op.namespace,
            created_at=_moment(entity["created_at_unix_ms"]),
            updated_at=_moment(entity["recorded_at_unix_ms"]),
        )

    def _search(self, op: SearchOp) -> list[SearchItem]:
        found = list(islice(self._matching(op), op.offset, op.offset + op.limit))
        self._refresh(found, op.refresh_ttl)
        return [
            SearchItem(
                namespace=namespace_of(entity["category"]),
                key=entity["key"],
                value=json.loads(entity["body_json"]),
                created_at=_moment(entity["created_at_unix_ms"]),
                updated_at=_moment(entity["recorded_at_unix_ms"]),
                score=entity["score"] if op.query and entity["type"] == ITEM_TYPE else None,
            )
            for entity in found
        ]

    def _matching(self, op: SearchOp) -> Iterator[dict[str, Json]]:
        """Yield the memories that a search finds: ranked by its query, then those that no query ranks."""
        page = _FILTERED_PAGE if op.filter else min(_FILTERED_PAGE, op.offset + op.limit)
        for kind in (ITEM_TYPE, UNSEARCHED_TYPE):
            query = (op.query or "") if kind == ITEM_TYPE else ""
            for item in every_item(
                self.session,
                max(page, 1),
                query=query,
                type=kind,
                topic_path=_path_of(op.namespace_prefix),
                workspace_hash=self._workspace,
                mode="dense" if query and self._fields != [_WHOLE] else None,
            ):
                if _passes(json.loads(item["body_json"]), op.filter or {}):
                    yield item

    def _put(self, op: PutOp) -> None:
        category = category_of(op.namespace)
        if op.value is None:
            self.session.call(
                "forget",
                category=category,
                key=op.key,
                reason="LangGraph delete",
                workspace_hash=self._workspace,
            )
            return
        try:
            body = json.dumps(op.value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InvalidInput(
                f"The value of {op.key!r} is not JSON: {error}.", hint="Store text, numbers, lists and objects."
            ) from None
        now = SystemClock().now_ms()
        self.session.call(
            "remember",
            category=category,
            key=op.key,
            body_json=body,
            type=UNSEARCHED_TYPE if op.index is False else ITEM_TYPE,
            topic_path=_path_of((*op.namespace, op.key)),
            workspace_hash=self._workspace,
            valid_from_unix_ms=now,
            valid_to_unix_ms=_NO_END_MS if op.ttl is None else now + round(op.ttl * _MINUTE_MS),
        )
        fields = self._fields if op.index in (None, False) else list(op.index or ())
        if op.index is not False and fields != [_WHOLE]:
            self.session.call(
                "embed",
                category=category,
                key=op.key,
                text="\n".join(text for field in fields for text in get_text_at_path(op.value, tokenize_path(field))),
                workspace_hash=self._workspace,
            )

    def _refresh(self, entities: Iterable[Mapping[str, Json]], refresh: bool | None) -> None:
        """Put off the end of items that were read: by as long as they were given to live."""
        if not refresh:
            return
        now = SystemClock().now_ms()
        for entity in entities:
            begin, end = entity["valid_from_unix_ms"], entity["valid_to_unix_ms"]
            if begin is None or end is None or end == _NO_END_MS:
                continue
            life = end - begin
            if end - now < _REFRESH_FROM * life:
                self.session.call(
                    "remember",
                    category=entity["category"],
                    key=entity["key"],
                    body_json=entity["body_json"],
                    workspace_hash=self._workspace,
                    valid_from_unix_ms=now,
                    valid_to_unix_ms=now + life,
                )

    def _list_namespaces(self, op: ListNamespacesOp) -> list[tuple[str, ...]]:
        namespaces = {
            namespace
            for category in self.session.call("workspace_list")["categories"]
            for namespace in [namespace_of(category)]
            if all(_matches(condition, namespace) for condition in op.match_conditions or ()) and self._holds(category)
        }
        if op.max_depth is not None:
            namespaces = {namespace[: op.max_depth] for namespace in namespaces}
        return sorted(namespaces)[op.offset : op.offset + op.limit]

    def _holds(self, category: str) -> bool:
        """Tell whether a category holds an item."""
        return any(
            self.session.call(
                "recall",
                query="",
                category=category,
                type=kind,
                workspace_hash=self._workspace,
                limit=1,
                reinforce=False,
            )["items"]
            for kind in (ITEM_TYPE, UNSEARCHED_TYPE)
        )


def create_mimir_store(db_path: str | None = None, **options: Any) -> MimirStore:  # noqa: ANN401 - passed on
    """Return a store; the arguments are those of `MimirStore`."""
    return MimirStore(db_path, **options)


def category_of(namespace: tuple[str, ...]) -> str:
    """Return the category that stands for a namespace."""
    return "/".join(map(_quoted, namespace)) or EMPTY_NAMESPACE


def namespace_of(category: str) -> tuple[str, ...]:
    """Return the namespace that a category stands for."""
    if category == EMPTY_NAMESPACE:
        return ()
    return tuple(part.replace("%2F", "/").replace("%25", "%") for part in category.split("/"))


def _quoted(label: str) -> str:
    return label.replace("%", "%25").replace("/", "%2F")


def _path_of(labels: tuple[str, ...]) -> str | None:
    return "".join(f"{_quoted(label)}/" for label in labels) or None


def _moment(unix_ms: int) -> datetime:
    return datetime.fromtimestamp(unix_ms / 1_000, UTC)


def _matches(condition: MatchCondition, namespace: tuple[str, ...]) -> bool:
    path = tuple(condition.path)
    if len(path) > len(namespace):
        return False
    part = namespace[: len(path)] if condition.match_type == "prefix" else namespace[len(namespace) - len(path) :]
    return all(wanted in ("*", label) for wanted, label in zip(path, part, strict=True))


_COMPARISONS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "$eq": lambda value, operand: value == operand,
    "$ne": lambda value, operand: value != operand,
    "$gt": lambda value, operand: float(value) > float(operand),
    "$gte": lambda value, operand: float(value) >= float(operand),
    "$lt": lambda value, operand: float(value) < float(operand),
    "$lte": lambda value, operand: float(value) <= float(operand),
}


def _passes(value: Mapping[str, Json], wanted: Mapping[str, Json]) -> bool:
    return all(_fits(value.get(name), test) for name, test in wanted.items())


def _fits(value: Json, test: Json) -> bool:
    """Compare a member of a value with what is wanted: operators, an object of members, a list, or the value itself."""
    if isinstance(test, dict):
        if any(name.startswith("$") for name in test):
            return all(_compare(name, value, operand) for name, operand in test.items())
        return isinstance(value, dict) and _passes(value, test)
    if isinstance(test, (list, tuple)):
        return (
            isinstance(value, (list, tuple))
            and len(value) == len(test)
            and all(_fits(one, wanted) for one, wanted in zip(value, test, strict=True))
        )
    return bool(value == test)


def _compare(name: str, value: Json, operand: Json) -> bool:
    try:
        return _COMPARISONS[name](value, operand)
    except KeyError:
        known = ", ".join(_COMPARISONS)
        raise InvalidInput(f"A filter knows no {name!r}.", hint=f"Use one of: {known}.") from None
    except (TypeError, ValueError):  # a text compared with a number: not greater, not less
        return False
