// Questions asked before a memory changes.

import { act } from "./actions.js";
import { entityPath, get } from "./api.js";
import { dialog, empty, field, h, paused, show } from "./dom.js";
import { category } from "./entity.js";
import { summary } from "./format.js";

const PAUSE_MS = 180;
const CHOICES = 8;

/** Ask why a memory is to be forgotten, then call `work` with the reason. */
export function forgetDialog(entity, work) {
  const reason = h("input", { type: "text", autofocus: true });
  ask(
    "Forget this memory?",
    "Forget",
    () => work(reason.value.trim()),
    h("p.quiet", null, `${entity.key} leaves recall and stays in history. It can be restored.`),
    field("Reason, kept in the journal", reason),
  );
}

/** Ask which memory replaces this one. */
export function supersedeDialog(entity) {
  const chooser = picker(entity);
  ask(
    "Replace by another memory",
    "Supersede",
    () => chooser.chosen() !== null && act("Superseded", "POST", entityPath(entity.id, "supersede"), { to_id: chooser.chosen() }),
    h("p.quiet", null, `${entity.key} is marked superseded and linked from the one that replaces it.`),
    chooser.element,
  );
}

/** Ask which memory this one is to be linked with, and how. */
export function linkDialog(entity) {
  const chooser = picker(entity);
  const relationship = h("input", { type: "text", value: "related", required: true });
  ask(
    "Link to another memory",
    "Link",
    () =>
      chooser.chosen() !== null &&
      act("Linked", "POST", entityPath(entity.id, "links"), { target_id: chooser.chosen(), relationship: relationship.value.trim() || "related" }),
    chooser.element,
    field("Relationship", relationship),
  );
}

/** Ask before `work`, which keeps the question open by returning false. */
export function ask(title, label, work, ...content) {
  const form = h(
    "form.stack",
    {
      onsubmit: async (event) => {
        event.preventDefault();
        if ((await Promise.resolve(work()).catch(() => true)) !== false) box.close();
      },
    },
    content,
    h("div.ends", null, h("button", { type: "button", onclick: () => box.close() }, "Cancel"), h("button.primary", null, label)),
  );
  const box = dialog(title, form);
  return box;
}

/** A field that finds memories as you type, and the choice among them. */
function picker(entity) {
  let chosen = null;
  const results = h("div.choices", { role: "radiogroup", "aria-label": "Memories found" });
  const search = paused(async (text) => {
    if (!text.trim()) return show(results);
    const found = await get("/api/search", { q: text, limit: CHOICES + 1, workspace: entity.workspace_hash }).catch(() => ({ items: [] }));
    const items = found.items.filter((item) => item.id !== entity.id).slice(0, CHOICES);
    return show(results, items.length ? items.map(choice) : empty("Nothing found", "Try other words."));
  }, PAUSE_MS);
  const choice = (item) =>
    h(
      "label.choice",
      null,
      h("input", { type: "radio", name: "choice", value: item.id, onchange: () => (chosen = item.id) }),
      h("span.grow", null, h("strong", null, item.key), h("span.quiet.clip.block", null, summary(item.body_json, 120)), category(item.category)),
    );
  const input = h("input", { type: "search", autofocus: true, placeholder: "Search", oninput: (event) => search(event.target.value) });
  return { element: h("div.stack", null, field("Which memory", input), results), chosen: () => chosen };
}
