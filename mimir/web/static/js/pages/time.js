// The store as it was: what was believed at one instant, about another if asked.

import { get, session } from "../api.js";
import { bones, check, empty, failure, field, h, paused, select, show } from "../dom.js";
import { line } from "../entity.js";
import { fromInput, moment, plural, toInput } from "../format.js";
import { change, parameters, workspace } from "../router.js";

const PAGE = 100;
const STEPS = 1000;
const JUMPS = [["An hour ago", 3_600_000], ["Yesterday", 86_400_000], ["A week ago", 604_800_000], ["A month ago", 2_592_000_000]];

/** Fill the page. */
export function mount(root) {
  const query = parameters();
  const now = Date.now();
  const at = h("input", { type: "datetime-local", step: 1, value: toInput(Number(query.get("at")) || now), onchange: () => go(fromInput(at.value)) });
  const validAt = h("input", { type: "datetime-local", step: 1, value: toInput(Number(query.get("valid")) || 0), onchange: () => change({ valid: fromInput(validAt.value) }, { replace: true }) });
  const place = field("True at", validAt, { hidden: !query.get("valid") });
  const slider = h("input", { type: "range", min: 0, max: STEPS, value: STEPS, "aria-label": "Instant, from the oldest memory to now", oninput: slide });
  const from = h("span.small.quiet");
  const status = h("p", { role: "status" });
  const list = h("div.stack.lines");
  const type = paused((event) => change({ q: event.target.value.trim() || null }, { replace: true }), 250);
  let first = now - 2_592_000_000;
  let turn = 0;

  show(
    root,
    h("header.page-head", null, h("h1", null, "Time machine"), h("p", null, "What was believed then, whatever has changed since.")),
    h(
      "section.card.stack",
      { "aria-label": "Instant" },
      slider,
      h("div.axis", null, from, h("span.small.quiet", null, "now")),
      h("div.row", null, JUMPS.map(([label, back]) => h("button", { type: "button", onclick: () => go(Date.now() - back) }, label)), h("button", { type: "button", onclick: () => go(null) }, "Now")),
      h(
        "div.filters",
        null,
        field("Believed at", at),
        check("Also about another time", Boolean(query.get("valid")), (on) => {
          place.hidden = !on;
          if (!on) change({ valid: null }, { replace: true });
        }),
        place,
        field("Words", h("input", { type: "text", value: query.get("q") ?? "", placeholder: "any", oninput: type })),
        field("Category", select([["", "All"], ...(session.categories ?? []).map((name) => [name, name])], query.get("category") ?? "", (value) => change({ category: value || null }, { replace: true }))),
      ),
    ),
    status,
    list,
  );

  function go(instant) {
    change({ at: instant }, { replace: true });
  }

  const settle = paused((instant) => go(instant), 120);
  function slide() {
    const share = Number(slider.value) / STEPS;
    const instant = Math.round(first + (Date.now() - first) * share);
    at.value = toInput(instant);
    slider.setAttribute("aria-valuetext", moment(instant));
    settle(share === 1 ? null : instant);
  }

  async function load() {
    const mine = ++turn;
    const asked = parameters();
    const instant = Number(asked.get("at")) || Date.now();
    at.value = toInput(instant);
    if (document.activeElement !== slider) slider.value = Math.round(((instant - first) / Math.max(1, Date.now() - first)) * STEPS);
    slider.setAttribute("aria-valuetext", moment(instant));
    if (!list.children.length) show(list, bones(8));
    try {
      const then = await get("/api/time", { at_unix_ms: instant, valid_at_unix_ms: asked.get("valid"), q: asked.get("q"), category: asked.get("category"), limit: PAGE, workspace: workspace() });
      if (mine !== turn) return;
      const more = then.total > then.items.length ? `, the first ${then.items.length} are shown` : "";
      show(status, h("strong", null, plural(then.total ?? then.items.length, "memory", "memories")), h("span.quiet", null, ` believed on ${moment(instant)}${more}`));
      show(list, then.items.length ? then.items.map(believed) : empty("Nothing was known then", "Choose a later instant, or fewer filters."));
    } catch (error) {
      if (mine !== turn) return;
      show(status);
      show(list, failure(error, load));
    }
  }

  async function begin() {
    const overview = await get("/api/overview", { workspace: workspace() }).catch(() => null);
    first = overview?.store?.oldest_unix_ms ?? (Date.parse(overview?.growth?.[0]?.day ?? "") || first);
    show(from, moment(first));
    load();
  }

  begin();
  return { update: load, changed: ({ own }) => own && load(), leave: () => (turn += 1) };
}

/** A memory as it was; what replaced it since is one click away. */
function believed(entity) {
  const element = line(entity);
  if (entity.invalidated_at_unix_ms) {
    element.append(h("p.small", null, h("span.badge.warn", null, `Changed on ${moment(entity.invalidated_at_unix_ms)}`)));
  }
  return element;
}
