// A list of any length: only the rows in view exist, further ones are fetched as they come near.

import { failure, h, show } from "./dom.js";

const AHEAD = 40;
const MARGIN = 12;

/**
 * A windowed table.
 *
 * `columns` are {name, label, sort}; `row(item)` returns the cells' contents in their order; `fetch(cursor)` returns
 * {items, next, total}. Rows are links that open a memory; arrows move between them.
 */
export class List {
  constructor({ label, columns, row, fetch, sort, onsort, scroller, blank, rowClass = () => "" }) {
    Object.assign(this, { columns, row, fetch, blank, scroller, rowClass });
    this.items = [];
    this.cursor = null;
    this.more = true;
    this.total = 0;
    this.active = 0;
    this.shown = new Map();
    this.turn = 0;
    this.rows = h("div.rows", { role: "rowgroup", onkeydown: (event) => this.#key(event), onfocusin: (event) => this.#focused(event) });
    this.foot = h("div.list-foot", { role: "status" });
    this.head = h("div.list-head", { role: "row" }, columns.map((column) => heading(column, sort, onsort)));
    this.table = h("div.list", { role: "table", "aria-label": label }, h("div.head-group", { role: "rowgroup" }, this.head), this.rows);
    this.element = h("div", null, this.table, this.foot);
    this.onScroll = () => this.#soon();
    scroller.addEventListener("scroll", this.onScroll, { passive: true });
    this.resized = new ResizeObserver(() => this.#soon());
    this.resized.observe(scroller);
  }

  /** Forget what was loaded and begin at the top. */
  async reload() {
    this.turn += 1;
    this.items = [];
    this.cursor = null;
    this.more = true;
    this.loading = false;
    this.active = 0;
    this.#clear();
    this.rows.style.height = "";
    this.table.setAttribute("aria-busy", "true");
    await this.#load();
  }

  /** Fetch what is at the top again and leave the reader's place alone. */
  async refresh() {
    if (this.loading) return;
    const mine = this.turn;
    const page = await this.fetch(null).catch(() => null);
    if (!page || mine !== this.turn) return;
    const seen = new Set(page.items.map((item) => item.id));
    const rest = this.items.slice(page.items.length).filter((item) => !seen.has(item.id));
    // Further pages were reached by a cursor that still holds; without them the fresh page is all there is.
    const whole = page.next === null || !rest.length;
    this.items = whole ? page.items : [...page.items, ...rest];
    if (whole) this.cursor = page.next ?? null;
    this.more = this.cursor !== null;
    this.#count(page);
    this.#redraw();
  }

  /** Put changed items in the place of those with the same id, without moving anything. */
  replace(items) {
    const byId = new Map(items.map((item) => [item.id, item]));
    this.items = this.items.map((item) => byId.get(item.id) ?? item);
    this.#redraw();
  }

  leave() {
    this.turn += 1;
    this.scroller.removeEventListener("scroll", this.onScroll);
    this.resized.disconnect();
  }

  async #load() {
    if (this.loading || !this.more) return;
    this.loading = true;
    const mine = this.turn;
    if (!this.items.length) this.#bones();
    try {
      const page = await this.fetch(this.cursor);
      if (mine !== this.turn) return;
      if (!this.items.length) this.#clear();
      this.items.push(...page.items);
      this.cursor = page.next ?? null;
      this.more = this.cursor !== null;
      this.#count(page);
    } catch (error) {
      if (mine !== this.turn || error.name === "AbortError") return;
      this.more = false;
      if (!this.items.length) this.#clear();
      show(this.foot, failure(error, () => ((this.more = true), show(this.foot), this.#load())));
    } finally {
      if (mine === this.turn) this.loading = false;
    }
    this.#draw();
  }

  #count(page) {
    this.total = page.total ?? this.items.length;
    this.table.setAttribute("aria-rowcount", String(this.total + 1));
    this.table.setAttribute("aria-busy", "false");
    this.table.hidden = !this.items.length;
    show(this.foot, this.items.length ? null : this.blank());
  }

  #clear() {
    this.rows.replaceChildren();
    this.shown.clear();
  }

  #bones() {
    const lines = Array.from({ length: 8 }, () => h("div.list-row.waiting", { role: "presentation" }, h("span.bone"), h("span.bone")));
    show(this.rows, lines);
  }

  #redraw() {
    const focused = this.rows.contains(document.activeElement);
    this.active = Math.min(this.active, Math.max(0, this.items.length - 1));
    this.#clear();
    this.#draw();
    if (focused && this.items.length) this.#focus(this.active);
  }

  #soon() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.#draw();
    });
  }

  #draw() {
    if (!this.items.length) return;
    const height = this.#height();
    if (height !== this.drawn) this.#clear();
    this.drawn = height;
    this.rows.style.height = `${this.items.length * height}px`;
    const above = this.scroller.getBoundingClientRect().top - this.rows.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(above / height) - MARGIN);
    const last = Math.min(this.items.length - 1, Math.ceil((above + this.scroller.clientHeight) / height) + MARGIN);
    for (const [index, element] of this.shown) {
      // The row that has the focus stays, or the keyboard would lose its place.
      if ((index < first || index > last) && index !== this.active) {
        element.remove();
        this.shown.delete(index);
      }
    }
    for (let index = first; index <= last; index += 1) this.#put(index, height);
    this.#put(Math.min(this.active, this.items.length - 1), height);
    if (last + AHEAD > this.items.length) this.#load();
  }

  #height() {
    return Number.parseFloat(getComputedStyle(this.table).getPropertyValue("--row")) || 56;
  }

  #put(index, height) {
    if (this.shown.has(index)) return;
    const item = this.items[index];
    const cells = this.row(item);
    const element = h(
      "div.list-row",
      { role: "row", "aria-rowindex": index + 2, data: { index }, class: this.rowClass(item) },
      this.columns.map((column, place) => h(`div.cell.${column.name}`, { role: "cell" }, cells[place])),
    );
    element.style.top = `${index * height}px`;
    element.addEventListener("click", (event) => {
      if (!event.target.closest("a, button, input") && !String(getSelection())) element.querySelector("a")?.click();
    });
    const link = element.querySelector("a");
    if (link) link.tabIndex = index === this.active ? 0 : -1;
    const after = [...this.rows.children].find((row) => Number(row.dataset.index) > index);
    this.rows.insertBefore(element, after ?? null);
    this.shown.set(index, element);
  }

  #focused(event) {
    const row = event.target.closest(".list-row");
    if (row?.dataset.index) this.#activate(Number(row.dataset.index));
  }

  #activate(index) {
    const link = (at) => this.shown.get(at)?.querySelector("a");
    const former = link(this.active);
    if (former) former.tabIndex = -1;
    this.active = index;
    const now = link(index);
    if (now) now.tabIndex = 0;
  }

  #key(event) {
    const page = Math.max(1, Math.floor(this.scroller.clientHeight / this.#height()) - 2);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    const step = steps[event.key];
    if (step === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.#focus(Math.min(this.items.length - 1, Math.max(0, this.active + step)));
  }

  #focus(index) {
    const height = this.#height();
    this.#put(index, height);
    this.#activate(index);
    const row = this.shown.get(index);
    row.querySelector("a")?.focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
    this.#draw();
  }
}

function heading(column, sort, onsort) {
  const chosen = column.sort && sort?.name === column.sort;
  const order = chosen ? (sort.order === "asc" ? "ascending" : "descending") : null;
  const next = chosen && sort.order === "desc" ? "asc" : "desc";
  return h(
    `div.cell.${column.name}`,
    { role: "columnheader", "aria-sort": order },
    column.sort
      ? h("button.link", { type: "button", onclick: () => onsort(column.sort, next) }, column.label, chosen && h("span", { "aria-hidden": "true" }, sort.order === "asc" ? " ↑" : " ↓"))
      : column.label,
  );
}
