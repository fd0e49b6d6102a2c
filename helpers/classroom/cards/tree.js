// The tree of what can follow, and the talk with the kernel, which alone knows what a node that is not here holds.
// A node: ids and labels of the highest tokens, how far each logit lies below the first, and ln sum exp at each
// temperature above 0, of all tokens and of the 50 highest. A step: [id, label, ln p, how it was taken, rank from 0].
const COLUMNS = 4, BRANCHES = 5, TAKEN = 6, ROW = 29, EDGE = 46; // px: height of a row, width of the edges before a column
const { exp, log, floor, max, min, abs } = Math;
const keyOf = (path) => path.map((step) => step[0]).join(",");
const distances = (node) => [0, ...node[2]];
// The probability of a token of that rank whose logit lies `distance` below the highest, at the t-th tenth and top-k.
const tokenProb = (node, distance, rank, t, k) => {
  if (rank >= (t === 0 ? 1 : k || Infinity)) return 0;
  if (t === 0) return 1;
  const known = distances(node), scale = 10 / t;
  const logSum = k && k <= known.length ? log(known.slice(0, k).reduce((sum, d) => sum + exp(-d * scale), 0))
    : node[k ? 4 : 3][t - 1];
  return exp(-distance * scale - logSum);
};
const branchProbs = (node, t, k) => { // of each branch, and of all other tokens together
  const probs = distances(node).slice(0, BRANCHES).map((d, j) => tokenProb(node, d, j, t, k));
  const none = t === 0 || (k && k <= BRANCHES); // are left: said by the settings, since a sum is rounded
  return [...probs, none ? 0 : max(1e-12, 1 - total(probs))];
};
const topLogProb = (node) => -node[3][9]; // at temperature 1
const stepTo = (node, j, how) => [node[0][j], node[1][j], topLogProb(node) - distances(node)[j], how, j];
const joined = (labels) => labels.map((label) => label.slice(1, -1)).join("").replaceAll("\\n", "⏎");
const end = (text, n = 90) => {
  const characters = [...text];
  return characters.length <= n ? text : "…" + characters.slice(1 - n).join("");
};
const percent = (p) => p === 0 ? "0\u00a0%" : p < 0.0005 ? "< 0.1\u00a0%" : `${fixed(100 * p, 1)}\u00a0%`;
const signed = (x) => fixed(x, 2).replace("-", "−");
const number = (ln) => {
  if (abs(ln) <= log(1000)) {
    const x = exp(ln);
    return fixed(x, x >= 10 ? 1 : x >= 1 ? 2 : 4);
  }
  let power = floor(ln / log(10)), mantissa = fixed(exp(ln - power * log(10)), 1);
  if (mantissa === "10.0") [power, mantissa] = [power + 1, "1.0"];
  return `${mantissa}e${power < 0 ? "-" : "+"}${String(abs(power)).padStart(2, "0")}`;
};
const factor = (ln) => {
  if (ln >= log(1e12)) return number(ln);
  const x = exp(ln);
  return x >= 9.95 ? fixed(Number(x.toPrecision(2)), 0) : fixed(x, x >= 1.05 ? 1 : 3);
};
const total = (numbers) => numbers.reduce((a, b) => a + b, 0);
const lnOf = (path) => total(path.map((step) => step[2]));
const rowOf = (step) => step[4] < BRANCHES ? step[4] : TAKEN;
const rowY = (row) => ROW * (row + 0.5);
const topOne = (c) => {
  const node = c.nodes[keyOf(c.path)];
  return node ? `the top-1 token is ${node[1][0]} with ${percent(exp(topLogProb(node)))}` : "the model has to be asked";
};
const summary = (c) => {
  const prompt = end(c.prompt, 30), n = c.path.length;
  if (!n) return `After “${prompt}” ${topOne(c)}. Draw it, or choose a branch.`;
  return `After “${prompt}” came ${n} token${n > 1 ? "s" : ""} with probability ${number(lnOf(c.path))}. Next, ${topOne(c)}.`;
};
const versus = (c) => {
  const n = c.path.length;
  if (!n || n > c.greedy.length) return "";
  const gap = total(c.greedy.slice(0, n).map((step) => step[1])) - lnOf(c.path);
  if (abs(gap) < 1e-4) return "As probable as the greedy path.";
  const times = `${factor(abs(gap))} times`;
  return gap > 0 ? `The greedy path is ${times} as probable as this one.`
    : `This path is ${times} as probable as the greedy one: the best steps need not make the best whole.`;
};
const note = (c) => {
  const beyond = c.n_prompt + c.path.length - c.context;
  const cut = `The model reads only the last ${fixed(c.context, 0)} tokens, so the first ${fixed(beyond, 0)} are not seen. `;
  return (beyond > 0 ? cut : "")
    + "Branches: as it is drawn. Table: as the model says.";
};
const line = (name, logs, text) => ({
  [`${name}_path`]: logs.length ? `“${end(text, 30)}”` : "–",
  [`${name}_p`]: logs.length ? number(total(logs)) : "–",
  [`${name}_ln`]: logs.length ? signed(total(logs)) : "–",
  [`${name}_mean`]: logs.length ? signed(total(logs) / logs.length) : "–",
});
const branch = (name, label, p, origin, row, taken) => label === undefined
  ? { [`b${name}@hidden`]: "", [`e${name}@visibility`]: "hidden" }
  : {
    [`b${name}@hidden`]: null, [`b${name}@aria-pressed`]: taken ? "true" : null,
    [`b${name}@style`]: `--p:${fixed(100 * p, 1)}%`, [`t${name}`]: label, [`p${name}`]: percent(p),
    [`e${name}@visibility`]: null, [`e${name}@class`]: taken ? "on" : p === 0 ? "off" : null,
    [`e${name}@d`]: `M0 ${origin}C${EDGE / 2} ${origin} ${EDGE / 2} ${rowY(row)} ${EDGE} ${rowY(row)}`,
    [`e${name}@stroke-width`]: fixed(max(taken ? 3 : 1, 15 * p), 1),
  };
const column = (i, step, t, k, c) => {
  const node = step >= 0 && step <= c.path.length && c.nodes[keyOf(c.path.slice(0, step))];
  if (!node) return { [`c${i}@hidden`]: "" };
  const taken = c.path[step], head = `${step + 1} · ${taken ? taken[3] : "next token"}`;
  const labels = [...node[1], "the rest"], probs = branchProbs(node, t, k);
  if (taken && taken[4] >= BRANCHES) {
    labels.push(taken[1]);
    probs.push(tokenProb(node, topLogProb(node) - taken[2], taken[4], t, k));
  }
  const origin = rowY(step ? rowOf(c.path[step - 1]) : 2);
  const state = { [`c${i}@hidden`]: null, [`c${i}@aria-label`]: `step ${head}`, [`h${i}`]: head };
  for (let j = 0; j <= TAKEN; j++) {
    Object.assign(state, branch(`${i}${j}`, labels[j], probs[j], origin, j, taken !== undefined && j === rowOf(taken)));
  }
  return state;
};
const compute = (values, c) => {
  const t = values.temperature, k = c.top_ks[values.top_k], n = c.path.length, shown = fixed(c.temperatures[t], 1);
  const kText = k === 1 ? "the top-1 token" : k ? `the ${k} highest` : "all tokens";
  const hidden = max(0, n - COLUMNS + 1), back = min(values.back, hidden), greedy = c.greedy.slice(0, n);
  const state = {
    "summary": summary(c), "prompt": end(c.prompt), "text": end(joined(c.path.map((step) => step[1])), 70),
    "temperature_text": shown, "temperature_in@aria-valuetext": `temperature ${shown}`,
    "top_k_text": kText, "top_k_in@aria-valuetext": kText,
    "back_row@hidden": hidden ? null : "", "back_in@max": `${hidden}`,
    "back_text": back ? `${back} steps` : "newest", "back_in@aria-valuetext": `${back} steps back`,
    "notice": c.notice || note(c), "error": c.error || "", "error@hidden": c.error ? null : "",
    ...line("own", c.path.map((step) => step[2]), joined(c.path.map((step) => step[1]))),
    ...line("greedy", greedy.map((step) => step[1]), joined(greedy.map((step) => step[0]))),
    "versus": versus(c), "button_back@disabled": n ? null : "", "button_again@disabled": n ? null : "",
  };
  for (let i = 0; i < COLUMNS; i++) Object.assign(state, column(i, n - COLUMNS + 1 + i - back, t, k, c));
  return state;
};
const view = (id, values, c) => {
  const rows = [...Array(TAKEN + 1).keys()], act = (text, what, key) =>
    `<button type="button" data-do="${what}"${key ? ` data-key="${key}"` : ""}>${text}</button>`;
  const columnOf = (_, i) => `<div class="tr-col" role="group" data-key="c${i}"><b data-key="h${i}"></b>
    <svg viewBox="0 0 ${EDGE} ${ROW * rows.length}" width="${EDGE}" height="${ROW * rows.length}"
    preserveAspectRatio="none" aria-hidden="true">
    ${[5, 4, 3, 2, 1, 0, TAKEN].map((j) => `<path data-key="e${i}${j}"/>`).join("")}</svg>
    ${rows.map((j) => `<button type="button" data-key="b${i}${j}" data-branch="${i}${j}"${j ? ' tabindex="-1"' : ""}>`
      + `<span data-key="t${i}${j}"></span><span data-key="p${i}${j}"></span></button>`).join("")}</div>`;
  const lineOf = ([name, title]) => `<tr><td>${title}</td><td data-key="${name}_path"></td><td data-key="${name}_p"></td>
    <td data-key="${name}_ln"></td><td data-key="${name}_mean"></td></tr>`;
  return `<p class="cw-error" role="alert" data-key="error"></p>
    <p class="tr-text" translate="no"><span data-key="prompt"></span><b data-key="text"></b></p>
    <div class="cw-cols tr-knobs"><div class="tr-do">${act("Draw the next token", "draw")}${act("Take the top-1 token", "top1")}<br>
    ${act("One step back", "back", "button_back")}${act("Start again", "again", "button_again")}</div>
    <div class="cw-left">${slider(id, "temperature", "temperature", values.temperature, 0, c.temperatures.length - 1)}
    </div><div class="cw-left">${slider(id, "top_k", "top-k", values.top_k, 0, c.top_ks.length - 1)}</div>
    <div class="cw-left" data-key="back_row">${slider(id, "back", "look back", 0, 0, 0)}</div></div>
    <div class="tr"><div class="tr-tree">${Array.from({ length: COLUMNS }, columnOf).join("")}</div>
    <table class="tr-paths"><thead><tr><th></th><th></th><th>probability</th><th>ln p</th><th>ln p per token</th></tr></thead>
    <tbody>${[["own", "this path"], ["greedy", "greedy path"]].map(lineOf).join("")}</tbody></table></div>
    <p class="cw-note"><b data-key="versus"></b> <span data-key="notice"></span></p>`;
};
compute.attach = (root, card) => {
  let asked = null, since = 0, next = null, count = Date.now(); // the path under way and from when; the step behind it
  const value = (name) => Number(root.querySelector(`[data-in=${name}]`).value);
  const topK = () => card.get().top_ks[value("top_k")];
  const number = () => `${root.id} ${count}`; // of a question, so that two cards of one tree know their own answers
  const waiting = () => asked && performance.now() - since < PATIENCE;
  const show = (changes) => {
    root.querySelector("[data-in=back]").value = 0;
    card.set({ ...card.get(), error: null, notice: "", ...changes });
  };
  // What the page knows by itself: null where the kernel has to be asked, a text where nobody can be.
  const known = (what, path, entry) => {
    const node = card.get().nodes[keyOf(path)];
    if (what === "take") return entry;
    if (!node) return null;
    if (what === "top1") return stepTo(node, 0, "top-1");
    const probs = branchProbs(node, value("temperature"), topK());
    let left = Math.random(), j = 0;
    if (what === "rest") j = BRANCHES;
    else while (j < BRANCHES && left >= probs[j]) left -= probs[j++];
    return j < BRANCHES ? stepTo(node, j, "drawn")
      : `${what === "rest" ? "The rest is" : "The draw fell on the rest,"} ${fixed(card.get().V - BRANCHES, 0)} tokens with `
        + `${percent(probs[j])} together. Which of them, only the model in the kernel can say: run this cell.`;
  };
  const alone = (what, path, entry) => {
    const step = known(what, path, entry);
    const longer = Array.isArray(step) ? [...path, step] : card.get().path;
    const further = keyOf(longer) in card.get().nodes ? "" : "What follows here only the model in the kernel can say: run this cell.";
    show({ path: longer, notice: typeof step === "string" ? step : further });
  };
  const ask = (what, path, entry) => {
    const { nodes, version, temperatures } = card.get();
    const certain = what === "top1" || what === "take" ? known(what, path, entry) : null;
    if (certain && keyOf([...path, certain]) in nodes && !waiting()) return show({ path: [...path, certain] });
    const line = nearest(root, `.cw-of-${root.id} .cw-ask input`);
    if (!line) return alone(what, path, entry);
    if (waiting()) { next = [what, path, entry]; return; } // one under way and one behind it: the last wins
    [asked, since, next] = [path, performance.now(), null];
    count += 1;
    line.value = JSON.stringify({ n: number(), version, path: path.map((step) => step[0]), do: what,
      id: entry ? entry[0] : null, temperature: temperatures[value("temperature")], top_k: topK() });
    line.dispatchEvent(new Event("input", { bubbles: true })); // which runtime.js hears too, and says where none answers
  };
  root.addEventListener("click", (event) => {
    const button = event.target.closest("button"), { path, nodes } = card.get();
    if (!button) return;
    const { do: what, branch } = button.dataset;
    if (what === "back") show({ path: path.slice(0, -1) });
    else if (what === "again") show({ path: [] });
    else if (what) ask(what, path);
    if (!branch) return;
    const hidden = max(0, path.length - COLUMNS + 1), back = min(value("back"), hidden);
    const at = path.length - COLUMNS + 1 + Number(branch[0]) - back, j = Number(branch[1]), from = path.slice(0, at);
    if (j === TAKEN) show({ path: path.slice(0, at + 1) });
    else if (j === BRANCHES) ask("rest", from);
    else ask("take", from, stepTo(nodes[keyOf(from)], j, "your choice"));
  });
  root.addEventListener("keydown", (event) => {
    const move = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] }[event.key];
    const branch = event.target.dataset.branch;
    if (!move || !branch) return;
    event.preventDefault();
    const find = (i, j) => root.querySelector(`[data-branch="${i}${j}"]:not([hidden])`);
    const i = Number(branch[0]) + move[0], j = Number(branch[1]) + move[1], other = find(i, j) || (move[0] && find(i, 0));
    if (other && other.offsetParent) other.focus();
  });
  return (message) => { // hear what the kernel tells
    if (message.n !== undefined && message.n !== number()) return false; // another card's, or left over from before a reload
    const path = asked, behind = next;
    if (message.n !== undefined) asked = next = null;
    if (message.reset) show(message.reset);
    else if (message.error) card.set({ ...card.get(), error: message.error });
    else show({ path: [...path, message.add], nodes: { ...card.get().nodes, [message.key]: message.node }, greedy: message.greedy });
    if (message.n !== undefined && behind && !message.reset) return ask(behind[0], behind[2] ? behind[1] : card.get().path, behind[2]);
  };
};
