"""Where the implemented tools differ on purpose from the published ones, each with its reason.

A place is ``tool.parameter aspect``; an aspect is `extra`, `missing`, `type`, `required`, `default`, `enum`, `minimum`,
`maximum` or `aliases`. A place that no longer differs fails the suite.
"""

from __future__ import annotations

from typing import Final

DEVIATIONS: Final[dict[str, tuple[str, ...]]] = {
    "an update keeps the fields that a call leaves out, so a client must not be told to fill in defaults": (
        "remember.status default",
        "remember.type default",
        "remember.tags default",
        "remember.topic_path default",
        "remember.agent_id default",
        "remember.recall_when default",
        "remember.always_on default",
        "remember.certainty default",
        "remember.visibility default",
        "remember.layer default",
    ),
    "visibility is enforced, so that only its three words have a meaning": ("remember.visibility enum",),
    "hosts that fill in defaults would switch the automatic choice off": ("recall.mode default",),
    "left out, trust only settles near-ties: relevance comes first": ("recall.trust_weight default",),
    "the default of an object is what its members' defaults say": ("recall.expansion default",),
    "a negative number of characters has no meaning": ("recall.preview_cap minimum",),
    "facts have a period in which they hold": (
        "remember.valid_from_unix_ms extra",
        "remember.valid_to_unix_ms extra",
        "recall.valid_at_unix_ms extra",
        "as_of.valid_at_unix_ms extra",
        "correct.valid_from_unix_ms extra",
        "correct.valid_to_unix_ms extra",
        "supersede.valid_to_unix_ms extra",
    ),
    "recall can answer as the store stood at an instant": ("recall.as_of_unix_ms extra",),
    "merging is the caller's choice, never the default": ("remember.dedup extra",),
    "a read can be told to leave no trace": ("recall.reinforce extra",),
    "two ways to join the arms were measured": ("recall.fusion extra",),
    "identity includes the workspace": (
        "history.workspace_hash extra",
        "as_of.workspace_hash extra",
        "forget.workspace_hash extra",
        "embed.workspace_hash extra",
        "link.workspace_hash extra",
        "unlink.workspace_hash extra",
        "traverse.workspace_hash extra",
        "score.workspace_hash extra",
        "supersede.workspace_hash extra",
        "share.workspace_hash extra",
        "extract.workspace_hash extra",
        "correct.workspace_hash extra",
    ),
    "a read can be held to one workspace": (
        "recall_when.workspace_hash extra",
        "recall_layer.workspace_hash extra",
        "context.workspace_hash extra",
        "ask.workspace_hash extra",
    ),
    "the default is the name of the file, which no schema can tell": ("ingest_file.key default",),
    "visibility is enforced, so that only its words have a meaning": ("synthesize.visibility enum",),
    "any JSON value is taken where an object is advertised, as published": (
        "journal.evaluated type",
        "journal.acted type",
        "journal.forward type",
    ),
    "events belong to a workspace, and erasing a memory must not reach those of another": (
        "journal.workspace_hash extra",
        "timeline.workspace_hash extra",
    ),
    "a timeline can be that of one key or one agent": ("timeline.key extra", "timeline.agent_id extra"),
    "links have a weight, and several may join two memories": ("link.weight extra", "unlink.relationship extra"),
    "a walk may follow some links only, or go against them": (
        "traverse.relationship extra",
        "traverse.direction extra",
    ),
    "a walk is bounded, as published in words": (
        "traverse.max_depth minimum",
        "traverse.max_depth maximum",
        "traverse.max_nodes minimum",
        "traverse.max_nodes maximum",
    ),
    "a published client sends parts of a second": ("state_set.ttl_seconds type",),
    "a score beyond its bounds is taken as the nearest and echoed as it came": (
        "score.score minimum",
        "score.score maximum",
    ),
    "visibility is enforced, so that a private lesson stays private": ("correct.visibility enum",),
    "workspaces are copied without files, so that no folder is needed": ("federate.vault_dir default",),
    "notes may have the layout of the original": ("vault_export.format extra",),
    "words of an encrypted store leave it only when that is said": ("vault_export.plaintext extra",),
    "a long list is read in pages": ("state_list.limit extra", "state_list.offset extra"),
    "a long trail is read in pages": ("history.limit extra", "history.offset extra"),
    "a prompt block can be about the question at hand and within a budget": (
        "context.query extra",
        "context.max_context_chars extra",
    ),
    "a reply can be kept within a budget, and what it then leaves out is read in pages": (
        "recall.max_chars extra",
        "get_entity.offset extra",
    ),
}
