// Elements are built, never parsed: whatever a memory holds enters a page as text.

const SVG = "http://www.w3.org/2000/svg";

/** Screens on which there is no room for everything at once; shell.css says the same. */
export const NARROW = "(max-width: 760px)";

/** Return an element; `tag` may carry classes ("p.quiet"). Functions listen, true is an empty attribute, null is none. */
export function h(tag, props, ...children) {
  const [name, ...classes] = tag.split(".");
  return fill(document.createElement(name), classes, props, children);
}

/** Return an SVG element, built the same way. */
export function svg(tag, props, ...children) {
  const [name, ...classes] = tag.split(".");
  return fill(document.createElementNS(SVG, name), classes, props, children);
}

function fill(element, classes, props, children) {
  if (classes.length) element.classList.add(...classes);
  for (const [key, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(key.slice(2), value);
    else if (key === "class") element.classList.add(...value.split(" ").filter(Boolean));
    else if (key === "data") Object.assign(element.dataset, value);
    else if (key === "value") element.value = value;
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  append(element, children);
  // A select has its options only now.
  if (props?.value !== undefined && element.localName === "select") element.value = props.value;
  return element;
}

function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) element.append(child);
  }
}

/** Put `children` in place of what an element holds, and return it. */
export function show(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

/** Return a field: a control under its label. */
export function field(label, control, props) {
  return h("label.field", props, h("span", null, label), control);
}

/** Return a select of [value, label] pairs. */
export function select(options, value, onchange, props) {
  return h(
    "select",
    { ...props, value, onchange: (event) => onchange(event.target.value) },
    options.map(([option, label]) => h("option", { value: option }, label)),
  );
}

/** Return a group of radio buttons drawn as one control. */
export function segments(legend, name, options, value, onchange) {
  const parts = options.map(([option, label]) =>
    h(
      "label",
      null,
      h("input", { type: "radio", name, value: option, checked: option === value, onchange: () => onchange(option) }),
      h("span", null, label),
    ),
  );
  return h("fieldset", null, h("legend.unseen", null, legend), h("div.segments", null, parts));
}

/** Return a box to tick. */
export function check(label, checked, onchange, props) {
  const box = h("input", { type: "checkbox", checked, ...props, onchange: (event) => onchange(event.target.checked) });
  return h("label.check", null, box, label);
}

/** Return the filters of a page; on a narrow screen they are folded away at first. */
export function filterBox(...fields) {
  const box = h("details.filter-box", { open: !matchMedia(NARROW).matches }, h("summary", null, "Filters"));
  box.append(h("div.filters", { role: "group", "aria-label": "Filters" }, fields));
  return box;
}

/** Return what stands where nothing is: a short title and what to do. */
export function empty(title, text, ...more) {
  return h("div.empty", null, h("strong", null, title), text && h("p", null, text), more);
}

/** Return a failure in the server's own words, with a way to try again. */
export function failure(error, again) {
  return h(
    "div.notice.bad",
    { role: "alert" },
    h("p", null, h("strong", null, error.message), error.hint && ` ${error.hint}`),
    again && h("button", { type: "button", onclick: again }, "Try again"),
  );
}

/** Return grey lines that hold the place of what is being loaded. */
export function bones(count, label = "Loading") {
  const widths = [92, 74, 83, 61, 88, 70];
  const lines = Array.from({ length: count }, (_, index) => {
    const line = h("span.bone");
    line.style.width = `${widths[index % widths.length]}%`;
    return line;
  });
  return h("div.stack", { "aria-busy": "true", role: "status" }, h("span.unseen", null, label), lines);
}

/** Return a dialog that is open; it leaves the page when it is closed. */
export function dialog(title, ...children) {
  const box = h("dialog", { "aria-label": title, onclose: () => box.remove() }, h("h2", null, title), children);
  document.body.append(box);
  box.showModal();
  return box;
}

/** Return a function that runs `work` once its calls have paused for `wait` milliseconds. */
export function paused(work, wait) {
  let timer = 0;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...values), wait);
  };
}
