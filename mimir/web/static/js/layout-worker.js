// Where the nodes of a graph lie: springs along the edges, repulsion between all nodes by the method of Barnes and Hut
// (J. Barnes, P. Hut, "A hierarchical O(N log N) force-calculation algorithm", 1986), gravity towards the middle.

const LENGTH = 40;
const REPULSION = 75;
const GRAVITY = 0.055;
const FRICTION = 0.62;
const THETA_SQUARED = 0.8;
const COOLING = 0.022;
const COLD = 0.004;
const WARM = 0.25;
const SLICE_MS = 22;
const DEEPEST = 40;

let count = 0;
let x = new Float32Array();
let y = x;
let vx = x;
let vy = x;
let sources = new Uint32Array();
let targets = sources;
let pull = x;
let lean = x;
let heat = 0;
let held = -1;
let heldX = 0;
let heldY = 0;
let running = false;
let round = 0;
const tree = { children: new Int32Array(), mass: x, sumX: x, sumY: x, size: x, used: 0 };

onmessage = ({ data }) => {
  if (data.kind === "start") begin(data);
  else if (data.kind === "hold") {
    [held, heldX, heldY] = [data.index, data.x, data.y];
    warm();
  } else if (data.kind === "free") held = -1;
};

function begin({ size, links, seeds, turn }) {
  round = turn;
  count = size;
  [x, y, vx, vy] = Array.from({ length: 4 }, () => new Float32Array(count));
  for (let i = 0; i < count; i += 1) {
    // A spiral of seeds spreads evenly, and the same graph always begins the same way.
    const radius = LENGTH * 0.5 * Math.sqrt(i + 0.5);
    const angle = i * 2.399963;
    const known = seeds && !Number.isNaN(seeds[i * 2]);
    x[i] = known ? seeds[i * 2] : radius * Math.cos(angle);
    y[i] = known ? seeds[i * 2 + 1] : radius * Math.sin(angle);
  }
  connect(links);
  const cells = count * 8 + 64;
  Object.assign(tree, {
    children: new Int32Array(cells * 4),
    mass: new Float32Array(cells),
    sumX: new Float32Array(cells),
    sumY: new Float32Array(cells),
    size: new Float32Array(cells),
  });
  held = -1;
  heat = 1;
  if (!running) loop();
}

function connect(links) {
  const edges = links.length / 2;
  const degree = new Uint32Array(count);
  for (const end of links) degree[end] += 1;
  [sources, targets] = [new Uint32Array(edges), new Uint32Array(edges)];
  [pull, lean] = [new Float32Array(edges), new Float32Array(edges)];
  for (let e = 0; e < edges; e += 1) {
    const [a, b] = [links[e * 2], links[e * 2 + 1]];
    [sources[e], targets[e]] = [a, b];
    pull[e] = 1 / Math.min(degree[a], degree[b]);
    lean[e] = degree[a] / (degree[a] + degree[b]);
  }
}

function warm() {
  heat = Math.max(heat, WARM);
  if (!running) loop();
}

function loop() {
  const until = performance.now() + SLICE_MS;
  do step();
  while (heat > COLD && performance.now() < until);
  const places = new Float32Array(count * 2);
  for (let i = 0; i < count; i += 1) [places[i * 2], places[i * 2 + 1]] = [x[i], y[i]];
  running = heat > COLD || held >= 0;
  postMessage({ places, settled: !running, turn: round }, [places.buffer]);
  if (running) setTimeout(loop, 0);
}

function step() {
  heat += (0 - heat) * COOLING;
  if (held >= 0) heat = Math.max(heat, WARM);
  attract();
  grow();
  for (let i = 0; i < count; i += 1) repel(i);
  for (let i = 0; i < count; i += 1) {
    vx[i] = (vx[i] - x[i] * GRAVITY * heat) * FRICTION;
    vy[i] = (vy[i] - y[i] * GRAVITY * heat) * FRICTION;
    x[i] += vx[i];
    y[i] += vy[i];
  }
  if (held >= 0) {
    [x[held], y[held]] = [heldX, heldY];
    vx[held] = vy[held] = 0;
  }
}

function attract() {
  for (let e = 0; e < sources.length; e += 1) {
    const [a, b] = [sources[e], targets[e]];
    const dx = x[b] + vx[b] - x[a] - vx[a] || 0.01;
    const dy = y[b] + vy[b] - y[a] - vy[a] || 0.01;
    const distance = Math.sqrt(dx * dx + dy * dy);
    const force = ((distance - LENGTH) / distance) * heat * pull[e];
    vx[b] -= dx * force * lean[e];
    vy[b] -= dy * force * lean[e];
    vx[a] += dx * force * (1 - lean[e]);
    vy[a] += dy * force * (1 - lean[e]);
  }
}

function grow() {
  let reach = 1;
  for (let i = 0; i < count; i += 1) reach = Math.max(reach, Math.abs(x[i]), Math.abs(y[i]));
  tree.used = 0;
  cell(reach * 2 + 1);
  for (let i = 0; i < count; i += 1) insert(i);
  // Children come after their parents, so one pass backwards sums everything up.
  for (let c = tree.used - 1; c >= 0; c -= 1) {
    for (let q = 0; q < 4; q += 1) {
      const child = tree.children[c * 4 + q];
      if (child > 0) add(c, tree.mass[child], tree.sumX[child], tree.sumY[child]);
      else if (child < 0) add(c, 1, x[-child - 1], y[-child - 1]);
    }
  }
}

function cell(size) {
  const c = tree.used++;
  tree.children.fill(0, c * 4, c * 4 + 4);
  tree.mass[c] = tree.sumX[c] = tree.sumY[c] = 0;
  tree.size[c] = size;
  return c;
}

function add(c, mass, sumX, sumY) {
  tree.mass[c] += mass;
  tree.sumX[c] += sumX;
  tree.sumY[c] += sumY;
}

function insert(i) {
  let c = 0;
  let midX = 0;
  let midY = 0;
  for (let depth = 0; depth < DEEPEST; depth += 1) {
    const quarter = (x[i] >= midX ? 1 : 0) + (y[i] >= midY ? 2 : 0);
    const slot = c * 4 + quarter;
    const found = tree.children[slot];
    if (found === 0) {
      tree.children[slot] = -i - 1;
      return;
    }
    const half = tree.size[c] / 4;
    midX += quarter & 1 ? half : -half;
    midY += quarter & 2 ? half : -half;
    if (found > 0) {
      c = found;
      continue;
    }
    if (tree.used * 4 >= tree.children.length) return;
    const below = cell(tree.size[c] / 2);
    const other = -found - 1;
    tree.children[slot] = below;
    tree.children[below * 4 + (x[other] >= midX ? 1 : 0) + (y[other] >= midY ? 2 : 0)] = found;
    c = below;
  }
}

const stack = new Int32Array(512);

function repel(i) {
  let top = 0;
  stack[top++] = 0;
  while (top) {
    const c = stack[--top];
    for (let q = 0; q < 4; q += 1) {
      const child = tree.children[c * 4 + q];
      if (child === 0 || child === -i - 1) continue;
      const mass = child > 0 ? tree.mass[child] : 1;
      const dx = x[i] - (child > 0 ? tree.sumX[child] / mass : x[-child - 1]) || 0.01 * (i + 1);
      const dy = y[i] - (child > 0 ? tree.sumY[child] / mass : y[-child - 1]) || 0.01;
      const squared = Math.max(16, dx * dx + dy * dy);
      if (child > 0 && tree.size[child] * tree.size[child] > THETA_SQUARED * squared) {
        if (top < stack.length) stack[top++] = child;
        continue;
      }
      const force = (REPULSION * mass * heat) / squared;
      vx[i] += dx * force;
      vy[i] += dy * force;
    }
  }
}
