// Faults of a page that a reader or a screen reader would stumble over, as sentences: a function to be called in it.
() => {
  const faults = [];
  const named = (element) => `${element.localName}${element.id ? `#${element.id}` : ""}.${[...element.classList].join(".")} "${(element.textContent ?? "").trim().slice(0, 30)}"`;
  const visible = (element) => element.checkVisibility({ opacityProperty: true, visibilityProperty: true }) && !element.closest(".unseen, .skip");

  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  for (const id of new Set(ids.filter((one, index) => ids.indexOf(one) !== index))) faults.push(`two elements have the id ${id}`);

  let level = 0;
  for (const heading of document.querySelectorAll("main :is(h1, h2, h3, h4, h5, h6)")) {
    if (!visible(heading)) continue;
    const own = Number(heading.localName[1]);
    if (own > level + 1) faults.push(`the heading ${named(heading)} skips a level after h${level}`);
    level = own;
  }
  if (document.querySelectorAll("h1").length !== 1) faults.push("there is not exactly one h1");
  for (const image of document.querySelectorAll("svg:not([aria-hidden]), canvas")) {
    if (!image.getAttribute("aria-label")) faults.push(`the picture ${named(image)} says nothing`);
  }

  const channel = (value) => (value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  const read = (text) => {
    const [r, g, b, a = 1] = (text.match(/[\d.]+/g) ?? []).map(Number);
    return { r, g, b, a };
  };
  const light = ({ r, g, b }) => 0.2126 * channel(r / 255) + 0.7152 * channel(g / 255) + 0.0722 * channel(b / 255);
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = read(getComputedStyle(one).backgroundColor);
      if (colour.a === 1) return colour;
    }
    return { r: 255, g: 255, b: 255 };
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const seen = new Set();
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || seen.has(element) || !visible(element) || element.closest("svg, script, noscript, :disabled, select")) continue;
    seen.add(element);
    const style = getComputedStyle(element);
    const [one, other] = [light(read(style.color)), light(behind(element))].sort((a, b) => b - a);
    const large = Number.parseFloat(style.fontSize) >= 24 || (Number.parseFloat(style.fontSize) >= 18.66 && Number(style.fontWeight) >= 700);
    const ratio = (one + 0.05) / (other + 0.05);
    if (ratio < (large ? 3 : 4.5)) faults.push(`the contrast of ${named(element)} is ${ratio.toFixed(2)}`);
  }

  for (const box of [document.documentElement, document.getElementById("main")]) {
    if (box && box.scrollWidth > box.clientWidth + 1) faults.push(`${named(box).slice(0, 20)} is wider than its place: ${box.scrollWidth} of ${box.clientWidth}`);
  }
  for (const element of document.querySelectorAll("main button, main a.button, main input, main select, .top button, .panel button")) {
    if (!visible(element)) continue;
    const { width, height } = element.getBoundingClientRect();
    const inline = element.matches(".link, [type=checkbox], [type=radio], [type=range]");
    if (!inline && (width < 24 || height < 24)) faults.push(`${named(element)} is too small to hit: ${width}x${height}`);
  }
  return faults;
};
