// Search as you type, with the reasons for each place.

import { get, session } from "../api.js";
import { bones, check, empty, failure, field, filterBox, h, paused, segments, select, show } from "../dom.js";
import { arms, category, highlighted, marks, opener, recalled } from "../entity.js";
import { LAYERS, layerName, MODES, plural, summary } from "../format.js";
import { change, parameters, workspace } from "../router.js";

const PAUSE_MS = 140;
const PAGE = 30;
const MOST = 300;
const ASKED = ["q", "mode", "category", "layer", "archived"];

/** Fill the page. */
export function mount(root) {
  const query = parameters();
  const input = h("input", {
    type: "search",
    id: "query",
    value: query.get("q") ?? "",
    placeholder: "What do you want to know?",
    autocomplete: "off",
    spellcheck: "false",
    enterkeyhint: "search",
    "aria-describedby": "search-status",
  });
  const status = h("p.quiet.small", { id: "search-status", role: "status", "aria-live": "polite" });
  const notes = h("div.stack");
  const results = h("ol.hits", { "aria-label": "Results", onkeydown: arrows });
  const foot = h("div");
  let asking = null;
  let shown = null;
  let limit = PAGE;

  const set = (name) => (value) => change({ [name]: value || null }, { replace: true });
  const type = paused(() => change({ q: input.value || null }, { replace: true }), PAUSE_MS);
  input.addEventListener("input", () => {
    limit = PAGE;
    type();
  });
  input.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowDown") return;
    event.preventDefault();
    results.querySelector("a")?.focus();
  });

  show(
    root,
    h("header.page-head", null, h("h1", null, "Search")),
    h(
      "search.search-box",
      null,
      h("div.field.wide", null, h("label", { for: "query" }, "Words, a question, a key"), input),
      segments("Search by", "mode", MODES, query.get("mode") ?? "hybrid", set("mode")),
    ),
    filterBox(
      field("Category", select([["", "All"], ...(session.categories ?? []).map((name) => [name, name])], query.get("category") ?? "", set("category"))),
      field("Layer", select([["", "All"], ...LAYERS], query.get("layer") ?? "", set("layer"))),
      check("Forgotten ones too", query.get("archived") === "true", (on) => set("archived")(on ? "true" : "")),
    ),
    status,
    notes,
    results,
    foot,
  );
  input.focus();

  async function ask(force) {
    const asked = Object.fromEntries(ASKED.map((name) => [name, parameters().get(name)]));
    const key = JSON.stringify([asked, limit]);
    if (key === shown && !force) return;
    shown = key;
    asking?.abort();
    if (!asked.q?.trim()) return blank();
    asking = new AbortController();
    if (!results.children.length) show(results, h("li", null, bones(5, "Searching")));
    try {
      draw(await get("/api/search", { ...asked, limit, workspace: workspace() }, asking.signal));
    } catch (error) {
      if (error.name === "AbortError") return;
      show(status);
      show(notes, failure(error, () => ask(true)));
      show(results);
    }
  }

  function blank() {
    recalled.clear();
    show(status);
    show(notes);
    show(results);
    show(foot, empty("Ask in your own words", "By words it finds what is written, by meaning what is meant; both together find most."));
  }

  function draw(found) {
    recalled.clear();
    const best = Math.max(1e-9, ...found.items.map((item) => item.scores?.keyword ?? 0));
    for (const item of found.items) recalled.set(item.id, { ...item, best });
    const ran = Object.entries(found.arms ?? {}).map(([name, count]) => `${name === "dense" ? "meaning" : name === "keyword" ? "words" : name} ${plural(count, "candidate")}`);
    const took = found.took_ms === undefined ? "" : ` in ${Math.max(1, Math.round(found.took_ms))} ms`;
    dispatchEvent(new Event("mimir:recalled"));
    show(status, `${plural(found.total ?? found.items.length, "result")}${took}${ran.length ? ` · ${ran.join(", ")}` : ""}`);
    show(notes, notices(found));
    show(results, found.items.map((item, index) => hit(item, index, best)));
    const more = found.items.length >= limit && limit < MOST;
    show(
      foot,
      !found.items.length && empty("Nothing was found", "Try other words, or search by meaning."),
      more && h("div.row.centred", null, h("button", { type: "button", onclick: () => ((limit += PAGE), ask()) }, "More results")),
    );
  }

  ask();
  return {
    update: () => {
      if (document.activeElement !== input) input.value = parameters().get("q") ?? "";
      ask();
    },
    changed: ({ own }) => own && ask(true),
    leave: () => asking?.abort(),
  };
}

function notices(found) {
  const note = (text) => h("div.notice.warn", null, h("p", null, text));
  return [
    found.degraded && note(found.degraded),
    found.low_relevance && note("Nothing seems to be about this. The nearest memories are shown."),
    found.pending > 0 && note(`${plural(found.pending, "text")} still wait for a vector and are found by words only.`),
  ];
}

function hit(item, index, best) {
  return h(
    "li.hit",
    { class: item.archived ? "faded" : null },
    h("span.rank.number", { "aria-hidden": "true" }, index + 1),
    h(
      "article",
      null,
      h("div.row", null, h("h2", null, opener(item)), marks(item)),
      h("p.words", null, item.evidence ? highlighted(item.evidence, item.spans) : summary(item.body_json)),
      h("div.row.meta", null, category(item.category), h("span.quiet.small", null, layerName(item.layer)), h("span.quiet.small.number", null, `score ${Number(item.score ?? 0).toFixed(2)}`), arms(item.scores, best)),
    ),
  );
}

function arrows(event) {
  if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
  const links = [...event.currentTarget.querySelectorAll("h2 a")];
  const next = links.indexOf(event.target) + (event.key === "ArrowDown" ? 1 : -1);
  event.preventDefault();
  if (next < 0) document.getElementById("query").focus();
  else links[next]?.focus();
}
