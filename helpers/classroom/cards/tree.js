// The twin of tree_state in helpers/classroom/cards/_tree_state.py, and the talk with the kernel.
const TOP_K = [1, 2, 3, 5, 10, 50, null], COLUMNS = 4, BRANCHES = 5, TAKEN = 6, ROW = 38, EDGE = 46;
const { exp, log, floor, max, min, abs } = Math;
const keyOf = (path) => path.map((step) => step[0]).join(",");
const distances = (node) => [0, ...node[2]];
const tokenProb = (node, distance, rank, t, k) => {
  if (rank >= (t === 0 ? 1 : k || Infinity)) return 0;
  if (t === 0) return 1;
  const logSum = k && k <= 10 ? log(distances(node).slice(0, k).reduce((sum, d) => sum + exp(-d / t), 0))
    : node[k ? 4 : 3][Math.round(10 * t) - 1];
  return exp(-distance / t - logSum);
};
const branchProbs = (node, t, k) => {
  const probs = distances(node).slice(0, BRANCHES).map((d, j) => tokenProb(node, d, j, t, k));
  return [...probs, max(0, 1 - probs.reduce((a, b) => a + b))];
};
const joined = (labels) => labels.join("").replaceAll("\\n", "⏎");
const end = (text, n = 90) => {
  const characters = [...text];
  return characters.length <= n ? text : "…" + characters.slice(1 - n).join("");
};
const quoted = (label) => {
  const quote = label.includes("'") && !label.includes("\\'") ? '"' : "'";
  return quote + label + quote;
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
const favourite = (c) => {
  const node = c.nodes[keyOf(c.path)];
  return node ? `the favourite is ${quoted(node[1].split("\t")[0])} with ${percent(exp(-node[3][9]))}`
    : "the model has to be asked";
};
const summary = (c) => {
  const said = `After “${end(c.prompt, 40)}”`, n = c.path.length;
  if (!n) return `${said} ${favourite(c)}. Draw it, or choose a branch.`;
  return `${said} came ${n} token${n > 1 ? "s" : ""}, “${end(joined(c.path.map((step) => step[1])), 40)}”: `
    + `probability ${number(lnOf(c.path))}. Next, ${favourite(c)}.`;
};
const versus = (c) => {
  const n = c.path.length;
  if (!n || n > c.greedy.length) return "";
  const gap = total(c.greedy.slice(0, n).map((step) => step[1])) - lnOf(c.path);
  if (abs(gap) < 1e-4) return "As probable as the greedy path.";
  const times = `${factor(abs(gap))} times`;
  return gap > 0 ? `The greedy path is ${times} as probable as this one.`
    : `This path is ${times} as probable as the greedy one: the favourite of each step need not be the best whole.`;
};
const note = (c) => {
  const beyond = c.n_prompt + c.path.length - c.context;
  const cut = `The model reads only the last ${fixed(c.context, 0)} tokens, so the first ${fixed(beyond, 0)} are not seen. `;
  return (beyond > 0 ? cut : "")
    + "Branches show what a draw does at this temperature and top-k; the table has the model’s own probabilities.";
};
const line = (name, logs, text) => ({
  [`${name}_path`]: logs.length ? `“${end(text, 40)}”` : "–",
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
  const labels = [...node[1].split("\t").map(quoted), "the rest"], probs = branchProbs(node, t, k);
  if (taken && taken[4] >= BRANCHES) {
    labels.push(quoted(taken[1]));
    probs.push(tokenProb(node, -node[3][9] - taken[2], taken[4], t, k));
  }
  const origin = rowY(step ? rowOf(c.path[step - 1]) : 2);
  const state = { [`c${i}@hidden`]: null, [`c${i}@aria-label`]: `step ${head}`, [`h${i}`]: head };
  for (let j = 0; j <= TAKEN; j++) {
    Object.assign(state, branch(`${i}${j}`, labels[j], probs[j], origin, j, taken !== undefined && j === rowOf(taken)));
  }
  return state;
};
const compute = (values, c) => {
  const t = values.temperature / 10, k = TOP_K[values.top_k], n = c.path.length, shown = fixed(t, 1);
  const kText = k ? `${k} favourites` : `all ${fixed(c.V, 0)} tokens`;
  const hidden = max(0, n - COLUMNS + 1), back = min(values.back, hidden), greedy = c.greedy.slice(0, n);
  const state = {
    "summary": summary(c), "prompt": end(c.prompt), "text": end(joined(c.path.map((step) => step[1]))),
    "temperature_text": shown, "temperature_in@aria-valuetext": `temperature ${shown}`,
    "top_k_text": kText, "top_k_in@aria-valuetext": kText,
    "back_row@hidden": hidden ? null : "", "back_in@max": `${hidden}`,
    "back_text": back ? `${back} steps` : "the newest", "back_in@aria-valuetext": `${back} steps back`,
    "notice": c.notice || note(c), "error": c.error || "", "error@hidden": c.error ? null : "",
    ...line("own", c.path.map((step) => step[2]), joined(c.path.map((step) => step[1]))),
    ...line("greedy", greedy.map((step) => step[1]), joined(greedy.map((step) => step[0]))),
    "versus": versus(c), "button_back@disabled": n ? null : "", "button_again@disabled": n ? null : "",
  };
  for (let i = 0; i < COLUMNS; i++) Object.assign(state, column(i, n - COLUMNS + 1 + i - back, t, k, c));
  return state;
};
const PATIENCE = 5000; // ms until the reader is told that no answer has come
compute.attach = (root, card) => {
  let waiting = false, next = null, asked = [], timer = 0, count = Date.now(), told = "";
  const value = (name) => Number(root.querySelector(`[data-in=${name}]`).value);
  const number = () => `${root.id} ${count}`; // of a question, so that two cards of one tree know their own answers
  const line = () => nearest(root, `.cw-ask-${root.id} input`);
  const show = (changes) => {
    root.querySelector("[data-in=back]").value = 0;
    card.set({ ...card.get(), error: null, notice: "", ...changes });
  };
  // What the page knows by itself: null where the kernel has to be asked, a text where nobody can be.
  const known = (what, path, entry) => {
    const node = card.get().nodes[keyOf(path)];
    const step = (j, how) => {
      const label = node[1].split("\t")[j];
      return [node[0][j], label, -node[3][9] - distances(node)[j], how, j];
    };
    if (what === "take") return entry;
    if (!node) return null;
    if (what === "favourite") return step(0, "favourite");
    const probs = branchProbs(node, value("temperature") / 10, TOP_K[value("top_k")]);
    let left = Math.random(), j = 0;
    if (what === "rest") j = BRANCHES;
    else while (j < BRANCHES && left >= probs[j]) left -= probs[j++];
    return j < BRANCHES ? step(j, "drawn")
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
    const { nodes, version } = card.get();
    const certain = what === "favourite" || what === "take" ? known(what, path, entry) : null;
    if (certain && keyOf([...path, certain]) in nodes && !waiting) return show({ path: [...path, certain] });
    const input = line();
    if (!input) return alone(what, path, entry);
    if (waiting) { next = [what, path, entry]; return; } // one under way and one behind it: the last wins
    waiting = true;
    asked = path;
    count += 1;
    const temperature = value("temperature") / 10, top_k = TOP_K[value("top_k")];
    input.value = JSON.stringify({ n: number(), version, path: path.map((step) => step[0]), do: what,
      id: entry ? entry[0] : null, temperature, top_k });
    input.dispatchEvent(new Event("input", { bubbles: true }));
    timer = setTimeout(() => {
      waiting = false;
      next = null;
      card.set({ ...card.get(), notice: "The kernel does not answer: it is busy, or gone. If it is gone, run this cell again." });
    }, PATIENCE);
  };
  const hear = () => {
    const feed = nearest(root, `[data-tree-feed~="${root.id}"]`);
    if (!feed || feed.dataset.message === told) return;
    told = feed.dataset.message;
    const message = JSON.parse(told);
    if (message.n !== undefined && message.n !== number()) return; // left over from before the page was loaded
    clearTimeout(timer);
    if (message.reset) show(message.reset);
    else if (message.error) card.set({ ...card.get(), error: message.error });
    else {
      const nodes = { ...card.get().nodes, [message.key]: message.node };
      show({ path: [...asked, message.add], nodes, greedy: message.greedy });
    }
    waiting = false;
    if (next) {
      const [what, from, entry] = next;
      next = null;
      if (!message.reset) ask(what, entry ? from : card.get().path, entry);
    }
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
    const node = nodes[keyOf(from)];
    if (j === TAKEN) show({ path: path.slice(0, at + 1) });
    else if (j === BRANCHES) ask("rest", from);
    else ask("take", from, [node[0][j], node[1].split("\t")[j], -node[3][9] - distances(node)[j], "your choice", j]);
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
  new MutationObserver(hear).observe(document.body, { childList: true, subtree: true });
  hear();
};
