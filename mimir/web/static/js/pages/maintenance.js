// Upkeep: first what would happen, then, if the reader wants it, what does.

import { mayWrite, toast } from "../actions.js";
import { entityPath, get, send, session } from "../api.js";
import { body } from "../body.js";
import { bones, dialog, empty, failure, field, h, select, show } from "../dom.js";
import { difference } from "../diff.js";
import { category, marks, opener, recalled } from "../entity.js";
import { instant, percent, plural, readBody, textField, whole } from "../format.js";

const MOST_LISTED = 200;

const WORKS = [
  { name: "decay", title: "Decay", text: "Lets every memory fade by its idle time. What has faded away leaves recall; verified, pinned and rated memories stay.", run: "Let them fade" },
  {
    name: "compact",
    title: "Compact",
    text: "Archives the weakest memories by the strength they have now.",
    run: "Archive them",
    fields: [{ name: "min_decay", label: "Weaker than", value: 0.1, min: 0, max: 1, step: 0.01 }],
  },
  {
    name: "prune",
    title: "Prune",
    text: "Archives memories that are both weak and old.",
    run: "Archive them",
    fields: [
      { name: "min_decay", label: "Weaker than", value: 0.2, min: 0, max: 1, step: 0.01 },
      { name: "older_than_days", label: "Older than, in days", value: 90, min: 0, step: 1 },
    ],
  },
  { name: "cohere", title: "Cohere", text: "Lifts what is used often, links what reads alike, archives what has faded.", run: "Groom the store" },
  { name: "reindex", title: "Reindex", text: "Rebuilds the text index from the memories. Nothing else changes.", run: "Rebuild", direct: true },
];

/** Fill the page. */
export function mount(root) {
  const conflicts = h("div.stack");
  show(
    root,
    h("header.page-head", null, h("h1", null, "Maintenance"), h("p", null, "Every pass shows first what it would do.")),
    !mayWrite() && h("div.notice.warn", null, h("p", null, "This server was started read-only: previews work, changes do not.")),
    h("div.cards", null, WORKS.map(work), purge()),
    conflictCard(conflicts),
  );
}

/** A pass that is previewed before it runs. */
function work({ name, title, text, run, fields = [], direct = false }) {
  const inputs = fields.map((one) => h("input", { type: "number", min: one.min, max: one.max, step: one.step, value: one.value, required: true }));
  const report = h("div.report", { role: "status" });
  const start = h("button.primary", { type: "button", disabled: !direct || !mayWrite(), onclick: () => ask(false) }, run);
  const preview = h("button", null, "Preview");
  const values = () => Object.fromEntries(fields.map((one, index) => [one.name, Number(inputs[index].value)]));
  const form = h(
    "form.stack",
    {
      onsubmit: (event) => {
        event.preventDefault();
        ask(true);
      },
      oninput: () => (start.disabled = true),
    },
    h("p.quiet", null, text),
    fields.length ? h("div.pair", null, fields.map((one, index) => field(one.label, inputs[index]))) : null,
    h("div.row", null, !direct && preview, start),
    report,
  );

  async function ask(dry) {
    start.disabled = true;
    show(report, bones(2, "Working"));
    try {
      const found = await send("POST", `/api/maintenance/${name}`, { dry_run: dry, ...values() });
      show(report, h("p.small.quiet", null, dry ? "It would do this:" : "Done:"), results(found));
      start.disabled = !mayWrite() || !(dry || direct);
      if (!dry) done(title);
    } catch (error) {
      show(report, failure(error));
      start.disabled = !direct || !mayWrite();
    }
  }

  return h("section.card", { "aria-label": title }, h("header", null, h("h2", null, title)), form);
}

function done(title) {
  toast(`${title}: done`);
  dispatchEvent(new Event("mimir:acted"));
}

/** What cannot be undone asks for a word to be typed. */
function purge() {
  const report = h("div.report", { role: "status" });
  const start = h("button.danger", { type: "button", disabled: true, onclick: confirm }, "Erase for good…");

  async function preview(event) {
    event.preventDefault();
    show(report, bones(2, "Working"));
    try {
      const found = await send("POST", "/api/maintenance/purge", { dry_run: true });
      show(report, h("p.small.quiet", null, "It would do this:"), results(found));
      start.disabled = !mayWrite() || !found.entities_deleted;
    } catch (error) {
      show(report, failure(error));
    }
  }

  function confirm() {
    const word = h("input", { type: "text", autocomplete: "off", autofocus: true, oninput: () => (go.disabled = word.value !== "purge") });
    const go = h("button.danger", { disabled: true }, "Erase for good");
    const form = h(
      "form.stack",
      { onsubmit: erase },
      h("p", null, "Every forgotten memory is erased with its history and what the journal said about it. This cannot be undone."),
      field("Type purge to go on", word),
      h("div.ends", null, h("button", { type: "button", onclick: () => box.close() }, "Cancel"), go),
    );
    const box = dialog("Erase forgotten memories?", form);

    async function erase(event) {
      event.preventDefault();
      if (word.value !== "purge") return;
      box.close();
      start.disabled = true;
      show(report, bones(2, "Erasing"));
      try {
        const found = await send("POST", "/api/maintenance/purge", { dry_run: false, confirm: "purge" });
        show(report, h("p.small.quiet", null, "Done:"), results(found));
        done("Purge");
      } catch (error) {
        show(report, failure(error));
      }
    }
  }

  return h(
    "section.card",
    { "aria-label": "Purge" },
    h("header", null, h("h2", null, "Purge"), h("span.badge.bad", null, "Cannot be undone")),
    h("form.stack", { onsubmit: preview }, h("p.quiet", null, "Erases forgotten memories with their history, from every page of the file."), h("div.row", null, h("button", null, "Preview"), start), report),
  );
}

const HIDDEN = new Set(["dry_run", "completed_at_unix_ms", "reason", "total"]);

/** Return a report: its figures, then the memories it is about. */
function results(found) {
  const entries = Object.entries(found).filter(([name]) => !HIDDEN.has(name));
  const figures = entries.filter(([, value]) => value === null || typeof value !== "object");
  const lists = entries.filter(([, value]) => Array.isArray(value) && value.length);
  return [
    h("dl.facts", null, figures.map(([name, value]) => [h("dt", null, words(name)), h("dd.number", null, said(name, value))])),
    lists.map(([name, list]) =>
      h(
        "details",
        { open: list.length <= 12 },
        h("summary.small", null, `${words(name)}: ${whole(list.length)}`),
        h("ul.affected", null, list.slice(0, MOST_LISTED).map((one) => h("li", null, named(one))), list.length > MOST_LISTED && h("li.quiet", null, `and ${whole(list.length - MOST_LISTED)} more`)),
      ),
    ),
  ];
}

const words = (name) => name.replace(/_/g, " ").replace(/^./, (letter) => letter.toUpperCase());

function said(name, value) {
  if (name.endsWith("_unix_ms")) return instant(value);
  return typeof value === "number" ? whole(value) : String(value ?? "none");
}

function named(one) {
  if (one === null || typeof one !== "object") return String(one);
  return h(
    "span.row",
    null,
    one.id ? opener({ id: one.id, key: one.key ?? one.id }) : h("span", null, one.key ?? JSON.stringify(one)),
    one.category && category(one.category),
    one.strength !== undefined && h("span.quiet.small", null, percent(one.strength)),
  );
}

function conflictCard(place) {
  const names = session.categories ?? [];
  const chosen = select(names.map((name) => [name, name]), names[0] ?? "", () => {}, { required: true });
  const find = async () => {
    show(place, bones(4, "Comparing"));
    try {
      const found = await send("POST", "/api/maintenance/conflicts", { dry_run: true, category: chosen.value });
      const pairs = found.conflicts ?? found.items ?? [];
      show(
        place,
        h("p.quiet", { role: "status" }, `${plural(pairs.length, "conflict")} among ${plural(found.entities_compared ?? 0, "memory", "memories")}`),
        pairs.length ? pairs.map((pair) => side(pair, find)) : empty("No two memories contradict each other here"),
      );
    } catch (error) {
      show(place, failure(error, find));
    }
  };
  return h(
    "section.card.stack",
    { "aria-label": "Conflicts" },
    h("header.flush", null, h("h2", null, "Conflicts")),
    h("p.quiet", null, "Finds memories about the same thing that contradict each other. You decide which one holds."),
    names.length
      ? h("form.filters", { onsubmit: (event) => (event.preventDefault(), find()) }, field("Category", chosen), h("button.primary", null, "Find conflicts"))
      : empty("Nothing to compare yet"),
    place,
  );
}

/** Two memories side by side, and what can be done about them. */
function side(pair, again) {
  const box = h("article.pair-box", null, bones(4));
  const fill = async () => {
    const [a, b] = await Promise.all([pair.entity_a, pair.entity_b].map((one) => get(entityPath(one.id))));
    recalled.clear();
    show(
      box,
      h("div.two", null, column(a), column(b)),
      h("details", null, h("summary.small", null, "Compare word by word"), difference(text(a), text(b), [a.key, b.key])),
      mayWrite() &&
        h(
          "div.row",
          null,
          h("button", { type: "button", onclick: () => settle("supersede", b, a) }, `Keep ${clipped(a.key)}`),
          h("button", { type: "button", onclick: () => settle("supersede", a, b) }, `Keep ${clipped(b.key)}`),
          h("button", { type: "button", onclick: () => merge(a, b, settle) }, "Merge…"),
        ),
    );
  };
  const settle = async (action, from, to, more = {}) => {
    try {
      await send("POST", "/api/maintenance/conflicts", { dry_run: false, action, from_id: from.id, to_id: to.id, from_revision: from.revision, to_revision: to.revision, ...more });
      toast(action === "merge" ? "Merged" : `${from.key} is superseded`, { undo: true });
      dispatchEvent(new Event("mimir:acted"));
      again();
      return true;
    } catch (error) {
      toast([error.message, error.hint].filter(Boolean).join(" "), { bad: true });
      if (error.status === 409) fill();
      return false;
    }
  };
  fill().catch((error) => show(box, failure(error, fill)));
  return box;
}

const clipped = (key) => (key.length > 28 ? `${key.slice(0, 27)}…` : key);

const column = (entity) =>
  h(
    "section.stack",
    null,
    h("h3", null, opener(entity)),
    h("div.row", null, marks(entity), h("span.badge", null, `Certainty ${percent(entity.certainty)}`), instant(entity.recorded_at_unix_ms)),
    body(entity.body_json),
  );

function text(entity) {
  const value = readBody(entity.body_json);
  const name = textField(value);
  return name ? value[name] : JSON.stringify(value, null, 2);
}

/** Merging keeps one memory with a text of the reader's and supersedes the other by it. */
function merge(a, b, settle) {
  const words = h("textarea", { value: `${text(a)}\n\n${text(b)}`, rows: 10 });
  const form = h(
    "form.stack",
    {
      onsubmit: async (event) => {
        event.preventDefault();
        const value = readBody(a.body_json);
        const name = textField(value);
        if (await settle("merge", b, a, { body: name ? { ...value, [name]: words.value } : words.value })) box.close();
      },
    },
    h("p.quiet", null, `${a.key} gets this text; ${b.key} is superseded by it.`),
    field("Merged text", words),
    h("div.ends", null, h("button", { type: "button", onclick: () => box.close() }, "Cancel"), h("button.primary", null, "Merge")),
  );
  const box = dialog("Merge two memories", form);
  box.classList.add("roomy");
}
