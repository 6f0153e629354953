// The store at a glance.

import { get } from "../api.js";
import { bars, columns, curve } from "../charts.js";
import { bones, empty, failure, h, show } from "../dom.js";
import { hue } from "../entity.js";
import { bytes, dayShort, instant, LAYERS, layerName, percent, plural, short, whole } from "../format.js";
import { address, parameters } from "../router.js";

const MOST_CATEGORIES = 8;
const SEALS = { none: "Not encrypted", full: "Whole file encrypted", body: "Bodies encrypted" };

/** Return what the page asks for first. */
export const first = (query) => ["/api/overview", { workspace: query.get("workspace") }];

/** Fill the page; it draws itself again when the store changes. */
export function mount(root) {
  const content = h("div.stack.wide", null, bones(10));
  show(root, h("header.page-head", null, h("h1", null, "Overview")), content);
  let left = false;
  async function load() {
    try {
      const overview = await get(...first(parameters()));
      if (!left) show(content, draw(overview));
    } catch (error) {
      if (!left) show(content, failure(error, load));
    }
  }
  load();
  return { changed: load, leave: () => (left = true) };
}

function draw(overview) {
  const { totals, store } = overview;
  if (!totals.memories && !totals.archived && !totals.journal) {
    return empty(
      "Nothing is remembered yet",
      "As soon as a connected program remembers something, it appears here by itself.",
      h("p", null, h("code", null, 'mimir remember note hello "The first memory."')),
    );
  }
  return [
    notes(overview.health),
    h(
      "dl.figures",
      null,
      figure("Memories", totals.memories, "/memories"),
      figure("Forgotten", totals.archived, "/memories", { archived: "only" }),
      figure("Past versions", totals.versions),
      figure("Links", totals.links, "/graph"),
      figure("Journal events", totals.journal, "/timeline"),
      figure("State entries", totals.state, "/state"),
    ),
    h(
      "div.cards",
      null,
      growth(overview.growth),
      categories(overview.categories),
      layers(overview.layers),
      decay(overview.decay),
      embeddings(totals, store),
      health(store),
    ),
  ];
}

const card = (title, aside, ...content) => h("section.card", null, h("header", null, h("h2", null, title), aside && h("span.quiet.small", null, aside)), content);

function figure(label, value, path, values) {
  const shown = h("dd.number", { title: whole(value) }, path ? h("a", { href: address(path, values) }, short(value)) : short(value));
  return h("div", null, h("dt", null, label), shown);
}

function notes(state) {
  return (state?.notes ?? []).map((note) => h(`div.notice.${state.ok ? "warn" : "bad"}`, null, h("p", null, typeof note === "string" ? note : note.message)));
}

function growth(days) {
  if (!days?.length) return card("Growth", null, h("p.quiet", null, "No day has passed yet."));
  const points = days.map((one) => [Date.parse(`${one.day}T00:00:00Z`), one.total]);
  const newest = days.at(-1);
  if (points.length === 1) points.unshift([points[0][0] - 86_400_000, points[0][1] - newest.created]);
  const label = `Memories over time: ${whole(points[0][1])} on ${dayShort(points[0][0])}, ${whole(newest.total)} on ${dayShort(points.at(-1)[0])}`;
  return card("Growth", `${plural(newest.created, "memory", "memories")} on ${dayShort(points.at(-1)[0])}`, curve(points, label));
}

function categories(list) {
  const largest = (list ?? []).slice(0, MOST_CATEGORIES);
  const rows = largest.map(({ category, count }) => ({ label: category, value: count, hue: hue(category), href: address("/memories", { category }) }));
  const rest = (list ?? []).length - largest.length;
  return card("Categories", rest > 0 ? `and ${whole(rest)} more` : null, rows.length ? bars(rows, "Memories by category") : h("p.quiet", null, "None yet."));
}

function layers(counts) {
  const names = [...LAYERS.map(([name]) => name), ...Object.keys(counts ?? {}).filter((name) => !LAYERS.some(([known]) => known === name))];
  const rows = names.map((name) => ({ label: layerName(name), value: counts?.[name] ?? 0, href: address("/memories", { layer: name }) }));
  return card("Layers", "by how slowly they fade", bars(rows, "Memories by layer"));
}

function decay(counts) {
  const all = (counts ?? []).reduce((sum, count) => sum + count, 0);
  const weak = (counts ?? []).slice(0, 2).reduce((sum, count) => sum + count, 0);
  const label = `Strength of ${plural(all, "memory", "memories")}: ${whole(weak)} below 20 %, ${whole(counts?.[9])} above 90 %`;
  return card("Strength", all ? `${percent(weak / all)} below 20 %` : null, columns(counts ?? Array(10).fill(0), label));
}

function embeddings(totals, store) {
  const pending = totals.pending ?? 0;
  const state = pending
    ? h("span.badge.warn", null, `${whole(pending)} pending`)
    : h("span.badge.good", null, "All embedded");
  return card(
    "Meaning",
    null,
    h(
      "dl.facts",
      null,
      h("dt", null, "Embeddings"), h("dd", null, state),
      h("dt", null, "Vectors"), h("dd.number", null, whole(totals.vectors)),
      h("dt", null, "Model"), h("dd", null, store.embedding_model || "off: search by words only"),
    ),
  );
}

function health(store) {
  const seal = h(store.encryption === "none" ? "span.badge" : "span.badge.good", null, SEALS[store.encryption] ?? store.encryption);
  return card(
    "Store",
    null,
    h(
      "dl.facts",
      null,
      h("dt", null, "Encryption"), h("dd", null, seal),
      h("dt", null, "Durability"), h("dd", null, store.durability),
      h("dt", null, "Size"), h("dd", null, `${bytes(store.bytes)}, log ${bytes(store.wal_bytes)}`),
      h("dt", null, "Last write"), h("dd", null, instant(store.last_write_unix_ms)),
      h("dt", null, "File"), h("dd", null, h("code", null, store.path)),
    ),
  );
}
