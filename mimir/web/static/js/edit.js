// Changing a memory. A change made meanwhile by another is shown beside this one and never overwritten unseen.

import { act } from "./actions.js";
import { entityPath } from "./api.js";
import { difference } from "./diff.js";
import { check, field, h, select, show } from "./dom.js";
import { typeOf } from "./entity.js";
import { fromInput, LAYERS, readBody, textField, toInput } from "./format.js";

/** Return a form for a memory; `done` gets what is stored afterwards, or nothing when the reader gave up. */
export function editForm(entity, done) {
  let base = entity;
  const fields = controls(entity);
  const message = h("div", { role: "alert" });
  const save = h("button.primary", null, "Save");
  const element = h(
    "form.stack",
    { onsubmit: submit, onkeydown: (event) => event.key === "Enter" && (event.ctrlKey || event.metaKey) && element.requestSubmit() },
    message,
    fields.element,
    h("div.ends", null, h("button", { type: "button", onclick: () => done() }, "Cancel"), save),
  );

  async function submit(event) {
    event.preventDefault();
    show(message);
    const { values, wrong } = fields.read(base);
    if (wrong) return show(message, h("p.notice.bad", null, wrong));
    if (!Object.keys(values).length) return done();
    save.disabled = true;
    try {
      return done(await act("Saved", "PATCH", entityPath(entity.id), { revision: base.revision, ...values }));
    } catch (error) {
      if (error.status === 409 && error.current) return show(message, conflict(error.current));
      return show(message, h("p.notice.bad", null, h("span", null, h("strong", null, error.message), " ", error.hint)));
    } finally {
      save.disabled = false;
    }
  }

  function conflict(current) {
    const both = h(
      "section.conflict",
      { "aria-label": "Two versions" },
      h("p", null, h("strong", null, "Somebody has changed this memory while you were editing."), " Nothing was overwritten."),
      h("p.small.quiet", null, "Red is what is stored now, green is yours."),
      difference(plain(current.body_json), fields.text(), ["Stored now", "Yours"]),
      h(
        "div.row",
        null,
        h("button", { type: "button", onclick: () => done(current) }, "Take what is stored"),
        h(
          "button",
          {
            type: "button",
            onclick: () => {
              base = current;
              show(message, h("p.notice", null, "Your text is unchanged. Saving now replaces what the other wrote; it stays in history."));
              fields.focus();
            },
          },
          "Keep editing mine",
        ),
      ),
    );
    queueMicrotask(() => both.scrollIntoView({ block: "nearest" }));
    return both;
  }

  return { element, focus: fields.focus, isChanged: () => Object.keys(fields.read(base).values).length > 0 };
}

/** Return a form for a memory that does not exist yet. */
export function newForm(categories, done) {
  const fields = controls({ body_json: '{"content":""}', tags: [], layer: "buffer", certainty: 0.5, entity_type: "insight" });
  const name = h("input", { type: "text", required: true, list: "category-names", autofocus: true });
  const key = h("input", { type: "text", required: true });
  const message = h("div", { role: "alert" });
  const element = h(
    "form.stack",
    {
      onsubmit: async (event) => {
        event.preventDefault();
        const { all, wrong } = fields.read({});
        if (wrong) return show(message, h("p.notice.bad", null, wrong));
        try {
          return done(await act("Remembered", "POST", "/api/entities", { category: name.value.trim(), key: key.value.trim(), ...all }));
        } catch (error) {
          return show(message, h("p.notice.bad", null, h("span", null, h("strong", null, error.message), " ", error.hint)));
        }
      },
    },
    message,
    h("datalist", { id: "category-names" }, categories.map((category) => h("option", { value: category }))),
    h("div.pair", null, field("Category", name), field("Key", key)),
    fields.element,
    h("div.ends", null, h("button", { type: "button", onclick: () => done() }, "Cancel"), h("button.primary", null, "Remember")),
  );
  return element;
}

const plain = (json) => {
  const body = readBody(json);
  const named = textField(body);
  return named ? body[named] : JSON.stringify(body, null, 2);
};

function controls(entity) {
  const body = readBody(entity.body_json);
  const named = textField(body);
  const only = named !== null && Object.keys(body).length === 1;
  let asJson = named === null;
  const text = h("textarea", { value: asJson ? JSON.stringify(body, null, 2) : body[named], rows: 10, spellcheck: "true" });
  const toggle = h("button.link.small", { type: "button", onclick: flip });
  const tags = h("input", { type: "text", value: (entity.tags ?? []).join(", ") });
  const type = h("input", { type: "text", value: typeOf(entity) });
  const layer = select(LAYERS, entity.layer, () => {}, {});
  const certainty = h("input", { type: "number", min: 0, max: 1, step: "any", value: entity.certainty ?? 0.5, required: true });
  const from = h("input", { type: "datetime-local", step: 1, value: toInput(entity.valid_from_unix_ms) });
  const to = h("input", { type: "datetime-local", step: 1, value: toInput(entity.valid_to_unix_ms) });
  const pin = check("Pinned: always in context, never archived by a pass", entity.always_on, () => {});
  const verified = check("Verified", entity.verified, () => {});
  const box = (label) => label.querySelector("input").checked;
  label();

  function label() {
    toggle.textContent = asJson ? "Edit only the text" : "Edit as JSON";
    toggle.hidden = named === null;
    text.classList.toggle("mono", asJson);
  }

  function flip() {
    try {
      const value = current();
      if (asJson && typeof value?.[named] !== "string") throw new SyntaxError(`"${named}" must hold a text.`);
      text.value = asJson ? value[named] : JSON.stringify(value, null, 2);
      Object.assign(body, value);
      asJson = !asJson;
      text.setCustomValidity("");
    } catch (error) {
      text.setCustomValidity(error.message);
      text.reportValidity();
    }
    label();
  }

  const current = () => (asJson ? JSON.parse(text.value) : { ...body, [named]: text.value });

  function read(base) {
    let value;
    try {
      value = current();
    } catch (error) {
      return { values: { body: text.value }, wrong: `The body is no JSON: ${error.message}` };
    }
    const all = {
      body: value,
      tags: tags.value.split(",").map((tag) => tag.trim()).filter(Boolean),
      type: type.value.trim(),
      layer: layer.value,
      certainty: Number(certainty.value),
      always_on: box(pin),
      verified: box(verified),
      valid_from_unix_ms: instantOf(from, base.valid_from_unix_ms),
      valid_to_unix_ms: instantOf(to, base.valid_to_unix_ms),
    };
    const former = { ...base, body: readBody(base.body_json ?? "null"), type: typeOf(base), valid_from_unix_ms: base.valid_from_unix_ms ?? null, valid_to_unix_ms: base.valid_to_unix_ms ?? null };
    const values = Object.fromEntries(Object.entries(all).filter(([name, one]) => JSON.stringify(one) !== JSON.stringify(former[name] ?? null)));
    return { values, all };
  }

  const element = h(
    "div.stack",
    null,
    h("div.field", null, h("div.row", null, h("label.grow", { for: "body-text" }, only || named ? "Text" : "Body"), toggle), text),
    field("Tags, separated by commas", tags),
    h("div.pair", null, field("Layer", layer), field("Type", type), field("Certainty, 0 to 1", certainty)),
    h("div.pair", null, field("Holds from", from), field("Holds until", to)),
    h("div.stack.tight", null, pin, verified),
  );
  text.id = "body-text";
  return { element, read, focus: () => text.focus(), text: () => text.value };
}

/** A control shows whole seconds: one that nobody touched keeps the exact instant. */
function instantOf(control, former) {
  return control.value === toInput(former) ? (former ?? null) : fromInput(control.value);
}
