// How a memory looks wherever it appears.

import { session } from "./api.js";
import { h, svg } from "./dom.js";
import { instant, layerName, percent, summary } from "./format.js";

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

/** Return a value of 0 to 1 as a short bar. */
function meter(value, label) {
  const share = Math.min(1, Math.max(0, value ?? 0));
  return svg(
    "svg.meter",
    { role: "img", "aria-label": `${label} ${percent(share)}` },
    svg("rect", { width: `${share * 100}%`, height: 6, rx: 3 }),
  );
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
