// What happened, newest first, and whether the record is whole.

import { get, session } from "../api.js";
import { tree } from "../body.js";
import { bones, empty, failure, field, filterBox, h, paused, select, show } from "../dom.js";
import { category, marks, opener } from "../entity.js";
import { clock, day, plural, readBody, summary, whole, workspaceName } from "../format.js";
import { change, parameters, workspace } from "../router.js";

const PAGE = 60;
const PARTS = [["evaluated_json", "Considered"], ["acted_json", "Done"], ["forward_json", "Next"]];
const ASKED = ["show", "type", "category", "q"];
const SHOWN = [["", "Events and memories"], ["events", "Events"], ["memories", "Memories"]];

/** Fill the page. */
export function mount(root) {
  const query = parameters();
  const mark = h("div", { role: "status" });
  const hint = h("div.changed", { role: "status" });
  const days = h("div.days");
  const foot = h("div", { role: "status" });
  let sources = [];
  let last = null;
  let newest = 0;
  let applied = null;
  let turn = 0;

  const set = (name) => (value) => change({ [name]: value || null });
  const type = (name) => paused((event) => change({ [name]: event.target.value.trim() || null }, { replace: true }), 300);
  const text = (name, hold) => h("input", { type: "text", value: query.get(name) ?? "", placeholder: hold, oninput: type(name) });
  show(
    root,
    h("header.page-head", null, h("h1", null, "Timeline"), mark),
    filterBox(
      field("Show", select(SHOWN, query.get("show") ?? "", set("show"))),
      field("Kind of event", text("type", "any")),
      field("Category", select([["", "All"], ...(session.categories ?? []).map((name) => [name, name])], query.get("category") ?? "", set("category"))),
      field("Words", text("q", "any")),
    ),
    hint,
    days,
    foot,
  );

  async function verify() {
    show(mark, h("span.quiet.small", null, "Checking the chain…"));
    const found = await get("/api/verify").catch(() => null);
    show(mark, chain(found, verify));
  }

  async function load(fresh) {
    const mine = ++turn;
    if (fresh) {
      sources = wanted();
      last = null;
      show(days, bones(8));
      show(foot);
    }
    try {
      const entries = await merged(sources, PAGE);
      if (mine !== turn) return;
      if (fresh) show(days);
      for (const one of entries) {
        newest = Math.max(newest, one.sequence ?? 0);
        put(one);
      }
      show(
        foot,
        !days.children.length && empty("Nothing here yet", "What is remembered and changed, and what programs note in the journal, appears here."),
        sources.some((one) => !one.isDone()) && h("div.row.centred", null, h("button", { type: "button", onclick: ({ target }) => ((target.disabled = true), load(false)) }, "Earlier")),
      );
    } catch (error) {
      if (mine !== turn) return;
      if (fresh) show(days);
      show(foot, failure(error, () => load(fresh)));
    }
  }

  function put({ at, item }) {
    const date = day(at);
    if (last?.date !== date) {
      last = { date, list: h("ol.events") };
      days.append(h("section", { "aria-label": date }, h("h2.day", null, date), last.list));
    }
    last.list.append(item());
  }

  function update() {
    const asked = JSON.stringify(ASKED.map((name) => parameters().get(name)));
    if (asked === applied) return;
    applied = asked;
    load(true);
  }

  verify();
  update();
  return {
    update,
    changed: ({ own, journal, entities }) => {
      if (own) return load(true);
      const shown = sources.some((one) => (one.memories ? entities === null || entities.length : journal > newest));
      if (!shown) return null;
      return show(hint, h("button.primary", { type: "button", onclick: () => (show(hint), load(true), verify()) }, "New · show"));
    },
    leave: () => (turn += 1),
  };
}

/** Return what is to be shown: the journal, the memories by their last change, or both. Only events have a kind and words. */
function wanted() {
  const asked = Object.fromEntries(ASKED.map((name) => [name, parameters().get(name)]));
  const common = { limit: PAGE, workspace: workspace(), category: asked.category };
  const events = source("/api/journal", "before", { ...common, type: asked.type, q: asked.q }, (event) => ({
    at: event.created_at_unix_ms,
    sequence: event.sequence,
    item: () => entry(event),
  }));
  const memories = source("/api/entities", "after", { ...common, sort: "changed", archived: "true" }, (entity) => ({
    at: entity.recorded_at_unix_ms,
    item: () => memory(entity),
  }));
  memories.memories = true;
  if (asked.show === "memories") return [memories];
  return asked.show === "events" || asked.type || asked.q ? [events] : [events, memories];
}

function source(path, cursor, asked, read) {
  const held = [];
  let next = null;
  let last = false;
  return {
    held,
    isDone: () => last && !held.length,
    fill: async () => {
      if (held.length || last) return;
      const page = await get(path, { ...asked, [cursor]: next });
      held.push(...page.items.map(read));
      next = page.next ?? null;
      last = next === null;
    },
  };
}

/** Take the newest of what several sources hold, each of which is newest first; less when one fails on the way. */
async function merged(sources, most) {
  const taken = [];
  while (taken.length < most) {
    try {
      await Promise.all(sources.map((one) => one.fill()));
    } catch (error) {
      if (taken.length) break;
      throw error;
    }
    const holding = sources.filter((one) => one.held.length);
    if (!holding.length) break;
    taken.push(holding.reduce((first, one) => (one.held[0].at > first.held[0].at ? one : first)).held.shift());
  }
  return taken;
}

function chain(found, again) {
  if (!found) return h("button.plain", { type: "button", onclick: again }, "Check the chain");
  if (found.ok) {
    const head = found.head ? ` Its head is ${found.head}.` : "";
    return h("span.badge.good", { title: `Each row holds the hash of the one before it.${head}` }, `✓ Chain intact, ${plural(found.events ?? 0, "event")}`);
  }
  const where = typeof found.first_break === "object" ? (found.first_break?.sequence ?? "?") : found.first_break;
  return h("span.badge.bad", { role: "alert" }, `✗ Chain broken at event ${where}`);
}

function entry(event) {
  const parts = PARTS.map(([name, label]) => [label, readBody(event[name] || "null")]).filter(([, value]) => !isEmpty(value));
  const said = parts.length ? inWords(parts.at(-1)[1]) : "";
  return h(
    "li.event",
    null,
    h("time.number.quiet", { datetime: new Date(event.created_at_unix_ms).toISOString() }, clock(event.created_at_unix_ms)),
    h(
      "div.stack.tight",
      null,
      h(
        "div.row",
        null,
        h("span.badge", null, event.event_type),
        event.key && (event.entity_id ? opener({ id: event.entity_id, key: event.key }) : h("span", null, event.key)),
        event.category && category(event.category),
        h("span.grow"),
        h("span.quiet.small", null, [event.agent_id, event.workspace_hash && workspaceName(event.workspace_hash), event.sequence && `#${whole(event.sequence)}`].filter(Boolean).join(" · ")),
      ),
      said && h("p.quiet.clip", null, said),
      parts.length ? h("details", null, h("summary.small", null, "Details"), h("div.stack", null, parts.map(([label, value]) => h("section", null, h("h3.small.quiet", null, label), tree(value))))) : null,
    ),
  );
}

function memory(entity) {
  const done = entity.recorded_at_unix_ms > entity.created_at_unix_ms ? "changed" : "remembered";
  return h(
    "li.event",
    null,
    h("time.number.quiet", { datetime: new Date(entity.recorded_at_unix_ms).toISOString() }, clock(entity.recorded_at_unix_ms)),
    h(
      "div.stack.tight",
      null,
      h(
        "div.row",
        null,
        h("span.badge", null, done),
        opener(entity),
        category(entity.category),
        marks(entity),
        h("span.grow"),
        h("span.quiet.small", null, [entity.agent_id, entity.workspace_hash && workspaceName(entity.workspace_hash)].filter(Boolean).join(" · ")),
      ),
      h("p.quiet.clip", null, summary(entity.body_json)),
    ),
  );
}

const isEmpty = (value) => value === null || value === "" || (typeof value === "object" && !Object.keys(value).length);

function inWords(value) {
  if (typeof value !== "object") return String(value);
  return Object.entries(value).map(([name, part]) => `${name}: ${typeof part === "object" ? JSON.stringify(part) : part}`).join(", ").slice(0, 300);
}
