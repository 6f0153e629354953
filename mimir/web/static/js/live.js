// What other programs write arrives as events of the server.

import { show, h } from "./dom.js";

const PAUSE_MS = 250;
const RETRY_MS = 10_000;

// Browsers keep six connections to a host in all: tabs that nobody looks at must not hold them.
const UNSEEN_MS = 60_000;

/** Listen to the server and hand each change on, several at once as one; `mark` shows whether the line is open. */
export function listen(mark, changed) {
  let waiting = null;
  let source = null;
  let leaving = 0;
  const tell = (state, text) => {
    mark.className = `live ${state}`;
    show(mark, h("span", null, text));
    mark.title = text;
  };
  const connect = () => {
    source = new EventSource("/api/events");
    source.addEventListener("open", () => tell("on", "Live"));
    source.addEventListener("change", (event) => {
      const change = read(event.data);
      if (waiting) {
        waiting.entities = waiting.entities && change.entities && [...waiting.entities, ...change.entities];
        waiting.journal = change.journal;
        return;
      }
      waiting = change;
      setTimeout(() => {
        const all = waiting;
        waiting = null;
        changed(all);
      }, PAUSE_MS);
    });
    source.addEventListener("error", () => {
      tell("off", "Reconnecting");
      if (source?.readyState === EventSource.CLOSED) setTimeout(connect, RETRY_MS);
    });
  };
  const leave = () => {
    source?.close();
    source = null;
    tell("", "Paused");
  };
  addEventListener("pagehide", leave);
  document.addEventListener("visibilitychange", () => {
    clearTimeout(leaving);
    if (document.hidden) leaving = setTimeout(leave, UNSEEN_MS);
    else if (!source) {
      connect();
      changed({ entities: null });
    }
  });
  tell("", "Connecting");
  connect();
}

function read(data) {
  try {
    const change = JSON.parse(data) ?? {};
    return { journal: change.journal, entities: change.many ? null : change.entities };
  } catch {
    return {};
  }
}
