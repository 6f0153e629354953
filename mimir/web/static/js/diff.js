// What changed between two texts: by line, and within a changed line by word.

import { h } from "./dom.js";

const MOST_CELLS = 4_000_000;
const KEPT_LINES = 2;

/** Return the difference as elements; `names` are said to who cannot see the colours. */
export function difference(before, after, names = ["Removed", "Added"]) {
  const rows = [];
  for (const step of changes(before.split("\n"), after.split("\n"))) {
    if (step.kind === "same") rows.push(...same(step.lines));
    else rows.push(...changed(step, names));
  }
  if (!rows.length) return h("p.quiet.small", null, "The text is the same.");
  return h("div.diff", { role: "group", "aria-label": "Difference" }, rows);
}

/** Return [{kind: "same", lines} | {kind: "changed", removed, added}], in order. */
export function changes(before, after) {
  let head = 0;
  while (head < before.length && head < after.length && before[head] === after[head]) head += 1;
  let tail = 0;
  while (
    tail < before.length - head &&
    tail < after.length - head &&
    before[before.length - 1 - tail] === after[after.length - 1 - tail]
  ) {
    tail += 1;
  }
  const middle = compare(before.slice(head, before.length - tail), after.slice(head, after.length - tail));
  const steps = [
    { kind: "same", lines: before.slice(0, head) },
    ...middle,
    { kind: "same", lines: before.slice(before.length - tail) },
  ];
  return steps.filter((step) => step.kind !== "same" || step.lines.length);
}

function compare(left, right) {
  if (!left.length && !right.length) return [];
  if (!left.length || !right.length || left.length * right.length > MOST_CELLS) {
    return [{ kind: "changed", removed: left, added: right }];
  }
  const width = right.length + 1;
  const lengths = new Uint32Array((left.length + 1) * width);
  for (let i = left.length - 1; i >= 0; i -= 1) {
    for (let j = right.length - 1; j >= 0; j -= 1) {
      lengths[i * width + j] =
        left[i] === right[j]
          ? lengths[(i + 1) * width + j + 1] + 1
          : Math.max(lengths[(i + 1) * width + j], lengths[i * width + j + 1]);
    }
  }
  return walk(left, right, lengths, width);
}

function walk(left, right, lengths, width) {
  const steps = [];
  const last = (kind, fresh) => {
    if (steps.at(-1)?.kind !== kind) steps.push(fresh);
    return steps.at(-1);
  };
  let i = 0;
  let j = 0;
  while (i < left.length || j < right.length) {
    if (i < left.length && j < right.length && left[i] === right[j]) {
      last("same", { kind: "same", lines: [] }).lines.push(left[i]);
      i += 1;
      j += 1;
      continue;
    }
    const step = last("changed", { kind: "changed", removed: [], added: [] });
    const remove = j >= right.length || (i < left.length && lengths[(i + 1) * width + j] >= lengths[i * width + j + 1]);
    if (remove) step.removed.push(left[i++]);
    else step.added.push(right[j++]);
  }
  return steps;
}

function same(lines) {
  if (lines.length <= KEPT_LINES * 2 + 1) return lines.map((line) => h("div.kept", null, line || " "));
  const left = lines.length - KEPT_LINES * 2;
  return [
    ...lines.slice(0, KEPT_LINES).map((line) => h("div.kept", null, line || " ")),
    h("div.cut", null, `${left} lines are the same`),
    ...lines.slice(-KEPT_LINES).map((line) => h("div.kept", null, line || " ")),
  ];
}

function changed({ removed, added }, names) {
  if (removed.length !== added.length) {
    return [
      ...removed.map((line) => sided("removed", names[0], [line])),
      ...added.map((line) => sided("added", names[1], [line])),
    ];
  }
  const pairs = removed.map((line, index) => byWord(line, added[index]));
  return [
    ...pairs.map(([before]) => sided("removed", names[0], before)),
    ...pairs.map(([, after]) => sided("added", names[1], after)),
  ];
}

function byWord(before, after) {
  const words = (line) => line.match(/\s+|[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_]/gu) ?? [];
  const steps = changes(words(before), words(after));
  const side = (name, tag) =>
    steps.map((step) => (step.kind === "same" ? step.lines.join("") : step[name].length ? h(tag, null, step[name].join("")) : null));
  return [side("removed", "del"), side("added", "ins")];
}

const sided = (kind, name, content) => h(`div.${kind}`, null, h("span.unseen", null, `${name}: `), content);
