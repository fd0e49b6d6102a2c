// Shared by every card. What a script brings is pure: `view(id, values, config)` -> the body's HTML, and
// `compute(values, config)` -> {key: text, "key@attribute": value or null}, written into the elements with data-key.
// In the course's language a finished sentence is found by its template, as `spoken` in helpers/language.py does it; for
// that Python writes [message, translation] here, the longest first. In English there is none.
const SAID = [], AGREE = [];
const PLACEHOLDER = /(\{[^{}]*\})/;
const TEMPLATES = SAID.map(([message, said]) => {
  const parts = message.split(PLACEHOLDER);
  return { message, said, names: parts.filter((_, i) => i % 2), around: parts.filter((_, i) => i % 2 === 0) };
});
const between = (around, text) => { // what stands between these parts, each value as short as can be; null: not its parts
  if (around.length === 1) return text === around[0] ? [] : null;
  const first = around[0], last = around.at(-1), end = text.length - last.length, values = [];
  let at = first.length;
  if (at > end || !text.startsWith(first) || !text.endsWith(last)) return null;
  for (const part of around.slice(1, -1)) {
    const found = text.slice(0, end).indexOf(part, at);
    if (found < 0) return null;
    values.push(text.slice(at, found));
    at = found + part.length;
  }
  return [...values, text.slice(at, end)];
};
// AGREE: [pattern, what it becomes]
const agree = (text) => AGREE.reduce((s, [from, to]) => s.replace(RegExp(from, "g"), to), text);
const MAX_SPOKEN = 2000;
const spoken = (sentence) => {
  if (sentence.length > MAX_SPOKEN) return spoken(sentence.slice(0, MAX_SPOKEN)) + sentence.slice(MAX_SPOKEN);
  const begin = sentence.match(/^[^\p{L}'"“‘]*/u)[0], rest = sentence.slice(begin.length);
  if (!rest) return sentence; // numbers alone
  for (const { message, said, names, around } of TEMPLATES) {
    const sayer = (name) => message.includes(`“${name}”`) ? String : spoken; // in quotes: somebody's text
    for (const [before, text] of [["", sentence], [begin, rest]]) {
      const values = between(around, text);
      if (values) return agree(before + said.replace(/\{[^{}]*\}/g, (name) => sayer(name)(values[names.indexOf(name)] ?? "")));
    }
    const after = rest.slice(message.length);
    if (!names.length && rest.startsWith(message) && !/^\p{L}/u.test(after)) return agree(begin + said + spoken(after));
  }
  return sentence;
};
const SPOKEN_ATTRIBUTES = ["aria-label", "aria-valuetext", "title"];
const speak = (root) => { // all that stands in a fresh body
  const texts = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) texts.currentNode.nodeValue = spoken(texts.currentNode.nodeValue);
  for (const name of SPOKEN_ATTRIBUTES) {
    root.querySelectorAll(`[${name}]`).forEach((e) => e.setAttribute(name, spoken(e.getAttribute(name))));
  }
};
const fixed = (x, digits) => { // Python's f"{x:,.{digits}f}": exact ties go to the even digit
  if (Math.abs(x * 2 ** (digits + 1)) % 2 === 1) {
    const floor = Math.floor(x * 10 ** digits);
    x = (floor + Math.abs(floor % 2)) / 10 ** digits;
  }
  const [whole, rest] = x.toFixed(digits).split(".");
  return whole.replace(/\B(?=(\d{3})+$)/g, ",") + (rest ? "." + rest : "");
};
const significant = (x, digits) => { // Python's f"{x:.{digits}g}" where that needs no exponent
  const text = fixed(x, Math.max(digits - 1 - Number(x.toExponential(digits - 1).split("e")[1]), 0));
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
};
const clamp = (x, low, high) => Math.min(Math.max(x, low), high);
const escaped = (text) => text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
// Python's are in helpers/labs/budget.
const readableCount = (n) => {
  for (const [name, size] of [["trillion", 1e12], ["billion", 1e9], ["million", 1e6]]) {
    const amount = n / size;
    if (amount >= 0.9995) return `${significant(amount, 3)} ${name}`;
  }
  return fixed(n, 0);
};
const HOUR = 3600, DAY = 24 * HOUR, MONTH = 30 * DAY, YEAR = 365 * DAY;
const readableTime = (seconds) => {
  const units = [["years", YEAR], ["months", MONTH], ["days", DAY], ["hours", HOUR], ["minutes", 60], ["seconds", 1]];
  const [name, size] = units.find(([, size]) => seconds >= size) || units[5];
  return `${fixed(seconds / size, seconds / size >= 10 ? 0 : 1)} ${name}`;
};
const readableBytes = (n) => {
  for (const [name, size] of [["TiB", 2 ** 40], ["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]]) {
    if (n >= size) return `${n >= 100 * size ? fixed(n / size, 0) : significant(n / size, 3)} ${name}`;
  }
  return `${fixed(n, 0)} bytes`;
};
// The preferred numbers E24 (IEC 60063): 24 round steps per factor of ten, nearly even on a log scale.
const E24 = [10, 11, 12, 13, 15, 16, 18, 20, 22, 24, 27, 30, 33, 36, 39, 43, 47, 51, 56, 62, 68, 75, 82, 91];
// A labelled range input; what it stands for is written beside the label under the key `name`_text.
const slider = (id, name, label, value, low, high, step = 1, key = `${name}_text`) =>
  `<div class="cw-row"><label for="${id}-${name}">${label}</label><b data-key="${key}"></b></div>`
  + `<input type="range" id="${id}-${name}" data-in="${name}" data-key="${name}_in" min="${low}" max="${high}" `
  + `step="${step}" value="${value}" autocomplete="off">`;
// A button that does {set: {input: value}}, {add: {input: step}}, or both.
const button = (text, action, key = "") => {
  const does = Object.entries(action).map(([what, inputs]) => ` data-${what}='${JSON.stringify(inputs)}'`).join("");
  return `<button type="button"${key && ` data-key="${key}"`}${does}>${escaped(text)}</button>`;
};
const hiddenInput = (name, value) => `<input type="hidden" data-in="${name}" value="${value}" autocomplete="off">`;
const randomNumbers = (seed) => { // a function: each call gives the next in [0, 1). mulberry32, T. Ettinger 2017, public domain
  let state = seed | 0;
  return () => {
    state = (state + 0x6D2B79F5) | 0;
    let t = Math.imul(state ^ state >>> 15, state | 1);
    t ^= t + Math.imul(t ^ t >>> 7, t | 61);
    return ((t ^ t >>> 14) >>> 0) / 4294967296;
  };
};
// What stands with this card rather than with another of the same name: after a restart ids are counted from 1 again,
// and every notebook that is open in the page counts for itself.
const nearest = (card, selector) => {
  if (!document.querySelector(selector)) return null;
  for (let e = card.parentElement; e; e = e.parentElement) {
    if (e.querySelectorAll(`[id="${card.id}"]`).length > 1) return null;
    const found = e.querySelector(selector);
    if (found) return found;
  }
  return null;
};
const PATIENCE = 5000; // ms until a card says that the kernel does not answer
const SILENT = "The kernel does not answer: it is busy, or it was restarted. If it was restarted, run this cell again.";
const start = (id, compute, view, tries = 600) => {
  // A restarted kernel counts from 1 again, so an older output may still carry this id: take the one not yet alive.
  const root = [...document.querySelectorAll(`[id="${id}"]`)].find((e) => !e.dataset.live);
  if (!root) return tries && setTimeout(start, 100, id, compute, view, tries - 1);
  root.dataset.live = "yes";
  root.classList.add("tex2jax_ignore", "mathjax_ignore"); // no formula between two R$, of MathJax 2 and 3
  let config = JSON.parse(root.dataset.config);
  const body = root.querySelector(".cw-body");
  body.innerHTML = view(id, JSON.parse(root.dataset.values), config);
  if (SAID.length) speak(body);
  const inputs = {}, parts = {}, shown = {};
  root.querySelectorAll("[data-in]").forEach((e) => { inputs[e.dataset.in] = e; });
  root.querySelectorAll("[data-key]").forEach((e) => { parts[e.dataset.key] = e; });
  const draw = () => {
    const values = {};
    for (const name in inputs) values[name] = Number(inputs[name].value);
    for (const [key, value] of Object.entries(compute(values, config))) {
      if (shown[key] === value) continue;
      shown[key] = value;
      const [part, attribute] = key.split("@");
      if (!attribute) parts[part].textContent = parts[part].closest("[translate=no]") ? value : spoken(value);
      else if (value === null) parts[part].removeAttribute(attribute);
      else parts[part].setAttribute(attribute, SPOKEN_ATTRIBUTES.includes(attribute) ? spoken(value) : value);
    }
  };
  const add = (steps) => {
    for (const name in steps) inputs[name].value = Number(inputs[name].value) + steps[name];
    draw();
  };
  root.addEventListener("input", draw);
  // JupyterLab takes keys for itself unless the very element that has the focus carries this.
  root.querySelectorAll("input, button, summary, [tabindex]").forEach((e) => e.setAttribute("data-lm-suppress-shortcuts", "true"));
  root.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    for (const [name, value] of Object.entries(JSON.parse(button.dataset.set || "{}"))) inputs[name].value = value;
    add(JSON.parse(button.dataset.add || "{}"));
  });
  root.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey && event.key === "Enter") return;
    // VS Code hears plain keys at the window and takes them for its cells, unless they end here: Delete deletes one.
    if (/^(.|Arrow.*|Page.*|Home|End|Enter|Backspace|Delete)$/.test(event.key)) event.stopPropagation();
    const direction = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (direction && root.dataset.arrows && event.target.type !== "range") add({ [root.dataset.arrows]: direction });
  });
  const set = (numbers) => {
    config = numbers;
    root.dataset.config = JSON.stringify(numbers);
    draw();
  };
  draw();
  // A card that changes its own numbers; it may return what hears the kernel, and is false where another card is meant.
  const hear = compute.attach?.(root, { get: () => config, set }) || ((message) => set({ ...config, ...message }));
  if (root.dataset.fed) { // what the kernel says comes in a hidden element below the card: KernelCard in _kernel.py
    let told = "", timer = 0;
    const look = () => {
      const feed = nearest(root, `[data-feed~="${id}"]`), asked = timer;
      if (!feed || feed.dataset.config === told) return;
      told = feed.dataset.config;
      if (hear(JSON.parse(told)) !== false) clearTimeout(asked);
    };
    new MutationObserver(look).observe(document.body, { childList: true, subtree: true });
    look();
    // data-fed names the event upon which the text of a line below the card goes to the kernel.
    document.addEventListener(root.dataset.fed, (event) => {
      if (!nearest(root, `.cw-of-${id}`)?.contains(event.target)) return;
      clearTimeout(timer);
      timer = setTimeout(() => set({ ...config, error: SILENT }), PATIENCE);
    }, true);
  }
};
