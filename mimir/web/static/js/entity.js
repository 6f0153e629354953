// How a memory looks wherever it appears.

import { session } from "./api.js";
import { meter } from "./charts.js";
import { h } from "./dom.js";
import { instant, layerName, moment, percent, plural, readBody, summary, textField, workspaceName } from "./format.js";
import { markdown } from "./markdown.js";

/** The hits of the last search by id, so that an opened memory can tell why it was found. */
export const recalled = new Map();

const RETIRED = new Set(["deprecated", "superseded", "expired", "invalidated"]);

export const typeOf = (entity) => entity.type ?? entity.entity_type ?? "";
export const isLive = (entity) => !entity.archived && !RETIRED.has(entity.status);

/** Return which of the ten hues a category has: those of one store differ as long as there are no more. */
export function hue(name) {
  const place = session.categories?.indexOf(name) ?? -1;
  return (place < 0 ? name.length : place) % 10;
}

/** Return a category with its colour. */
export const category = (name) => h(`span.category.hue-${hue(name)}`, null, h("span.clip", null, name));

/** Return the link that opens a memory beside the page. */
export function opener(entity, ...words) {
  return h(
    "a",
    { href: `/memories?id=${encodeURIComponent(entity.id)}`, data: { open: entity.id } },
    words.length ? words : entity.key,
  );
}

/** Return the marks of what is special about a memory. */
export function marks(entity) {
  return [
    entity.archived && h("span.badge.warn", null, "Forgotten"),
    !entity.archived && !isLive(entity) && h("span.badge.warn", null, entity.status),
    entity.always_on && h("span.badge", null, "Pinned"),
    entity.verified && h("span.badge.good", null, "Verified"),
  ].filter(Boolean);
}

/** Return strength as a bar with its figure. */
export const strength = (value) =>
  h("span.row.tight", null, meter(value, "Strength"), h("span.number.small.quiet", { "aria-hidden": "true" }, percent(value)));

/** Return one memory as a line of a list: key, category, words. */
export function line(entity, words = summary(entity.body_json)) {
  return h(
    "article.line",
    null,
    h("div.row", null, h("h2.clip", null, opener(entity)), marks(entity)),
    h("p.words", null, words),
    h("div.row.quiet.small", null, category(entity.category), h("span", null, layerName(entity.layer)), instant(entity.recorded_at_unix_ms)),
  );
}

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

/** Return a text with the spans of it that matched marked; spans are [start, end). */
export function highlighted(text, spans = []) {
  const parts = [];
  let from = 0;
  for (const [start, end] of [...spans].sort((a, b) => a[0] - b[0])) {
    if (start < from || end > text.length) continue;
    parts.push(text.slice(from, start), h("mark", null, text.slice(start, end)));
    from = end;
  }
  return [...parts, text.slice(from)];
}

const ARMS = { keyword: "Words", dense: "Meaning" };

/** Return the score of each arm as a bar; that of words has no upper bound, so `best` is what fills its bar. */
export function arms(scores = {}, best = 1) {
  return h(
    "dl.arms",
    null,
    Object.entries(scores)
      .filter(([, value]) => typeof value === "number")
      .map(([name, value]) => [
        h("dt", null, ARMS[name] ?? name),
        h("dd", null, meter(name === "keyword" ? value / best : value, ARMS[name] ?? name), h("span.number", { "aria-hidden": "true" }, value.toFixed(2))),
      ]),
  );
}
