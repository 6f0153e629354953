// The values that programs keep under keys of their own.

import { get } from "../api.js";
import { tree } from "../body.js";
import { bones, empty, failure, field, h, paused, show } from "../dom.js";
import { ago, instant, plural } from "../format.js";
import { change, parameters } from "../router.js";

/** Fill the page. */
export function mount(root) {
  const count = h("p", { role: "status" });
  const place = h("div");
  const type = paused((event) => change({ prefix: event.target.value || null }, { replace: true }), 250);
  const input = h("input", { type: "text", value: parameters().get("prefix") ?? "", placeholder: "any", oninput: type });
  let turn = 0;
  show(
    root,
    h("header.page-head", null, h("div.row", null, h("h1", null, "State"), count)),
    h("div.filters", null, field("Keys that begin with", input, { class: "wide" })),
    place,
  );

  async function load() {
    const mine = ++turn;
    if (!place.children.length) show(place, bones(6));
    try {
      const state = await get("/api/state", { prefix: parameters().get("prefix") });
      if (mine !== turn) return;
      show(count, plural(state.total, "entry", "entries"));
      show(place, state.items.length ? table(state.items) : nothing());
    } catch (error) {
      if (mine === turn) show(place, failure(error, load));
    }
  }

  load();
  return { update: load, changed: load, leave: () => (turn += 1) };
}

const nothing = () =>
  parameters().get("prefix")
    ? empty("No key begins so")
    : empty("No state is kept", "Programs keep cursors, goals and settings here until they expire.");

function table(items) {
  return h(
    "div.card.table-wide",
    null,
    h(
      "table.plain.states",
      null,
      h("thead", null, h("tr", null, ["Key", "Value", "Set", "Expires"].map((name) => h("th", { scope: "col" }, name)))),
      h(
        "tbody",
        null,
        items.map((item) =>
          h(
            "tr",
            null,
            h("th.mono", { scope: "row" }, item.key),
            h("td", null, tree(item.value)),
            h("td.quiet", { data: { label: "Set" } }, instant(item.created_at_unix_ms)),
            h("td.quiet", { data: { label: "Expires" } }, item.expires_at_unix_ms ? instant(item.expires_at_unix_ms, ago) : "never"),
          ),
        ),
      ),
    ),
  );
}
