// A graph on a canvas: a worker lays it out, this draws it and follows the pointer and the keys.

const HUES = 10;
const NEAREST = 0.02;
const LARGEST = 6;
const CLICK_PX = 5;
const NAMED_AT = 1.5;
const MOST_NAMES = 160;
const HUBS = 14;
const STEP_PX = 60;

export class GraphView {
  /** Draw on `canvas`; `onselect` gets the index of the chosen node, or -1. */
  constructor(canvas, { onselect, onopen }) {
    Object.assign(this, { canvas, onselect, onopen });
    this.context = canvas.getContext("2d");
    this.nodes = [];
    this.places = new Float32Array();
    this.view = { scale: 1, x: 0, y: 0 };
    this.selected = -1;
    this.hovered = -1;
    this.pointers = new Map();
    this.turn = 0;
    this.worker = new Worker(new URL("./layout-worker.js", import.meta.url), { type: "module" });
    this.worker.onmessage = ({ data }) => this.#placed(data);
    this.sized = new ResizeObserver(() => this.#resize());
    this.sized.observe(canvas);
    this.themed = new MutationObserver(() => this.#recolour());
    this.themed.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    const on = (name, work) => canvas.addEventListener(name, (event) => work.call(this, event));
    on("pointerdown", this.#down);
    on("pointermove", this.#move);
    on("pointerup", this.#up);
    on("pointercancel", this.#up);
    on("dblclick", this.#open);
    on("keydown", this.#key);
    canvas.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    this.#recolour();
    this.#resize();
  }

  /** Show these nodes ({id, label, hue, degree, faded}) and edges ({from, to} as indices). */
  show(nodes, edges) {
    const former = new Map(this.nodes.map((node, index) => [node.id, index]));
    const seeds = new Float32Array(nodes.length * 2).fill(Number.NaN);
    nodes.forEach((node, index) => {
      const place = former.get(node.id);
      if (place !== undefined && this.places.length) seeds.set(this.places.subarray(place * 2, place * 2 + 2), index * 2);
    });
    const chosen = this.nodes[this.selected]?.id;
    this.nodes = nodes;
    this.edges = edges;
    this.places = seeds.map((value) => (Number.isNaN(value) ? 0 : value));
    this.neighbours = nodes.map(() => new Set());
    for (const { from, to } of edges) {
      this.neighbours[from].add(to);
      this.neighbours[to].add(from);
    }
    this.radii = nodes.map((node) => Math.min(14, 4 + Math.sqrt(node.degree ?? 0) * 1.3));
    this.hubs = nodes.map((_, index) => index).sort((a, b) => nodes[b].degree - nodes[a].degree).slice(0, HUBS);
    this.selected = nodes.findIndex((node) => node.id === chosen);
    this.moved = false;
    this.settled = false;
    this.turn += 1;
    const links = new Uint32Array(edges.length * 2);
    edges.forEach(({ from, to }, index) => links.set([from, to], index * 2));
    this.worker.postMessage({ kind: "start", size: nodes.length, links, seeds, turn: this.turn });
  }

  /** Choose a node and bring it into view. */
  select(index, { centre = false } = {}) {
    this.selected = index;
    if (centre && index >= 0) {
      this.moved = true;
      this.view.x = this.width / 2 - this.places[index * 2] * this.view.scale;
      this.view.y = this.height / 2 - this.places[index * 2 + 1] * this.view.scale;
    }
    this.#soon();
    this.onselect(index);
  }

  /** Show everything. */
  fit() {
    this.moved = false;
    this.#fit();
    this.#soon();
  }

  zoom(factor, x = this.width / 2, y = this.height / 2) {
    const scale = Math.min(LARGEST, Math.max(NEAREST, this.view.scale * factor));
    const ratio = scale / this.view.scale;
    this.view = { scale, x: x - (x - this.view.x) * ratio, y: y - (y - this.view.y) * ratio };
    this.moved = true;
    this.#soon();
  }

  pan(x, y) {
    this.view.x += x;
    this.view.y += y;
    this.moved = true;
    this.#soon();
  }

  leave() {
    this.worker.terminate();
    this.sized.disconnect();
    this.themed.disconnect();
    cancelAnimationFrame(this.frame);
  }

  #placed({ places, settled, turn }) {
    if (turn !== this.turn) return;
    this.places = places;
    this.settled = settled;
    this.canvas.dataset.settled = String(settled);
    if (!this.moved) this.#fit();
    this.#soon();
  }

  #fit() {
    if (!this.nodes.length) return;
    const box = [Infinity, Infinity, -Infinity, -Infinity];
    for (let i = 0; i < this.places.length; i += 2) {
      box[0] = Math.min(box[0], this.places[i]);
      box[1] = Math.min(box[1], this.places[i + 1]);
      box[2] = Math.max(box[2], this.places[i]);
      box[3] = Math.max(box[3], this.places[i + 1]);
    }
    const margin = 36;
    const scale = Math.min((this.width - margin * 2) / Math.max(1, box[2] - box[0]), (this.height - margin * 2) / Math.max(1, box[3] - box[1]), 2.4);
    this.view = {
      scale: Math.max(NEAREST, scale),
      x: this.width / 2 - ((box[0] + box[2]) / 2) * scale,
      y: this.height / 2 - ((box[1] + box[3]) / 2) * scale,
    };
  }

  #resize() {
    const { width, height } = this.canvas.getBoundingClientRect();
    if (!width || !height) return;
    const density = Math.min(2, devicePixelRatio || 1);
    Object.assign(this, { width, height, density });
    this.canvas.width = Math.round(width * density);
    this.canvas.height = Math.round(height * density);
    if (!this.moved) this.#fit();
    this.#soon();
  }

  #recolour() {
    const style = getComputedStyle(document.documentElement);
    const read = (name) => style.getPropertyValue(name).trim();
    this.colours = {
      hues: Array.from({ length: HUES }, (_, index) => read(`--hue-${index}`)),
      edge: read("--control-border"),
      text: read("--text"),
      ground: read("--ground"),
      accent: read("--accent"),
      quiet: read("--border"),
      font: `12px ${getComputedStyle(document.body).fontFamily}`,
    };
    this.#soon();
  }

  #soon() {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.#draw();
    });
  }

  #draw() {
    const { context, view, density, colours } = this;
    context.setTransform(density, 0, 0, density, 0, 0);
    context.clearRect(0, 0, this.width, this.height);
    if (!this.nodes.length) return;
    context.setTransform(density * view.scale, 0, 0, density * view.scale, density * view.x, density * view.y);
    const near = this.selected >= 0 ? this.neighbours[this.selected] : null;
    this.#edges(near);
    for (let hue = 0; hue < HUES; hue += 1) {
      this.#discs(colours.hues[hue], near ? 0.22 : 1, (node, index) => node.hue === hue && !node.faded && !near?.has(index) && index !== this.selected);
    }
    this.#discs(colours.quiet, 1, (node, index) => node.faded && !near?.has(index) && index !== this.selected);
    if (near) {
      for (let hue = 0; hue < HUES; hue += 1) this.#discs(colours.hues[hue], 1, (node, index) => node.hue === hue && (near.has(index) || index === this.selected));
    }
    this.#ring();
    context.setTransform(density, 0, 0, density, 0, 0);
    this.#names(near);
  }

  #edges(near) {
    const { context, places, view, colours } = this;
    const path = (chosen) => {
      context.beginPath();
      for (const { from, to } of this.edges) {
        if (chosen !== null && (from === this.selected || to === this.selected) !== chosen) continue;
        context.moveTo(places[from * 2], places[from * 2 + 1]);
        context.lineTo(places[to * 2], places[to * 2 + 1]);
      }
      context.stroke();
    };
    context.lineWidth = Math.min(1.4, 1 / view.scale);
    context.strokeStyle = colours.edge;
    context.globalAlpha = near ? 0.2 : 0.7;
    path(near ? false : null);
    if (near) {
      context.globalAlpha = 1;
      context.strokeStyle = colours.accent;
      context.lineWidth = 1.6 / view.scale;
      path(true);
    }
    context.globalAlpha = 1;
  }

  #discs(colour, alpha, chosen) {
    const { context, places } = this;
    context.beginPath();
    this.nodes.forEach((node, index) => {
      if (!chosen(node, index)) return;
      const radius = this.#radius(index);
      context.moveTo(places[index * 2] + radius, places[index * 2 + 1]);
      context.arc(places[index * 2], places[index * 2 + 1], radius, 0, Math.PI * 2);
    });
    context.globalAlpha = alpha;
    context.fillStyle = colour;
    context.fill();
    context.globalAlpha = 1;
  }

  /** A node never becomes smaller than a dot that can be seen and hit. */
  #radius(index) {
    return Math.max(this.radii[index], 2.2 / this.view.scale);
  }

  #ring() {
    const { context, places, view, colours } = this;
    for (const [index, colour] of [[this.hovered, colours.text], [this.selected, colours.accent]]) {
      if (index < 0 || index >= this.nodes.length) continue;
      context.beginPath();
      context.arc(places[index * 2], places[index * 2 + 1], this.#radius(index) + 3 / view.scale, 0, Math.PI * 2);
      context.lineWidth = 2 / view.scale;
      context.strokeStyle = colour;
      context.stroke();
    }
  }

  #names(near) {
    const { context, view, places, colours } = this;
    const wanted = new Set([this.selected, this.hovered].filter((index) => index >= 0));
    if (near) for (const index of near) wanted.add(index);
    else for (const index of this.hubs) wanted.add(index);
    if (view.scale >= NAMED_AT) {
      for (let index = 0; index < this.nodes.length && wanted.size < MOST_NAMES; index += 1) if (this.#inView(index)) wanted.add(index);
    }
    context.font = colours.font;
    context.textBaseline = "middle";
    context.lineJoin = "round";
    context.lineWidth = 4;
    const taken = [];
    for (const index of [...wanted].slice(0, MOST_NAMES)) {
      const label = this.nodes[index].label;
      const text = label.length > 32 ? `${label.slice(0, 31)}…` : label;
      const x = places[index * 2] * view.scale + view.x + this.#radius(index) * view.scale + 5;
      const y = places[index * 2 + 1] * view.scale + view.y;
      const chosen = index === this.selected || index === this.hovered;
      const box = [x, y - 8, x + context.measureText(text).width, y + 8];
      if (!chosen && taken.some((other) => box[0] < other[2] && box[2] > other[0] && box[1] < other[3] && box[3] > other[1])) continue;
      taken.push(box);
      context.strokeStyle = colours.ground;
      context.strokeText(text, x, y);
      context.fillStyle = colours.text;
      context.fillText(text, x, y);
    }
  }

  #inView(index) {
    const x = this.places[index * 2] * this.view.scale + this.view.x;
    const y = this.places[index * 2 + 1] * this.view.scale + this.view.y;
    return x > -40 && y > -20 && x < this.width + 20 && y < this.height + 20;
  }

  #at(x, y) {
    const graphX = (x - this.view.x) / this.view.scale;
    const graphY = (y - this.view.y) / this.view.scale;
    const slack = 6 / this.view.scale;
    let best = -1;
    let nearest = Infinity;
    for (let index = 0; index < this.nodes.length; index += 1) {
      const distance = Math.hypot(this.places[index * 2] - graphX, this.places[index * 2 + 1] - graphY) - this.#radius(index);
      if (distance < slack && distance < nearest) [best, nearest] = [index, distance];
    }
    return best;
  }

  #point(event) {
    const box = this.canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  #down(event) {
    this.canvas.setPointerCapture(event.pointerId);
    const point = this.#point(event);
    this.pointers.set(event.pointerId, point);
    this.start = point;
    this.still = this.pointers.size === 1;
    this.grabbed = this.pointers.size === 1 ? this.#at(point.x, point.y) : -1;
  }

  #move(event) {
    const point = this.#point(event);
    const former = this.pointers.get(event.pointerId);
    if (!former) return this.#hover(point);
    if (this.pointers.size === 2) return this.#pinch(event.pointerId, point);
    if (this.still && Math.hypot(point.x - this.start.x, point.y - this.start.y) < CLICK_PX) return undefined;
    this.still = false;
    this.pointers.set(event.pointerId, point);
    if (this.grabbed >= 0) {
      this.moved = true;
      const place = { x: (point.x - this.view.x) / this.view.scale, y: (point.y - this.view.y) / this.view.scale };
      this.worker.postMessage({ kind: "hold", index: this.grabbed, ...place });
    } else this.pan(point.x - former.x, point.y - former.y);
    return undefined;
  }

  #pinch(id, point) {
    const other = [...this.pointers].find(([key]) => key !== id)[1];
    const former = this.pointers.get(id);
    const grown = Math.hypot(point.x - other.x, point.y - other.y) / Math.max(1, Math.hypot(former.x - other.x, former.y - other.y));
    this.still = false;
    this.pointers.set(id, point);
    this.zoom(grown, (point.x + other.x) / 2, (point.y + other.y) / 2);
  }

  #hover(point) {
    const index = this.#at(point.x, point.y);
    this.canvas.classList.toggle("over", index >= 0);
    if (index === this.hovered) return;
    this.hovered = index;
    this.#soon();
  }

  #up(event) {
    if (!this.pointers.delete(event.pointerId)) return;
    if (this.grabbed >= 0 && !this.still) this.worker.postMessage({ kind: "free" });
    if (this.still && event.type === "pointerup") this.select(this.grabbed);
    this.grabbed = -1;
  }

  #open(event) {
    const point = this.#point(event);
    const index = this.#at(point.x, point.y);
    if (index >= 0) this.onopen(index);
  }

  #wheel(event) {
    event.preventDefault();
    const point = this.#point(event);
    this.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)), point.x, point.y);
  }

  #key(event) {
    const moves = { ArrowLeft: [STEP_PX, 0], ArrowRight: [-STEP_PX, 0], ArrowUp: [0, STEP_PX], ArrowDown: [0, -STEP_PX] };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (moves[event.key]) this.pan(...moves[event.key]);
    else if (event.key === "+" || event.key === "=") this.zoom(1.3);
    else if (event.key === "-") this.zoom(1 / 1.3);
    else if (event.key === "0") this.fit();
    else if (event.key === "Enter" && this.selected >= 0) this.onopen(this.selected);
    else return;
    event.preventDefault();
  }
}
