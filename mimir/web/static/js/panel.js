// One memory in full, beside whatever page it was opened from.

import { act, mayWrite } from "./actions.js";
import { entityPath, get } from "./api.js";
import { body, facts } from "./body.js";
import { bones, failure, h, show } from "./dom.js";
import { forgetDialog, supersedeDialog } from "./dialogs.js";
import { editForm } from "./edit.js";
import { arms, category, highlighted, isLive, marks, recalled } from "./entity.js";
import { icon } from "./icons.js";
import { linkList } from "./links.js";
import { address, change, parameters } from "./router.js";
import { versionList } from "./versions.js";

export class Panel {
  constructor(element) {
    this.element = element;
    this.id = null;
    this.entity = null;
    this.editing = false;
    addEventListener("mimir:recalled", () => this.explain());
    document.addEventListener("keydown", (event) => {
      if (event.key === "e" && this.entity && !this.editing && plainKey(event)) this.#edit(event);
    });
  }

  /** Show the memory that the address names, or nothing. */
  follow(id) {
    if (id === this.id) return;
    if (id && !this.id) this.from = document.activeElement;
    this.id = id;
    this.entity = null;
    this.editing = false;
    this.element.hidden = !id;
    document.body.classList.toggle("with-panel", Boolean(id));
    if (id) this.#load(true);
    else if (this.from?.isConnected) this.from.focus();
  }

  /** Leave the memory; what is being edited is asked about first. */
  close() {
    if (!this.id) return;
    if (this.editing && this.form?.isChanged() && !confirm("Leave without saving?")) return;
    change({ id: null });
  }

  /** Take in what has changed elsewhere: an open form stays as it is. */
  changed({ own, entities }) {
    if (!this.id || this.editing) return;
    if (own || !entities || entities.includes(this.id)) this.#refresh(own);
  }

  async #refresh(own) {
    const id = this.id;
    const fresh = await get(entityPath(id)).catch(() => null);
    if (!fresh || id !== this.id || this.editing || fresh.revision === this.entity?.revision) {
      if (fresh && own && id === this.id && !this.editing) this.#draw(fresh);
      return;
    }
    if (own || !this.entity) this.#draw(fresh);
    else this.#offer(fresh);
  }

  #offer(fresh) {
    show(
      this.hint,
      h("div.notice", null, h("p", null, "This memory has just been changed elsewhere."), h("button", { type: "button", onclick: () => this.#draw(fresh) }, "Show the change")),
    );
  }

  async #load(focus) {
    const id = this.id;
    show(this.element, h("div.panel-in", null, this.#closing(), bones(9)));
    this.element.scrollTop = 0;
    try {
      const entity = await get(entityPath(id));
      if (id !== this.id) return;
      this.#draw(entity);
    } catch (error) {
      if (id !== this.id) return;
      const gone = error.status === 404;
      const text = gone ? Object.assign(error, { hint: "It may have been erased." }) : error;
      show(this.element, h("div.panel-in", null, this.#closing(), failure(text, gone ? null : () => this.#load(true))));
    }
    if (focus) this.element.querySelector("h2")?.focus({ preventScroll: true });
  }

  #closing() {
    return h("button.plain.icon.close", { type: "button", "aria-label": "Close the memory", onclick: () => this.close() }, icon("close"));
  }

  #draw(entity) {
    this.entity = entity;
    this.editing = false;
    this.hint = h("div", { role: "status" });
    this.reasons = h("div");
    show(
      this.element,
      h(
        "div.panel-in",
        null,
        h("div.row", null, category(entity.category), marks(entity), h("span.grow"), this.#closing()),
        h("h2.key", { tabindex: "-1" }, entity.key),
        mayWrite() && this.#buttons(entity),
        this.hint,
        this.reasons,
        h("section", { "aria-label": "Text" }, body(entity.body_json)),
        entity.tags?.length ? tags(entity.tags) : null,
        section("About", facts(entity)),
        section("Links", linkList(entity)),
        section("History", versionList(entity)),
      ),
    );
    this.explain();
  }

  /** Tell why the memory was found, as soon as a search has found it. */
  explain() {
    const hit = location.pathname === "/search" && recalled.get(this.entity?.id);
    if (this.reasons) show(this.reasons, hit && why(hit));
  }

  #buttons(entity) {
    const button = (label, work, kind = "button") => h(kind, { type: "button", onclick: work }, label);
    return h(
      "div.row.actions",
      { role: "group", "aria-label": "Actions" },
      button("Edit", (event) => this.#edit(event)),
      button(entity.always_on ? "Unpin" : "Pin", () => this.#patch(entity, { always_on: !entity.always_on }, entity.always_on ? "Unpinned" : "Pinned")),
      isLive(entity) && button("Supersede…", () => supersedeDialog(entity)),
      isLive(entity)
        ? button("Forget…", () => forgetDialog(entity, (reason) => this.#act(entity, "forget", { reason }, "Forgotten")), "button.danger")
        : button("Restore", () => this.#act(entity, "restore", {}, "Restored")),
    );
  }

  #patch(entity, values, done) {
    return act(done, "PATCH", entityPath(entity.id), { revision: entity.revision, ...values }).catch((error) => this.#failed(error));
  }

  #act(entity, verb, values, done) {
    return act(done, "POST", entityPath(entity.id, verb), { revision: entity.revision, ...values }).catch((error) => this.#failed(error));
  }

  #failed(error) {
    // Nothing was written; what is stored now is shown before the reader decides again.
    if (error.current) this.#offer(error.current);
  }

  #edit(event) {
    if (!this.entity || !mayWrite()) return;
    event.preventDefault();
    this.editing = true;
    this.form = editForm(this.entity, (entity) => this.#edited(entity));
    show(
      this.element,
      h("div.panel-in", null, h("div.row", null, category(this.entity.category), h("span.grow"), this.#closing()), h("h2.key", { tabindex: "-1" }, this.entity.key), this.form.element),
    );
    this.form.focus();
  }

  #edited(entity) {
    this.#draw(entity ?? this.entity);
    this.element.querySelector("h2").focus({ preventScroll: true });
    this.element.scrollTop = 0;
  }
}

const plainKey = (event) =>
  !event.ctrlKey && !event.metaKey && !event.altKey && !event.target.closest("input, textarea, select, dialog, [contenteditable]");

const section = (title, ...content) => h("section.part", null, h("h3", null, title), content);

const tags = (names) =>
  h(
    "ul.row.tags",
    { "aria-label": "Tags" },
    names.map((name) => h("li", null, h("a.badge", { href: address("/memories", { tag: name }) }, name))),
  );

function why(hit) {
  const query = parameters().get("q");
  return h(
    "section.why",
    { "aria-label": "Why it was found" },
    h("h3", null, query ? `Found for “${query}”` : "Why it was found"),
    hit.evidence && h("blockquote", null, highlighted(hit.evidence, hit.spans)),
    h("div.row", null, h("span.badge.number", null, `Score ${Number(hit.score ?? 0).toFixed(2)}`), arms(hit.scores, hit.best)),
  );
}
