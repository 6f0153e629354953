// What the reader changes, what it is called afterwards, and the way back.

import { send, session } from "./api.js";
import { h } from "./dom.js";

const TOAST_MS = 8_000;

/** Say something in the corner for a while; `undo` offers to take the last action back. */
export function toast(text, { bad = false, undo = false } = {}) {
  const box = h(
    bad ? "div.toast.bad" : "div.toast",
    null,
    h("p", null, text),
    undo && h("button", { type: "button", onclick: () => takeBack(box) }, "Undo"),
    h("button.plain", { type: "button", "aria-label": "Dismiss", onclick: () => box.remove() }, "✕"),
  );
  const corner = document.getElementById("toasts");
  // Only the last action can be undone, so no older toast may offer it.
  if (undo) corner.replaceChildren();
  corner.append(box);
  const leave = () => (box.matches(":hover, :focus-within") ? setTimeout(leave, TOAST_MS) : box.remove());
  setTimeout(leave, TOAST_MS);
}

/** Change something and say so; return the result. A failure is shown and thrown. */
export async function act(done, method, path, body) {
  try {
    const result = await send(method, path, body);
    toast(done, { undo: true });
    dispatchEvent(new Event("mimir:acted"));
    return result;
  } catch (error) {
    if (error.status !== 409 || !error.current) toast([error.message, error.hint].filter(Boolean).join(" "), { bad: true });
    throw error;
  }
}

/** Undo the last action of this browser. */
export async function takeBack(box) {
  box?.remove();
  try {
    const { undone } = await send("POST", "/api/undo");
    toast(`Undone: ${undone}`);
    dispatchEvent(new Event("mimir:acted"));
  } catch (error) {
    toast(error.status === 404 ? "There is nothing to undo." : error.message, { bad: true });
  }
}

/** Tell whether this server lets the reader change anything. */
export const mayWrite = () => !session.read_only;
