// The edges of one memory, to and fro.

import { act, mayWrite } from "./actions.js";
import { entityPath } from "./api.js";
import { h } from "./dom.js";
import { linkDialog } from "./dialogs.js";
import { category, opener } from "./entity.js";
import { icon } from "./icons.js";
import { address } from "./router.js";

/** Return the links of a memory and those that lead to it. */
export function linkList(entity) {
  const links = entity.links ?? [];
  const backlinks = entity.backlinks ?? [];
  return h(
    "div.stack",
    null,
    links.length || backlinks.length
      ? h("ul.links", null, links.map((link) => row(entity, link, "→")), backlinks.map((link) => row(entity, link, "←")))
      : h("p.quiet", null, "No links yet."),
    h(
      "div.row",
      null,
      mayWrite() && h("button", { type: "button", onclick: () => linkDialog(entity) }, "Link…"),
      (links.length || backlinks.length) > 0 && h("a.button.plain", { href: address("/graph", { focus: entity.id }) }, "Show in the graph"),
    ),
  );
}

function row(entity, link, arrow) {
  const out = arrow === "→";
  const id = out ? link.target_id : link.source_id;
  const other = (out ? link.target : link.source) ?? { key: id, category: "" };
  return h(
    "li",
    null,
    h("span.relation", null, h("span", { "aria-hidden": "true" }, `${arrow} `), h("span.unseen", null, out ? "To: " : "From: "), link.relationship || "related"),
    h("span.grow.clip", null, opener({ id, key: other.key ?? id })),
    other.archived && h("span.badge.warn", null, "Forgotten"),
    other.category ? category(other.category) : null,
    out && mayWrite() && h("button.plain.icon", { type: "button", "aria-label": `Remove the link to ${other.key ?? id}`, onclick: () => unlink(entity, link) }, icon("close")),
  );
}

function unlink(entity, link) {
  const path = entityPath(entity.id, "links", encodeURIComponent(link.target_id));
  const query = link.relationship ? `?relationship=${encodeURIComponent(link.relationship)}` : "";
  return act("Link removed", "DELETE", path + query).catch(() => null);
}
