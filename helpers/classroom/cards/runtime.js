// Shared by every card. Python has drawn the first state; this reads the inputs, asks `compute` for
// {key: text, "key@attribute": value or null}, and writes those into the elements that carry data-key.
const fixed = (x, digits) => { // Python's f"{x:,.{digits}f}": exact ties go to the even digit
  if (Math.abs(x * 2 ** (digits + 1)) % 2 === 1) {
    const floor = Math.floor(x * 10 ** digits);
    x = (floor + Math.abs(floor % 2)) / 10 ** digits;
  }
  const [whole, rest] = x.toFixed(digits).split(".");
  return whole.replace(/\B(?=(\d{3})+$)/g, ",") + (rest ? "." + rest : "");
};
const clamp = (x, low, high) => Math.min(Math.max(x, low), high);
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
const start = (id, compute, tries = 600) => {
  // A restarted kernel counts from 1 again, so an older output may still carry this id: take the one not yet alive.
  const root = [...document.querySelectorAll(`[id="${id}"]`)].find((e) => !e.dataset.live);
  if (!root) return tries && setTimeout(start, 100, id, compute, tries - 1);
  root.dataset.live = "yes";
  let config = JSON.parse(root.dataset.config);
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
      if (!attribute) parts[part].textContent = value;
      else if (value === null) parts[part].removeAttribute(attribute);
      else parts[part].setAttribute(attribute, value);
    }
  };
  const add = (steps) => {
    for (const name in steps) inputs[name].value = Number(inputs[name].value) + steps[name];
    draw();
  };
  root.addEventListener("input", draw);
  // JupyterLab takes keys for itself unless the very element that has the focus carries this.
  root.querySelectorAll("input, button").forEach((e) => e.setAttribute("data-lm-suppress-shortcuts", "true"));
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
  if (root.dataset.fed) { // new numbers from the kernel come in a hidden element that some other output holds
    const look = () => {
      const feed = nearest(root, `[data-feed~="${id}"]`);
      if (!feed || feed.dataset.config === root.dataset.config) return;
      root.dataset.config = feed.dataset.config;
      config = JSON.parse(feed.dataset.config);
      draw();
    };
    new MutationObserver(look).observe(document.body, { childList: true, subtree: true });
    look();
  }
  root.querySelectorAll(".cw-still").forEach((e) => { e.hidden = true; });
  draw();
  if (compute.attach) { // a card that changes its own numbers
    const set = (numbers) => {
      config = numbers;
      root.dataset.config = JSON.stringify(numbers);
      draw();
    };
    compute.attach(root, { get: () => config, set });
  }
};
