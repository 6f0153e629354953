"""`Memory`: the Python API, every operation a method."""

from __future__ import annotations

from mimir import recording
from mimir.engine import Engine
from mimir.operations import entities, lifecycle, ops, search


class Memory(Engine):
    """A store with every operation as a method; open it with `Memory.open`, usable from several threads.

    Each method is the function of the same name in `mimir.operations`, where its parameters are described.
    """

    remember = entities.remember
    remember_many = recording.remember_many
    get_entity = entities.get_entity
    history = entities.history
    as_of = entities.as_of
    forget = entities.forget

    recall = search.recall
    recall_layer = search.recall_layer
    recall_when = search.recall_when
    semantic_search = search.semantic_search
    embed = search.embed
    context = search.context

    reindex = lifecycle.reindex

    health = ops.health
    stats = ops.stats
