// The frame: navigation, one page at a time, the panel of the open memory.

import { takeBack, toast } from "./actions.js";
import { ahead, send, session, start } from "./api.js";
import { bones, failure, h, NARROW, select, show } from "./dom.js";
import { short, workspaceName } from "./format.js";
import { icon } from "./icons.js";
import { listen } from "./live.js";
import { address, change, go, interceptLinks, onRoute, parameters, workspace } from "./router.js";

const PAGES = {
  "/": ["Overview", "overview"],
  "/memories": ["Memories", "memories"],
  "/search": ["Search", "search"],
  "/graph": ["Graph", "graph"],
  "/timeline": ["Timeline", "timeline"],
  "/time": ["Time machine", "time"],
  "/state": ["State", "state"],
  "/maintenance": ["Maintenance", "maintenance"],
};
const THEMES = ["dark", "light", "system"];

const main = document.getElementById("main");
const nav = document.getElementById("nav");
let page = null;
let panel = null;
let path = null;
let shown = null;
let turn = 0;

async function begin() {
  show(main, h("div.page", null, bones(6)));
  // The page's module and what it asks for first come while the server counts.
  const early = load(pageOf(location.pathname)).then((module) => module?.first && ahead(...module.first(parameters())));
  try {
    await start();
  } catch (error) {
    show(main, h("div.page", null, failure(error, begin)));
    return;
  }
  const live = h("span.live");
  drawTop(live);
  interceptLinks();
  onRoute(route);
  addEventListener("mimir:acted", () => tellAll({ own: true }));
  document.addEventListener("keydown", onKey);
  matchMedia(NARROW).addEventListener("change", ({ matches }) => {
    for (const box of document.querySelectorAll(".filter-box")) box.open = !matches;
  });
  listen(live, tellAll);
  await route();
  await early;
  (window.requestIdleCallback ?? setTimeout)(() => preparePanel().catch(() => {}));
}

function tellAll(event) {
  page?.changed?.(event);
  panel?.changed(event);
}

function drawTop(live) {
  const menu = h(
    "button.plain.icon.menu",
    { type: "button", "aria-label": "Pages", "aria-controls": "nav", "aria-expanded": "false", onclick: () => toggleMenu() },
    icon("menu"),
  );
  const spaces = session.workspaces ?? [];
  const options = [["*", "All workspaces"], ...spaces.map((one) => [`=${one.workspace_hash}`, label(one)])];
  if (workspace() !== null && !spaces.some((one) => one.workspace_hash === workspace())) {
    options.push([`=${workspace()}`, workspaceName(workspace())]);
  }
  show(
    document.getElementById("top"),
    menu,
    h("a.brand", { href: "/", "aria-label": "Mimir" }, icon("brand"), h("span.name", null, "Mimir")),
    select(
      options,
      workspace() === null ? "*" : `=${workspace()}`,
      (value) => change({ workspace: value === "*" ? null : value.slice(1), id: null }),
      { "aria-label": "Workspace", id: "workspace" },
    ),
    h("span.grow"),
    session.read_only && h("span.badge", null, "Read only"),
    live,
    themeButton(),
    session.auth && signOut(),
  );
}

const label = (one) => `${workspaceName(one.workspace_hash)} (${short(one.memories)})`;

function signOut() {
  const leave = () => send("POST", "/logout").then(() => location.assign("/login"), (error) => toast(error.message, { bad: true }));
  return h("button.plain.icon", { type: "button", "aria-label": "Sign out", title: "Sign out", onclick: leave }, icon("leave"));
}

function themeButton() {
  const button = h("button.plain.icon", { type: "button", onclick: next });
  function draw() {
    const theme = localStorage.getItem("mimir.theme") ?? THEMES[0];
    button.setAttribute("aria-label", `Theme: ${theme}`);
    button.title = `Theme: ${theme}`;
    show(button, icon(theme));
  }
  function next() {
    const theme = localStorage.getItem("mimir.theme") ?? THEMES[0];
    localStorage.setItem("mimir.theme", THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length]);
    dispatchEvent(new Event("mimir:theme"));
    draw();
  }
  draw();
  return button;
}

function toggleMenu(open = !nav.classList.contains("open")) {
  nav.classList.toggle("open", open);
  document.querySelector(".menu")?.setAttribute("aria-expanded", String(open));
}

function drawNav() {
  const links = Object.entries(PAGES).map(([target, [title, name]]) =>
    h("a", { href: address(target), "aria-current": target === path ? "page" : null }, icon(name), title),
  );
  show(nav, links, h("p.foot", null, `Version ${session.version ?? ""}`));
}

const pageOf = (place) => (PAGES[place] ? place : "/");
const load = (wanted) => import(`./pages/${PAGES[wanted][1]}.js`).catch(() => null);

async function route() {
  toggleMenu(false);
  const wanted = pageOf(location.pathname);
  const key = `${wanted} ${workspace()}`;
  if (key === shown) {
    page?.update?.(parameters());
  } else {
    await draw(wanted, key);
  }
  if (!panel && parameters().has("id")) {
    await preparePanel().catch(() => toast("The memory could not be loaded. Is the server still running?", { bad: true }));
  }
  panel?.follow(parameters().get("id"));
}

/** Fetch what shows one memory: the first page does without. */
async function preparePanel() {
  const { Panel } = await import("./panel.js");
  panel ??= new Panel(document.getElementById("panel"));
}

async function draw(wanted, key) {
  const [title] = PAGES[wanted];
  const mine = ++turn;
  const moved = shown !== null;
  page?.leave?.();
  page = null;
  path = wanted;
  shown = key;
  drawNav();
  document.title = `${title} · Mimir`;
  show(main, h("div.page", null, bones(6)));
  main.scrollTop = 0;
  const module = await load(wanted);
  if (mine !== turn) return;
  const root = h("div.page");
  show(main, root);
  if (!module) {
    show(root, failure({ message: "This page could not be loaded.", hint: "Is the server still running?" }, () => location.reload()));
    return;
  }
  page = module.mount(root, parameters()) ?? {};
  if (moved && !root.contains(document.activeElement)) main.focus({ preventScroll: true });
}

function onKey(event) {
  if (event.key === "Escape" && !document.querySelector("dialog[open]")) {
    if (nav.classList.contains("open")) toggleMenu(false);
    else panel?.close();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, dialog")) return;
  if (event.key === "/") {
    event.preventDefault();
    if (location.pathname === "/search") document.querySelector("main input[type=search]")?.focus();
    else go("/search");
  } else if (event.key === "u") {
    takeBack();
  } else if (event.key === "?") {
    import("./keys.js").then(({ showKeys }) => showKeys());
  }
}

begin();
