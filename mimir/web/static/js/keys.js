// The keys that work everywhere, for who asks.

import { dialog, h } from "./dom.js";

const KEYS = [
  ["/", "Search"],
  ["↑ ↓", "Go through a list; Home and End jump"],
  ["Enter", "Open the memory"],
  ["Esc", "Close the memory"],
  ["e", "Edit the open memory"],
  ["u", "Undo the last action"],
  ["+ − 0", "In the graph: zoom in, out, show all; arrows move"],
  ["?", "This list"],
];

/** Show the keys in a dialog. */
export function showKeys() {
  const rows = KEYS.flatMap(([key, text]) => [h("dt", null, h("code", null, key)), h("dd", null, text)]);
  const box = dialog(
    "Keys",
    h("dl.facts", null, rows),
    h("div.ends", null, h("button", { type: "button", onclick: () => box.close() }, "Close")),
  );
}
