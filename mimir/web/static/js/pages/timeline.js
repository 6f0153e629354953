// What happened, newest first, and whether the record is whole.

import { get, session } from "../api.js";
import { tree } from "../body.js";
import { bones, empty, failure, field, filterBox, h, paused, select, show } from "../dom.js";
import { category, opener } from "../entity.js";
import { clock, day, plural, readBody, whole, workspaceName } from "../format.js";
import { change, parameters, workspace } from "../router.js";

const PAGE = 60;
const PARTS = [["evaluated_json", "Considered"], ["acted_json", "Done"], ["forward_json", "Next"]];
const ASKED = ["type", "category", "q"];

/** Fill the page. */
export function mount(root) {
  const query = parameters();
  const mark = h("div", { role: "status" });
  const hint = h("div.changed", { role: "status" });
  const days = h("div.days");
  const foot = h("div", { role: "status" });
  let before = null;
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
      before = null;
      last = null;
      show(days, bones(8));
      show(foot);
    }
    try {
      const asked = Object.fromEntries(ASKED.map((name) => [name, parameters().get(name)]));
      const page = await get("/api/journal", { limit: PAGE, before, workspace: workspace(), ...asked });
      if (mine !== turn) return;
      if (fresh) show(days);
      newest = Math.max(newest, page.items[0]?.sequence ?? 0);
      for (const event of page.items) put(event);
      before = page.next ?? null;
      show(
        foot,
        !days.children.length && empty("No event yet", "Decisions, actions and what programs note in the journal appear here."),
        before !== null && h("div.row.centred", null, h("button", { type: "button", onclick: () => load(false) }, "Earlier events")),
      );
    } catch (error) {
      if (mine !== turn) return;
      if (fresh) show(days);
      show(foot, failure(error, () => load(fresh)));
    }
  }

  function put(event) {
    const date = day(event.created_at_unix_ms);
    if (last?.date !== date) {
      last = { date, list: h("ol.events") };
      days.append(h("section", { "aria-label": date }, h("h2.day", null, date), last.list));
    }
    last.list.append(entry(event));
  }

  function update() {
    const wanted = JSON.stringify(ASKED.map((name) => parameters().get(name)));
    if (wanted === applied) return;
    applied = wanted;
    load(true);
  }

  verify();
  update();
  return {
    update,
    changed: ({ own, journal }) => {
      if (own) return load(true);
      if (journal <= newest) return null;
      return show(hint, h("button.primary", { type: "button", onclick: () => (show(hint), load(true), verify()) }, "New events · show"));
    },
    leave: () => (turn += 1),
  };
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

const isEmpty = (value) => value === null || value === "" || (typeof value === "object" && !Object.keys(value).length);

function inWords(value) {
  if (typeof value !== "object") return String(value);
  return Object.entries(value).map(([name, part]) => `${name}: ${typeof part === "object" ? JSON.stringify(part) : part}`).join(", ").slice(0, 300);
}
