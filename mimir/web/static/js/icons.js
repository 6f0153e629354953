// Strokes on a grid of 20 by 20.

import { svg } from "./dom.js";

const PATHS = {
  brand: "M4 15V5.5l6 5 6-5V15",
  overview: "M3 11h5V3H3zM12 17h5V9h-5zM3 17h5v-2.5H3zM12 5.5h5V3h-5z",
  memories: "M4 5h12M4 10h12M4 15h8",
  search: "M9 14.5a5.5 5.5 0 1 0 0-11 5.5 5.5 0 0 0 0 11M13 13l4 4",
  graph: "M5 7.5a2 2 0 1 0 0-4 2 2 0 0 0 0 4M15 9.5a2 2 0 1 0 0-4 2 2 0 0 0 0 4M8 16.5a2 2 0 1 0 0-4 2 2 0 0 0 0 4M7 6l6 1.2M5.7 7.5 7.3 12.5M9.5 13.2l4-4",
  timeline: "M5 3v14M5 6h10M5 10h7M5 14h9",
  time: "M10 17a7 7 0 1 0-6.7-5M3 7.5V12h4.5M10 6.5V10l2.5 2",
  state: "M4 5.5C4 4.1 6.7 3 10 3s6 1.1 6 2.5S13.3 8 10 8 4 6.9 4 5.5M4 5.5v9C4 15.9 6.7 17 10 17s6-1.1 6-2.5v-9M4 10c0 1.4 2.7 2.5 6 2.5s6-1.1 6-2.5",
  maintenance: "M12.5 3.5a4 4 0 0 0-4.8 5.3L3 13.5 6.5 17l4.7-4.7a4 4 0 0 0 5.3-4.8L14 10l-2.5-.5L11 7z",
  menu: "M3 6h14M3 10h14M3 14h14",
  close: "M5 5l10 10M15 5 5 15",
  dark: "M16 11.5A6.5 6.5 0 0 1 8.5 4 6.5 6.5 0 1 0 16 11.5",
  light: "M10 13.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7M10 2v1.5M10 16.5V18M2 10h1.5M16.5 10H18M4.3 4.3l1.1 1.1M14.6 14.6l1.1 1.1M15.7 4.3l-1.1 1.1M5.4 14.6l-1.1 1.1",
  system: "M3 4h14v9H3zM7 17h6M10 13v4",
  leave: "M8 3H4v14h4M8 10h9M13.5 6.5 17 10l-3.5 3.5",
  plus: "M10 4v12M4 10h12",
  minus: "M4 10h12",
  fit: "M3 7V3h4M13 3h4v4M17 13v4h-4M7 17H3v-4",
};

/** Return a drawing that says nothing by itself: the word beside it does, or the button's label. */
export function icon(name) {
  return svg(
    "svg",
    { viewBox: "0 0 20 20", fill: "none", "aria-hidden": "true", focusable: "false" },
    svg("path", {
      d: PATHS[name],
      stroke: "currentColor",
      "stroke-width": "1.6",
      "stroke-linecap": "round",
      "stroke-linejoin": "round",
    }),
  );
}
