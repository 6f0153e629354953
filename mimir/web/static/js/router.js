// Where the reader is: the address holds the page, its filters, the workspace and the open memory.

/** Return the parameters of the address. */
export const parameters = () => new URLSearchParams(location.search);

/** Return the chosen workspace: null is all of them, empty the global one. */
export const workspace = () => parameters().get("workspace");

/** Return the address of a page; the workspace goes along. */
export function address(path, values = {}) {
  return withParameters(path, { workspace: workspace(), ...values }, new URLSearchParams());
}

/** Go to a page. */
export function go(path, values = {}) {
  history.pushState(null, "", address(path, values));
  announce();
}

/** Change parameters of this page; null takes one away. Typing replaces the entry of the history. */
export function change(values, { replace = false } = {}) {
  const target = withParameters(location.pathname, values, parameters());
  history[replace ? "replaceState" : "pushState"](null, "", target);
  announce();
}

/** Open a memory beside the page. */
export const open = (id) => change({ id });

/** Call `work` whenever the address has changed. */
export function onRoute(work) {
  addEventListener("mimir:route", work);
  addEventListener("popstate", work);
}

/** Follow the links of these pages without loading them anew. */
export function interceptLinks() {
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[href]");
    if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
    if (link.origin !== location.origin || link.target || /^\/(log(in|out)|static|api)\b/.test(link.pathname)) return;
    if (link.hash && link.pathname === location.pathname) return;
    event.preventDefault();
    if (link.dataset.open) open(link.dataset.open);
    else {
      history.pushState(null, "", link.href);
      announce();
    }
  });
}

function withParameters(path, values, query) {
  for (const [name, value] of Object.entries(values)) {
    if (value === null || value === undefined) query.delete(name);
    else query.set(name, value);
  }
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

const announce = () => dispatchEvent(new Event("mimir:route"));
