// What a memory was before, the newest first, with what each change did to its text.

import { entityPath, get } from "./api.js";
import { difference } from "./diff.js";
import { failure, h, show } from "./dom.js";
import { instant, moment, readBody, textField } from "./format.js";

const PAGE = 20;

/** Return the versions of a memory; they are fetched when they are looked at. */
export function versionList(entity) {
  const list = h("ol.versions");
  const more = h("button", { type: "button", hidden: true, onclick: () => load() }, "Older versions");
  const note = h("div", { role: "status" });
  const versions = [];

  async function load() {
    more.disabled = true;
    try {
      const page = await get(entityPath(entity.id, "versions"), { limit: PAGE, offset: versions.length });
      versions.push(...page.items);
      show(list, versions.map((version, index) => entry(version, versions[index + 1], index === page.total - 1)));
      more.hidden = versions.length >= page.total || !page.items.length;
      show(note);
    } catch (error) {
      show(note, failure(error, load));
    }
    more.disabled = false;
  }

  load();
  return h("div.stack", null, list, note, more);
}

function entry(version, before, first) {
  const open = !version.invalidated_at_unix_ms;
  const until = open ? "now" : moment(version.invalidated_at_unix_ms);
  const title = h("div.row", null, h("strong", null, open ? "Current" : instant(version.recorded_at_unix_ms)), h("span.quiet.small", null, `${moment(version.recorded_at_unix_ms)} to ${until}`));
  const fields = before ? changedFields(before, version) : [];
  return h(
    "li",
    null,
    title,
    version.status && version.status !== "active" ? h("span.badge.warn", null, version.status) : null,
    fields.length ? h("ul.small.quiet", null, fields.map((text) => h("li", null, text))) : null,
    before && h("details", null, h("summary.small", null, "What changed in the text"), difference(words(before), words(version))),
    first && h("p.small.quiet", null, "First version"),
  );
}

const NAMES = { status: "Status", layer: "Layer", certainty: "Certainty", verified: "Verified", always_on: "Pinned", tags: "Tags", type: "Type", archived: "Forgotten" };
const TIMES = { valid_from_unix_ms: "Holds from", valid_to_unix_ms: "Holds until" };

function changedFields(before, after) {
  const differs = (name) => after[name] !== undefined && JSON.stringify(before[name]) !== JSON.stringify(after[name]);
  return [
    ...Object.entries(NAMES).filter(([name]) => differs(name)).map(([name, label]) => `${label}: ${said(before[name])} → ${said(after[name])}`),
    ...Object.entries(TIMES).filter(([name]) => differs(name)).map(([name, label]) => `${label}: ${when(before[name])} → ${when(after[name])}`),
  ];
}

const said = (value) => (value === true ? "yes" : value === false ? "no" : Array.isArray(value) ? value.join(", ") || "none" : String(value ?? "none"));
const when = (ms) => (ms ? moment(ms) : "open");

function words(version) {
  const body = readBody(version.body_json);
  const named = textField(body);
  if (typeof body === "string") return body;
  return named && Object.keys(body).length === 1 ? body[named] : JSON.stringify(body, null, 2);
}
