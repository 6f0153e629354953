// The inside of a memory: its body, and all that is known about it.

import { h } from "./dom.js";
import { strength, typeOf } from "./entity.js";
import { instant, layerName, moment, percent, plural, readBody, textField, workspaceName } from "./format.js";
import { markdown } from "./markdown.js";

/** Return a body: its text rendered, its other fields as a list. */
export function body(json) {
  const value = readBody(json);
  if (typeof value === "string") return markdown(value);
  const named = textField(value);
  const rest = named ? Object.entries(value).filter(([name]) => name !== named) : [];
  if (!named) return tree(value);
  return h("div.stack", null, markdown(value[named]), rest.length ? tree(Object.fromEntries(rest)) : null);
}

/** Return any JSON value as nested lists. */
export function tree(value, depth = 0) {
  if (value === null || typeof value !== "object") return h("span", null, value === null ? "none" : String(value));
  const entries = Object.entries(value);
  if (!entries.length) return h("span.quiet", null, "empty");
  if (depth > 8) return h("code", null, JSON.stringify(value));
  if (Array.isArray(value)) return h("ul.dots", null, value.map((part) => h("li", null, tree(part, depth + 1))));
  return h("dl.facts", null, entries.map(([name, part]) => [h("dt", null, name), h("dd", null, tree(part, depth + 1))]));
}

/** Return everything that is known about a memory beside its text. */
export function facts(entity) {
  const validity =
    entity.valid_from_unix_ms || entity.valid_to_unix_ms
      ? `${entity.valid_from_unix_ms ? moment(entity.valid_from_unix_ms) : "always"} to ${entity.valid_to_unix_ms ? moment(entity.valid_to_unix_ms) : "open"}`
      : null;
  const rows = [
    ["Layer", layerName(entity.layer)],
    ["Strength", strength(entity.decay_score)],
    ["Certainty", percent(entity.certainty)],
    ["Used", plural(entity.retrieval_count ?? 0, "time")],
    ["Type", typeOf(entity)],
    ["Topic", entity.topic_path],
    ["Holds", validity],
    ["Changed", instant(entity.recorded_at_unix_ms)],
    ["Created", instant(entity.created_at_unix_ms)],
    ["Last used", instant(entity.last_accessed_unix_ms)],
    ["Source", entity.source],
    ["Agent", entity.agent_id],
    ["Workspace", workspaceName(entity.workspace_hash ?? "")],
    ["Visible to", entity.visibility],
    ["Status", entity.status],
    ["Reason", entity.archive_reason],
    ["Identifier", h("code", null, entity.id)],
  ];
  return h("dl.facts", null, rows.filter(([, value]) => value).map(([name, value]) => [h("dt", null, name), h("dd", null, value)]));
}
