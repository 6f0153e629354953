"""Labelled questions from our own set and from published ones, in one form.

Every loader returns collections: memories that are searched together, with the questions asked of
them. A memory is known by "category/key". The published sets are read where they lie and are not
part of this project.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import Struct

Json: TypeAlias = Any
Arguments: TypeAlias = dict[str, Any]

OWN: Final = Path(__file__).resolve().parent.parent / "tests" / "quality"


class Question(Struct, frozen=True, kw_only=True):
    """One question: `gold` answers it (none: nothing does), `forbidden` must not be returned."""

    id: str
    kind: str
    text: str
    gold: frozenset[str]
    forbidden: frozenset[str] = frozenset()
    valid_at_unix_ms: int | None = None


class Collection(Struct, frozen=True, kw_only=True):
    """Memories of one store, as arguments of `remember` in the order of writing, and questions."""

    memories: tuple[Arguments, ...]
    questions: tuple[Question, ...]


class Dataset(Struct, frozen=True, kw_only=True):
    """A named list of collections."""

    name: str
    collections: tuple[Collection, ...]


def identity(memory: Arguments) -> str:
    """Return what questions call a memory."""
    return f"{memory['category']}/{memory['key']}"


def load(path: Path) -> list[Dataset]:
    """Read every known data set at a path: one of its files, its folder, or a folder of folders.

    Raises:
        SystemExit: nothing known is there.
    """
    files = [path] if path.is_file() else sorted(found for found in path.rglob("*.json") if found.name in _LOADERS)
    datasets = [_LOADERS[file.name](file) for file in files if file.name in _LOADERS]
    if not datasets:
        raise SystemExit(f"{path} holds no known data set; known files are {', '.join(sorted(_LOADERS))}.")
    return datasets


def load_own(questions_file: Path) -> Dataset:
    """Read our own set: `questions.json` with `memories.json` beside it."""
    described = _read(questions_file.with_name("memories.json"))["memories"]
    asked = _read(questions_file)["questions"]
    memories: list[Arguments] = []
    for entry in described:
        arguments = {name: entry[name] for name in ("category", "key", "tags", "topic_path") if name in entry}
        for name in ("valid_from", "valid_to"):
            if name in entry:
                arguments[f"{name}_unix_ms"] = _unix_ms(entry[name])
        bodies = [entry[name] for name in ("earlier", "body") if name in entry]
        memories += [{**arguments, "body_json": body} for body in bodies]
    questions = [
        Question(
            id=entry["id"],
            kind=entry["kind"],
            text=entry["question"],
            gold=frozenset(entry["gold"]),
            forbidden=frozenset(entry.get("forbidden", ())),
            valid_at_unix_ms=_unix_ms(entry["valid_at"]) if "valid_at" in entry else None,
        )
        for entry in asked
    ]
    return _single("own", memories, questions)


def load_devbench(file: Path) -> Dataset:
    """Read DevBench: a note is gold if it carries one of the question's expected tags.

    The two tags of the harness itself (its name and the note's own id) are not stored. The five
    questions that expect nothing measure refusal.
    """
    content = _read(file)
    memories = []
    tagged: dict[str, set[str]] = {}
    for note in content["memories"]:
        memory = {
            "category": note["memory_type"],
            "key": note["id"],
            "body_json": {"content": note["content"]},
            "tags": [tag for tag in note["tags"] if tag not in {"devbench", note["id"]}],
        }
        memories.append(memory)
        for tag in note["tags"]:
            tagged.setdefault(tag, set()).add(identity(memory))
    questions = [
        Question(
            id=query["id"],
            kind=query["category"] if query["expected_tags"] else "absent",
            text=query["question"],
            gold=frozenset().union(*(tagged[tag] for tag in query["expected_tags"])),
        )
        for query in content["queries"]
    ]
    return _single("devbench", memories, questions)


def load_precisionmembench(cases_file: Path) -> Dataset:
    """Read the single-turn cases of PrecisionMemBench that name relevant beliefs: 43 of 77.

    All 35 beliefs (superseded ones and another user's among them) are memories of one store: the
    canonical name is the key, aliases are tags, the text is the belief and why it matters. Gold is
    `relevantBeliefs.shouldOnlyInclude`. Prelude, pinned facts and open questions are filled by rule
    in that benchmark, not by search, so they don't count; neither does its scope filter. Questions
    with several gold beliefs, up to seven, bound R@1 to .848 and R@5 to .986.
    """
    cases = _read(cases_file)
    memories = {
        belief["_id"]: {
            "category": belief["type"],
            "key": belief["canonical_name"],
            "body_json": {"content": belief["content"], "why_it_matters": belief["why_it_matters"]},
            "tags": belief["aliases"],
        }
        for belief in _read(cases_file.with_name("beliefs.seed.json"))
    }
    relevant = {
        case["caseId"]: case["expect"].get("relevantBeliefs", {}).get("shouldOnlyInclude", []) for case in cases
    }
    questions = [
        Question(
            id=case["caseId"],
            kind=case["category"],
            text=case["query"],
            gold=frozenset(identity(memories[belief]) for belief in relevant[case["caseId"]]),
        )
        for case in cases
        if relevant[case["caseId"]]
    ]
    return _single("precisionmembench", list(memories.values()), questions)


def load_recall_set(file: Path) -> Dataset:
    """Read the original's recall set: personal notes, every question worded differently."""
    content = _read(file)
    memories = [
        {"category": note["category"], "key": note["key"], "body_json": {"note": note["note"]}}
        for note in content["memories"]
    ]
    by_key = {memory["key"]: identity(memory) for memory in memories}
    questions = [
        Question(
            id=str(number),
            kind="paraphrase",
            text=query["q"],
            gold=frozenset(by_key[key] for key in query["relevant"]),
        )
        for number, query in enumerate(content["queries"], start=1)
    ]
    return _single("mimir-recall", memories, questions)


def load_longmemeval(file: Path, limit: int) -> Dataset:
    """Read a LongMemEval file: one store for each question, one memory for each of its sessions.

    Questions that were made unanswerable (their id ends in `_abs`) are left out. `limit` takes that
    many questions, spread evenly; 0 takes all.
    """
    entries = [entry for entry in _read(file) if not entry["question_id"].endswith("_abs")]
    return Dataset(name="longmemeval", collections=tuple(map(_longmemeval_history, _spread(entries, limit))))


def load_locomo(file: Path, limit: int) -> Dataset:
    """Read a LoCoMo file: one store for each conversation, one memory for each turn.

    Gold is the evidence given. The day of a session is a tag of its turns, the session their topic.
    Questions without usable evidence are left out. `limit` takes that many questions of each
    conversation, spread evenly; 0 takes all.
    """
    return Dataset(
        name="locomo",
        collections=tuple(_locomo_conversation(sample, limit) for sample in _read(file)),
    )


def _longmemeval_history(entry: Json) -> Collection:
    sessions = dict(zip(entry["haystack_session_ids"], entry["haystack_sessions"], strict=True))
    dates = dict(zip(entry["haystack_session_ids"], entry["haystack_dates"], strict=True))
    memories = tuple(
        {
            "category": "session",
            "key": name,
            "body_json": {"text": "\n".join(f"{turn['role']}: {turn['content']}" for turn in turns)},
            "tags": [dates[name]],
        }
        for name, turns in sessions.items()
    )
    question = Question(
        id=entry["question_id"],
        kind=entry["question_type"],
        text=entry["question"],
        gold=frozenset(f"session/{name}" for name in entry["answer_session_ids"]),
    )
    return Collection(memories=memories, questions=(question,))


def _locomo_conversation(sample: Json, limit: int) -> Collection:
    conversation = sample["conversation"]
    memories: list[Arguments] = []
    for session in _locomo_sessions(conversation):
        for turn in conversation[session]:
            body = {
                "speaker": turn["speaker"],
                "text": turn["text"],
                "image": turn.get("blip_caption", ""),
            }
            memories.append(
                {
                    "category": "turn",
                    "key": turn["dia_id"],
                    "body_json": {name: value for name, value in body.items() if value},
                    "tags": [conversation[f"{session}_date_time"]],
                    "topic_path": session,
                }
            )
    known = {memory["key"] for memory in memories}
    questions = [
        Question(
            id=f"{sample['sample_id']}-{number}",
            kind=_LOCOMO_KINDS[entry["category"]],
            text=entry["question"],
            gold=frozenset(f"turn/{turn}" for turn in evidence),
        )
        for number, entry in enumerate(sample["qa"], start=1)
        if (evidence := known & set(_locomo_evidence(entry["evidence"])))
    ]
    return Collection(memories=tuple(memories), questions=tuple(_spread(questions, limit)))


def _locomo_sessions(conversation: Json) -> list[str]:
    names = [name for name in conversation if re.fullmatch(r"session_\d+", name)]
    return sorted(names, key=lambda name: int(name.removeprefix("session_")))


def _locomo_evidence(evidence: Iterable[str]) -> Iterator[str]:
    """Yield turn ids; some entries hold several, some are written `D:11:26`, some padded with 0."""
    for entry in evidence:
        for session, turn in re.findall(r"D:?(\d+):(\d+)", entry):
            yield f"D{int(session)}:{int(turn)}"


def _single(name: str, memories: Sequence[Arguments], questions: Sequence[Question]) -> Dataset:
    return Dataset(name=name, collections=(Collection(memories=tuple(memories), questions=tuple(questions)),))


def _spread(entries: Sequence[Any], limit: int) -> list[Any]:
    if not 0 < limit < len(entries):
        return list(entries)
    return [entries[number * len(entries) // limit] for number in range(limit)]


def _unix_ms(day: str) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() * 1000)


def _read(file: Path) -> Json:
    return msgspec.json.decode(file.read_bytes())


_LOADERS: Final[dict[str, Callable[[Path], Dataset]]] = {
    "questions.json": load_own,
    "devbench_dataset.json": load_devbench,
    "retrieval.cases.json": load_precisionmembench,
    "recall_dataset.json": load_recall_set,
}

_LOCOMO_KINDS: Final = {
    1: "multi_hop",
    2: "temporal",
    3: "open_domain",
    4: "single_hop",
    5: "adversarial",
}
