// How numbers, times and the words of a memory read.

import { h } from "./dom.js";

// The browser's own formatters cost the first of them tens of milliseconds: each is made when it is first needed, and a
// table of memories needs none.
const MOMENT = lazy(() => new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short" }));
const DAY = lazy(() => new Intl.DateTimeFormat("en", { dateStyle: "full" }));
const DAY_SHORT = lazy(() => new Intl.DateTimeFormat("en", { day: "numeric", month: "short" }));
const CLOCK = lazy(() => new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" }));
const SIZES = [["B", 1e9], ["M", 1e6], ["K", 1e3]];
const STEPS = [["yr.", 31_536_000], ["mo.", 2_592_000], ["day", 86_400], ["hr.", 3_600], ["min.", 60]];

export const LAYERS = [["buffer", "Episodic"], ["working", "Semantic"], ["core", "World"]];
export const MODES = [["hybrid", "Both"], ["fts5", "Words"], ["dense", "Meaning"]];

export const whole = (value) => String(Math.round((value ?? 0) * 1000) / 1000).replace(/\B(?<!\.\d*)(?=(\d{3})+(?!\d))/g, ",");
export const percent = (value) => `${Math.round((value ?? 0) * 100)} %`;
export const moment = (ms) => MOMENT().format(ms);
export const day = (ms) => DAY().format(ms);
export const dayShort = (ms) => DAY_SHORT().format(ms);
export const clock = (ms) => CLOCK().format(ms);
export const layerName = (layer) => LAYERS.find(([name]) => name === layer)?.[1] ?? layer;
export const workspaceName = (hash) => (hash === "" ? "Global" : hash);
export const plural = (count, one, many = `${one}s`) => `${whole(count)} ${count === 1 ? one : many}`;

/** Return a count in few characters: 100K for a hundred thousand. */
export function short(count) {
  const [unit, size] = (count >= 10_000 && SIZES.find(([, least]) => count >= least)) || ["", 1];
  return `${whole(Math.round(((count ?? 0) / size) * 10) / 10)}${unit}`;
}

/** Return a size in bytes as people read it. */
export function bytes(count) {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let value = count ?? 0;
  let unit = 0;
  for (; value >= 1000 && unit < units.length - 1; unit += 1) value /= 1000;
  return `${unit && value < 100 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/** Return how long ago an instant was, or in how long it will be. */
export function ago(ms) {
  const seconds = (Date.now() - ms) / 1000;
  const step = STEPS.find(([, length]) => Math.abs(seconds) >= length);
  if (!step) return "just now";
  const count = Math.floor(Math.abs(seconds) / step[1]);
  const words = `${count} ${step[0]}${step[0] === "day" && count > 1 ? "s" : ""}`;
  return seconds > 0 ? `${words} ago` : `in ${words}`;
}

/** Return an instant as an element: relative for people, exact in the title once somebody points at it. */
export function instant(ms, words = ago) {
  if (!ms) return h("span.quiet", null, "never");
  return h("time", { datetime: new Date(ms).toISOString(), onpointerenter: ({ target }) => (target.title = moment(ms)) }, words(ms));
}

/** Return an instant as a datetime-local control writes it, in local time. */
export function toInput(ms) {
  if (!ms) return "";
  const offset = new Date(ms).getTimezoneOffset() * 60_000;
  return new Date(ms - offset).toISOString().slice(0, 19);
}

/** Return the instant in a datetime-local control, or null when it is empty. */
export const fromInput = (text) => (text ? new Date(text).getTime() : null);

/** Return a body as a value; one that is no JSON is a text. */
export function readBody(json) {
  try {
    return JSON.parse(json);
  } catch {
    return json ?? "";
  }
}

/** Return the name of the body's field that is its text, or null. */
export function textField(body) {
  if (!body || typeof body !== "object" || Array.isArray(body)) return null;
  return ["content", "text", "summary"].find((name) => typeof body[name] === "string") ?? null;
}

/** Return the words of a body in one line, for lists. */
export function summary(json, most = 240) {
  const body = readBody(json);
  const named = textField(body);
  // A list cuts long bodies, which are no JSON then.
  const text = typeof body === "string" ? body.replace(/^\{"\w+":\s*"/, "") : named ? body[named] : flat(body);
  return text.slice(0, most * 2).replace(/\s+/g, " ").trim().slice(0, most);
}

function flat(value) {
  if (value === null || typeof value !== "object") return String(value ?? "");
  return Object.entries(value)
    .map(([key, part]) => (Array.isArray(value) ? flat(part) : `${key}: ${flat(part)}`))
    .join(", ");
}

function lazy(make) {
  let made = null;
  return () => (made ??= make());
}
