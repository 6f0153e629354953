// A small part of Markdown, built as elements: no markup of a memory is ever parsed as HTML, no image is fetched.

import { h } from "./dom.js";

const MOST = 200_000;
const DEEPEST = 6;
const INLINE =
  /(`+)([^`]+?)\1|\*\*(?=\S)([^*]+?)\*\*|__(?=\S)([^_]+?)__|\*(?=[^\s*])([^*\n]+?)\*|(?<![\p{L}\p{N}_])_(?=[^\s_])([^_\n]+?)_(?![\p{L}\p{N}])|~~(?=\S)([^~]+?)~~|!\[([^\]\n]*)\]\(([^()\s]*)\)|\[([^\]\n]+)\]\(([^()\s]+)\)|\[\[([^\]|\n]+)(?:\|([^\]\n]+))?\]\]|\b(https?:\/\/[^\s<>"')\]]+)/gu;

/** Return a text as elements. */
export function markdown(text) {
  const lines = text.slice(0, MOST).replace(/\r\n?/g, "\n").split("\n");
  const parts = blocks(lines, 0);
  if (text.length > MOST) parts.push(h("p.quiet", null, "The rest of this text is not shown."));
  return h("div.prose", null, parts);
}

function blocks(lines, depth) {
  const parts = [];
  let at = 0;
  while (at < lines.length) {
    const [part, next] = block(lines, at, depth);
    if (part) parts.push(part);
    at = next;
  }
  return parts;
}

function block(lines, at, depth) {
  const line = lines[at];
  if (!line.trim()) return [null, at + 1];
  const fence = /^ {0,3}(```+|~~~+)/.exec(line);
  if (fence) return fenced(lines, at, fence[1]);
  const heading = /^ {0,3}(#{1,6})\s+(.*?)\s*#*$/.exec(line);
  if (heading) return [h(`h${Math.min(6, heading[1].length + 2)}`, null, inline(heading[2])), at + 1];
  if (/^ {0,3}([-*_])(\s*\1){2,}\s*$/.test(line)) return [h("hr"), at + 1];
  if (/^ {0,3}>/.test(line) && depth < DEEPEST) {
    const end = stretch(lines, at, (other) => /^ {0,3}>/.test(other));
    const inner = lines.slice(at, end).map((other) => other.replace(/^ {0,3}> ?/, ""));
    return [h("blockquote", null, blocks(inner, depth + 1)), end];
  }
  if (marker(line) && depth < DEEPEST) return list(lines, at, depth);
  if (line.includes("|") && /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)+\|?\s*$/.test(lines[at + 1] ?? "")) return table(lines, at);
  const end = Math.max(at + 1, stretch(lines, at, isPlain));
  return [h("p", null, lines.slice(at, end).flatMap((other, index) => [index ? h("br") : null, ...inline(other.trim())])), end];
}

const isPlain = (line) => line.trim() && !/^ {0,3}(```|~~~|#{1,6}\s|>)/.test(line) && !marker(line);

function marker(line) {
  return /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/.exec(line);
}

function stretch(lines, from, belongs) {
  let end = from;
  while (end < lines.length && belongs(lines[end])) end += 1;
  return end;
}

function fenced(lines, at, fence) {
  const closing = stretch(lines, at + 1, (line) => !line.trimStart().startsWith(fence));
  const code = lines.slice(at + 1, closing).join("\n");
  return [h("pre", { tabindex: "0" }, h("code", null, code)), closing + 1];
}

function list(lines, at, depth) {
  const [, indent, sign] = marker(lines[at]);
  const ordered = /\d/.test(sign);
  const items = [];
  let here = at;
  while (here < lines.length) {
    const found = marker(lines[here]);
    if (!found || found[1].length !== indent.length || /\d/.test(found[2]) !== ordered) break;
    const end = stretch(lines, here + 1, (line) => line.trim() && /^\s*/.exec(line)[0].length > indent.length);
    const inner = lines.slice(here + 1, end);
    const left = Math.min(...inner.map((line) => /^\s*/.exec(line)[0].length));
    items.push(h("li", null, inline(found[3]), inner.length ? blocks(inner.map((line) => line.slice(left)), depth + 1) : null));
    here = end;
    while (here < lines.length && !lines[here].trim() && marker(lines[here + 1] ?? "")) here += 1;
  }
  return [h(ordered ? "ol" : "ul", ordered ? { start: Number.parseInt(sign, 10) } : null, items), here];
}

function table(lines, at) {
  const cells = (line) => line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim());
  const end = stretch(lines, at + 2, (line) => line.includes("|"));
  const row = (line, tag) => h("tr", null, cells(line).map((cell) => h(tag, null, inline(cell))));
  const body = lines.slice(at + 2, end).map((line) => row(line, "td"));
  return [
    h("div.table-wide", { tabindex: "0" }, h("table.plain", null, h("thead", null, row(lines[at], "th")), h("tbody", null, body))),
    end,
  ];
}

function inline(text) {
  const parts = [];
  let from = 0;
  for (const match of text.matchAll(INLINE)) {
    if (match.index > from) parts.push(text.slice(from, match.index));
    parts.push(piece(match));
    from = match.index + match[0].length;
  }
  if (from < text.length) parts.push(text.slice(from));
  return parts;
}

function piece([all, , code, strong, strong2, em, em2, struck, alt, source, words, target, note, alias, plain]) {
  if (code !== undefined) return h("code", null, code);
  if (strong ?? strong2) return h("strong", null, strong ?? strong2);
  if (em ?? em2) return h("em", null, em ?? em2);
  if (struck) return h("del", null, struck);
  if (source !== undefined) return link(source, alt || source);
  if (target) return link(target, words);
  if (note) return h("span.mono", null, alias ?? note);
  return plain ? link(plain, plain) : all;
}

/** A link leads out only on a click, and only to addresses that cannot run anything. */
function link(target, words) {
  if (!/^(https?:|mailto:)/i.test(target)) return h("span", null, words);
  return h("a", { href: target, target: "_blank", rel: "noopener noreferrer" }, words);
}
