// Every memory, in any order, however many there are.

import { mayWrite } from "../actions.js";
import { entityPath, get, session } from "../api.js";
import { dialog, empty, field, filterBox, h, paused, select, show } from "../dom.js";
import { category, isLive, marks, opener, strength } from "../entity.js";
import { instant, LAYERS, layerName, plural, summary, whole } from "../format.js";
import { List } from "../list.js";
import { change, open, parameters } from "../router.js";

const PAGE = 100;
const NEAR_TOP = 80;
const MOST_REFRESHED = 20;
const FILTERS = ["category", "layer", "type", "agent", "tag", "archived", "pinned", "verified"];
const COLUMNS = [
  { name: "what", label: "Memory", sort: "key" },
  { name: "where", label: "Category" },
  { name: "layer", label: "Layer" },
  { name: "strength", label: "Strength", sort: "strength" },
  { name: "uses", label: "Uses", sort: "uses" },
  { name: "when", label: "Changed", sort: "changed" },
];

/** Return what the page asks for first. */
export const first = (query) => pageOf(query, null);

/** Fill the page. */
export function mount(root) {
  const scroller = document.getElementById("main");
  const head = h("div");
  const count = h("p", { role: "status" });
  const hint = h("div.changed", { role: "status" });
  const place = h("div");
  let list = null;
  let applied = null;
  show(root, h("header.page-head", null, h("div.row", null, h("h1", null, "Memories"), count), mayWrite() && newButton()), head, hint, place);

  function update() {
    const query = parameters();
    const wanted = JSON.stringify(["sort", "order", ...FILTERS].map((name) => query.get(name)));
    if (wanted === applied) return;
    applied = wanted;
    list?.leave();
    list = build(query, scroller, count);
    show(head, filters(query));
    show(hint);
    show(place, list.element);
    list.reload();
  }

  async function changed({ own, entities }) {
    const ids = (entities ?? []).filter((id) => list.items.some((item) => item.id === id));
    if (ids.length && ids.length <= MOST_REFRESHED) {
      const fresh = await Promise.all(ids.map((id) => get(entityPath(id)).catch(() => null)));
      list.replace(fresh.filter(Boolean));
    }
    if (own || scroller.scrollTop < NEAR_TOP) await list.refresh();
    else if (!entities || ids.length < entities.length) {
      show(hint, h("button.primary", { type: "button", onclick: () => (show(hint), (scroller.scrollTop = 0), list.reload()) }, "Memories have changed · show"));
    }
  }

  update();
  return { update, changed, leave: () => list.leave() };
}

function build(query, scroller, count) {
  const sort = sortOf(query);
  return new List({
    label: "Memories",
    columns: COLUMNS,
    sort,
    onsort: (name, order) => change({ sort: name, order }),
    scroller,
    row,
    rowClass: (item) => (isLive(item) ? "" : "faded"),
    fetch: async (after) => {
      const page = await get(...pageOf(query, after));
      show(count, plural(page.total, "memory", "memories"));
      return page;
    },
    blank: () =>
      FILTERS.some((name) => query.has(name))
        ? empty("No memory matches these filters", null, h("button", { type: "button", onclick: clear }, "Clear the filters"))
        : empty("Nothing is remembered here yet", "Memories appear here as soon as a program stores them."),
  });
}

const sortOf = (query) => ({ name: query.get("sort") ?? "changed", order: query.get("order") ?? "desc" });

function pageOf(query, after) {
  const { name, order } = sortOf(query);
  const filters = Object.fromEntries(FILTERS.map((one) => [one, query.get(one)]));
  return ["/api/entities", { limit: PAGE, after, sort: name, order, workspace: query.get("workspace"), ...filters }];
}

const clear = () => change(Object.fromEntries(FILTERS.map((name) => [name, null])));

function row(item) {
  return [
    [h("div.row.name", null, h("span.clip", null, opener(item)), marks(item)), h("div.words.clip", null, summary(item.body_json))],
    category(item.category),
    layerName(item.layer),
    strength(item.decay_score),
    h("span.number", null, whole(item.retrieval_count)),
    instant(item.recorded_at_unix_ms),
  ];
}

function filters(query) {
  const set = (name) => (value) => change({ [name]: value || null });
  const typed = (name) => paused((event) => change({ [name]: event.target.value.trim() || null }, { replace: true }), 350);
  const known = (names, chosen) => (chosen && !names.includes(chosen) ? [...names, chosen] : names).map((name) => [name, name]);
  const value = (name) => query.get(name) ?? "";
  const tag = h("input", { type: "text", value: value("tag"), placeholder: "any", oninput: typed("tag") });
  return filterBox(
    field("Category", select([["", "All"], ...known(session.categories ?? [], value("category"))], value("category"), set("category"))),
    field("Layer", select([["", "All"], ...LAYERS], value("layer"), set("layer"))),
    field("Type", select([["", "All"], ...known(session.types ?? [], value("type"))], value("type"), set("type"))),
    field("State", select([["", "In recall"], ["true", "All"], ["only", "Forgotten"]], value("archived"), set("archived"))),
    field("Mark", select([["", "Any"], ["pinned", "Pinned"], ["verified", "Verified"]], query.has("pinned") ? "pinned" : query.has("verified") ? "verified" : "", mark)),
    field("Tag", tag),
  );
}

const mark = (value) => change({ pinned: value === "pinned" ? "true" : null, verified: value === "verified" ? "true" : null });

function newButton() {
  return h("button.primary", { type: "button", onclick: create }, "New memory");
}

async function create() {
  const { newForm } = await import("../edit.js");
  const box = dialog("New memory", newForm(session.categories ?? [], (entity) => {
    box.close();
    if (entity) open(entity.id);
  }));
  box.classList.add("roomy");
}
