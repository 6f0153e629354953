// Small charts in SVG. Each says in words what it shows, and its figures stand beside it as text.

import { h, svg } from "./dom.js";
import { dayShort, percent, whole } from "./format.js";

/** Return a curve over days: `points` are [unix ms, value] in order of time. */
export function curve(points, label) {
  const highest = Math.max(1, ...points.map(([, value]) => value));
  const first = points[0][0];
  const span = Math.max(1, points.at(-1)[0] - first);
  const place = ([ms, value]) => `${(((ms - first) / span) * 100).toFixed(3)} ${(100 - (value / highest) * 94).toFixed(3)}`;
  const line = points.map(place).join(" L");
  const middle = points[Math.floor(points.length / 2)][0];
  return h(
    "figure.curve",
    null,
    svg(
      "svg",
      { viewBox: "0 0 100 100", preserveAspectRatio: "none", role: "img", "aria-label": label },
      svg("path.area", { d: `M${line} L100 100 L0 100 Z` }),
      svg("path.line", { d: `M${line}`, "vector-effect": "non-scaling-stroke" }),
    ),
    h("span.top-value.number", { "aria-hidden": "true" }, whole(highest)),
    h(
      "figcaption.axis",
      { "aria-hidden": "true" },
      h("span", null, dayShort(first)),
      points.length > 2 && h("span", null, dayShort(middle)),
      h("span", null, dayShort(points.at(-1)[0])),
    ),
  );
}

/** Return bars from left to right, one row each: `rows` are {label, value, href, hue}. */
export function bars(rows, label) {
  const highest = Math.max(1, ...rows.map((row) => row.value));
  return h(
    "ul.bars",
    { "aria-label": label },
    rows.map((row) =>
      h(
        "li",
        { class: row.hue === undefined ? null : `hue-${row.hue}` },
        row.href ? h("a.clip", { href: row.href }, row.label) : h("span.clip", null, row.label),
        svg(
          "svg",
          { "aria-hidden": "true", height: 8, width: "100%" },
          svg("rect", { width: `${Math.max(0.6, (row.value / highest) * 100)}%`, height: 8, rx: 4 }),
        ),
        h("span.number", null, whole(row.value)),
      ),
    ),
  );
}

/** Return ten columns of how many memories have which strength. */
export function columns(counts, label) {
  const highest = Math.max(1, ...counts);
  const rects = counts.map((count, index) => {
    const height = count ? Math.max(2, (count / highest) * 100) : 0.8;
    return svg(
      "rect",
      { x: `${index * 10 + 1}%`, y: `${100 - height}%`, width: "8%", height: `${height}%`, rx: 2 },
      svg("title", null, `${percent(index / 10)} to ${percent((index + 1) / 10)}: ${whole(count)}`),
    );
  });
  return h(
    "figure.columns",
    null,
    svg("svg", { role: "img", "aria-label": label, width: "100%", height: 120 }, rects),
    h("figcaption.axis", { "aria-hidden": "true" }, h("span", null, "0 %"), h("span", null, "50 %"), h("span", null, "100 %")),
  );
}
