// How memories hang together. What the canvas shows, the list beside it says.

import { get } from "../api.js";
import { bones, empty, failure, field, filterBox, h, paused, select, show } from "../dom.js";
import { category, hue, opener } from "../entity.js";
import { plural, whole } from "../format.js";
import { GraphView } from "../graph.js";
import { icon } from "../icons.js";
import { change, open, parameters, workspace } from "../router.js";

const SIZES = ["500", "1000", "2000", "5000"];
const DEPTHS = [["1", "1 step"], ["2", "2 steps"], ["3", "3 steps"]];
const ASKED = ["focus", "depth", "category", "relation", "limit"];
const MOST_LISTED = 150;

/** Fill the page. */
export function mount(root) {
  const filters = h("div");
  const notes = h("div.stack");
  const hint = h("div.changed", { role: "status" });
  const canvas = h("canvas", { tabindex: "0", role: "application", "aria-describedby": "graph-keys" });
  const side = h("div.graph-side");
  const stage = h(
    "div.graph",
    null,
    h(
      "div.stage",
      null,
      canvas,
      h("p.unseen", { id: "graph-keys" }, "Arrow keys move, plus and minus zoom, 0 shows all. The list beside the picture holds the same memories."),
      h(
        "div.tools",
        { role: "group", "aria-label": "View" },
        tool("plus", "Zoom in", () => view.zoom(1.4)),
        tool("minus", "Zoom out", () => view.zoom(1 / 1.4)),
        tool("fit", "Show all", () => view.fit()),
      ),
    ),
    side,
  );
  const view = new GraphView(canvas, { onselect: (index) => describe(index), onopen: (index) => open(graph.nodes[index].id) });
  let graph = { nodes: [], edges: [] };
  let applied = null;
  let turn = 0;
  show(root, h("header.page-head", null, h("h1", null, "Graph"), h("div.tally", { role: "status" })), filters, hint, notes, stage);
  const tally = root.querySelector(".tally");

  async function load() {
    const mine = ++turn;
    const query = parameters();
    const asked = Object.fromEntries(ASKED.map((name) => [name, query.get(name)]));
    if (!graph.nodes.length) show(side, bones(8));
    try {
      const found = await get("/api/graph", { ...asked, workspace: workspace() });
      if (mine !== turn) return;
      graph = found;
      draw(query);
    } catch (error) {
      if (mine !== turn) return;
      stage.hidden = true;
      show(notes, failure(error, load));
    }
  }

  function draw(query) {
    const place = new Map(graph.nodes.map((node, index) => [node.id, index]));
    const edges = graph.edges.map((edge) => ({ from: place.get(edge.from), to: place.get(edge.to), relationship: edge.relationship })).filter((edge) => edge.from !== undefined && edge.to !== undefined);
    graph.lines = edges;
    show(filters, filterBar(query, graph));
    const of = graph.total_nodes > graph.nodes.length && !query.has("focus") ? ` of ${whole(graph.total_nodes)}` : "";
    show(tally, h("span.quiet", null, `${plural(graph.nodes.length, "memory", "memories")}${of}, ${plural(edges.length, "link")}`));
    show(notes, notice(query, graph));
    stage.hidden = !graph.nodes.length;
    canvas.setAttribute("aria-label", `Graph of ${plural(graph.nodes.length, "memory", "memories")} and ${plural(edges.length, "link")}`);
    view.show(graph.nodes.map((node) => ({ id: node.id, label: node.label, hue: hue(node.category), degree: node.degree, faded: node.archived })), edges);
    const focus = place.get(query.get("focus"));
    if (focus === undefined) describe(view.selected);
    else view.select(focus);
  }

  function describe(index) {
    show(side, index >= 0 ? chosen(graph, index, view) : listing(graph, view));
  }

  function update() {
    const wanted = JSON.stringify(ASKED.map((name) => parameters().get(name)));
    if (wanted === applied) return;
    applied = wanted;
    load();
  }

  update();
  return {
    update,
    changed: ({ own }) =>
      own ? load() : show(hint, h("button.primary", { type: "button", onclick: () => (show(hint), load()) }, "The graph has changed · show")),
    leave: () => {
      turn += 1;
      view.leave();
    },
  };
}

const tool = (name, label, work) => h("button.icon", { type: "button", "aria-label": label, title: label, onclick: work }, icon(name));

function filterBar(query, graph) {
  const set = (name) => (value) => change({ [name]: value || null });
  const pick = (label, name, names) => {
    const chosen = query.get(name) ?? "";
    const all = chosen && !names.includes(chosen) ? [...names, chosen] : names;
    return field(label, select([["", "All"], ...all.map((one) => [one, one])], chosen, set(name)));
  };
  const focused = query.has("focus");
  return filterBox(
    pick("Category", "category", graph.categories ?? []),
    pick("Relation", "relation", graph.relations ?? []),
    focused
      ? field("Around it", select(DEPTHS, query.get("depth") ?? "1", set("depth")))
      : field("Most memories", select(SIZES.map((size) => [size, whole(Number(size))]), query.get("limit") ?? SIZES[0], set("limit"))),
    focused && h("button", { type: "button", onclick: () => change({ focus: null, depth: null }) }, "Show the whole graph"),
  );
}

function notice(query, graph) {
  if (!graph.nodes.length) {
    return query.has("category") || query.has("relation")
      ? empty("Nothing matches these filters", null, h("button", { type: "button", onclick: () => change({ category: null, relation: null }) }, "Clear the filters"))
      : empty("No memory to draw yet", "Memories that are linked to one another appear here.");
  }
  // Those left out below the limit are forgotten and linked to nothing.
  if (!graph.truncated || graph.nodes.length < Number(query.get("limit") ?? SIZES[0])) return null;
  return h(
    "div.notice",
    null,
    h("p", null, `Shown are the ${whole(graph.nodes.length)} most connected of ${plural(graph.total_nodes, "memory", "memories")}. Choose one and centre on it to see everything around it.`),
  );
}

function listing(graph, view) {
  const order = graph.nodes.map((_, index) => index).sort((a, b) => graph.nodes[b].degree - graph.nodes[a].degree);
  const list = h("ul.nodes");
  const draw = (words) => {
    const wanted = words.trim().toLowerCase();
    const found = order.filter((index) => graph.nodes[index].label.toLowerCase().includes(wanted));
    show(
      list,
      found.slice(0, MOST_LISTED).map((index) => h("li", null, nodeButton(graph, index, view))),
      found.length > MOST_LISTED && h("li.quiet.small", null, `and ${whole(found.length - MOST_LISTED)} more`),
      !found.length && h("li.quiet", null, "No memory has this in its key."),
    );
  };
  draw("");
  const type = paused((event) => draw(event.target.value), 120);
  return h("section.stack", { "aria-label": "Memories in the graph" }, h("h2", null, "Most connected"), field("Key", h("input", { type: "text", placeholder: "any", oninput: type })), list);
}

function nodeButton(graph, index, view, note) {
  const node = graph.nodes[index];
  return h(
    "button.plain.node",
    { type: "button", onclick: () => view.select(index, { centre: true }) },
    h(`span.category.hue-${hue(node.category)}`, null, h("span.clip", null, node.label)),
    h("span.small.quiet", null, note ?? whole(node.degree)),
  );
}

function chosen(graph, index, view) {
  const node = graph.nodes[index];
  const lines = graph.lines.filter((line) => line.from === index || line.to === index);
  return h(
    "section.stack",
    { "aria-label": "Chosen memory" },
    h("div.row", null, category(node.category), h("span.grow"), h("button.plain", { type: "button", onclick: () => view.select(-1) }, "All memories")),
    h("h2", null, node.label),
    h("div.row", null, openButton(node), h("button", { type: "button", onclick: () => change({ focus: node.id, depth: "1" }) }, "Centre on it")),
    h("h3.small.quiet", null, lines.length ? plural(lines.length, "neighbour") : "No links here"),
    h(
      "ul.nodes",
      null,
      lines.slice(0, MOST_LISTED).map((line) => {
        const out = line.from === index;
        return h("li", null, nodeButton(graph, out ? line.to : line.from, view, `${out ? "→" : "←"} ${line.relationship || "related"}`));
      }),
    ),
  );
}

function openButton(node) {
  const link = opener({ id: node.id }, "Open");
  link.classList.add("button");
  return link;
}
