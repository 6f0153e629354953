"""`Memory`: the Python API, every operation a method."""

from __future__ import annotations

from mimir import journaling, recording
from mimir.engine import Engine
from mimir.operations import (
    ai,
    asking,
    context,
    entities,
    erasure,
    graph,
    importing,
    ingestion,
    lifecycle,
    migration,
    ops,
    quality,
    search,
    state,
    synthesis,
    vault,
    workspaces,
)
from mimir.operations import journal as journalling
from mimir.operations import maintenance as housekeeping


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
    context = context.context

    extract = ai.extract
    ask = asking.ask
    ingest = ingestion.ingest
    ingest_file = ingestion.ingest_file
    import_from = importing.import_from

    link = graph.link
    unlink = graph.unlink
    traverse = graph.traverse

    journal = journalling.journal
    timeline = journalling.timeline
    verify = journaling.verify
    verify_journal = journaling.verify_journal

    state_set = state.state_set
    state_get = state.state_get
    state_delete = state.state_delete
    state_list = state.state_list

    decay = lifecycle.decay
    prune = lifecycle.prune
    compact = lifecycle.compact
    cohere = lifecycle.cohere
    autocohere = lifecycle.autocohere
    reindex = lifecycle.reindex
    purge = erasure.purge

    score = quality.score
    conflicts = quality.conflicts
    correct = quality.correct
    supersede = quality.supersede

    vault_export = vault.vault_export
    vault_import = vault.vault_import
    workspace_list = workspaces.workspace_list
    share = workspaces.share
    federate = workspaces.federate

    health = ops.health
    bench = ops.bench
    stats = ops.stats
    synthesize = synthesis.synthesize
    maintenance = housekeeping.maintenance

    migrate = migration.migrate
