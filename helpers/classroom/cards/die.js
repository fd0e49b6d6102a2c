// A die with weights: entropy and perplexity before the roll, surprisal (the negative log-likelihood) after it.
const MOST_WEIGHT = 20, AXIS_NATS = 6; // holds the largest finite surprisal: a weight of 1 against eleven of 20, 5.4 nats
const SQUARE = 34, GAP = 6; // px of the dice that are filled up to the perplexity
const AT_ONCE = 100, MOST_ROLLS = 2000, POINTS = 200; // rolls of a click, of all clicks; points of the curve at most
const PLOT = { left: 34, top: 8, width: 380, height: 92, label: 106 };
const PRESETS = { "fair": [10, 10], "loaded": [20, 2], "certain": [20, 0] }; // weight of face 1, and of every other face
const faceNumbers = (n) => Array.from({ length: n }, (_, i) => i + 1);
const weightsOf = ([first, rest], n) => Object.fromEntries(faceNumbers(n).map((k) => [`w${k}`, k === 1 ? first : rest]));

// weights: one per face, each at least 0; rolled: the face that came, from 1. Nats, and no die where all weights are 0.
const measure = (weights, rolled) => {
  const total = weights.reduce((a, b) => a + b, 0), probs = weights.map((w) => total ? w / total : 0);
  const entropy = probs.reduce((sum, p) => p ? sum + p * Math.log(1 / p) : sum, 0); // 0.00, not -0.00, where certain
  const perplexityAfter = 1 / probs[rolled - 1]; // not exp(surprisal): exp(ln 6.25) may fall short of 6.25
  return {
    total, probs, entropy, perplexityAfter, surprisal: Math.log(perplexityAfter),
    perplexity: total ? Math.exp(entropy) : 0,
  };
};
const sentence = ({ total, entropy, perplexity, surprisal, perplexityAfter }, rolled) => {
  if (!total) return "Every weight is 0, so nothing can happen: raise one.";
  const before = `Before the roll: entropy ${fixed(entropy, 2)} nats, as uncertain as a fair die with ${fixed(perplexity, 1)} faces.`;
  return Number.isFinite(surprisal)
    ? `${before} After face ${rolled}: loss ${fixed(surprisal, 2)} nats, perplexity ${fixed(perplexityAfter, 1)}.`
    : `${before} Face ${rolled} was called impossible: if it comes, the loss is infinite.`;
};
const row = (name, nats, perplexity) => {
  const text = (x, digits) => Number.isFinite(nats) ? fixed(x, digits) : "∞";
  return {
    [`${name}_nats`]: text(nats, 2), [`${name}_bits`]: text(nats / Math.LN2, 2), [`${name}_exp`]: text(perplexity, 1),
    [`${name}_bar@style`]: `width:${fixed(100 * Math.min(nats / AXIS_NATS, 1), 1)}%`,
  };
};
const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
// The die rolled n times: the mean surprisal after each roll. The same seed gives the same rolls.
const meansOf = (probs, n, seed) => {
  const next = randomNumbers(seed), possible = probs.filter((p) => p > 0), means = [];
  let total = 0;
  for (let roll = 1; roll <= n; roll++) {
    let u = next(), k = 0;
    while (k < possible.length - 1 && u >= possible[k]) u -= possible[k++];
    total += Math.log(1 / possible[k]);
    means.push(total / roll);
  }
  return means;
};
const rolling = ({ total, probs, entropy }, n, seed) => {
  const means = meansOf(probs, total ? n : 0, seed), yEnd = Math.max(Math.ceil(4 * entropy) / 2, 0.5), xEnd = Math.max(n, AT_ONCE);
  const x = (roll) => fixed(PLOT.left + PLOT.width * roll / xEnd, 1), every = Math.ceil(n / POINTS);
  const y = (nats) => fixed(PLOT.top + PLOT.height * (1 - Math.min(nats / yEnd, 1)), 1);
  const points = means.map((mean, i) => [i + 1, mean]).filter(([roll]) => roll === 1 || roll % every === 0);
  const spread = Math.sqrt(Math.max(sum(probs.map((p) => p ? p * Math.log(p) ** 2 : 0)) - entropy ** 2, 0) / (n || 1));
  const last = means.length ? fixed(means[n - 1], 2) : "";
  const error = spread > 1e-6 ? `Expected: ${fixed(entropy, 2)} ± ${fixed(spread, 2)}.` : "Every roll has the same surprisal.";
  return {
    "rolls": !total ? "no die to roll" : last ? `${fixed(n, 0)} rolls: mean surprisal ${last} nats. ${error}` : "not rolled yet",
    "curve@d": points.map(([roll, mean], i) => `${i ? "L" : "M"}${x(roll)} ${y(mean)}`).join(""),
    "dot@cx": last ? x(n) : "0", "dot@cy": last ? y(means[n - 1]) : "0", "dot@visibility": last ? null : "hidden",
    "line@y1": y(entropy), "line@y2": y(entropy), "y_end": `${yEnd}`, "x_end": fixed(xEnd, 0),
    "line_text": `entropy ${fixed(entropy, 2)}`, "line_text@y": `${Number(y(entropy)) + 5}`,
    "button_roll@disabled": n < MOST_ROLLS && total ? null : "",
  };
};
const compute = (values, { most_faces: n }) => {
  const faces = values.faces, rolled = Math.min(values.rolled, faces);
  const weights = faceNumbers(n).map((k) => k <= faces ? values[`w${k}`] : 0), now = measure(weights, rolled);
  const largest = Math.max(...now.probs) || 1; // bars are relative to it: on an axis to 1, twelve fair faces hardly show
  const state = {
    "summary": sentence(now, rolled),
    "big": now.total ? `${fixed(now.perplexity, 1)} faces` : "no die",
    "faces_text": `${faces} faces`, "faces_in@aria-valuetext": `${faces} faces`,
    "rolled_text": `face ${rolled}`, "rolled_in@aria-valuetext": `face ${rolled}`, "rolled_in@max": `${faces}`,
    ...row("before", now.total ? now.entropy : Infinity, now.perplexity),
    ...row("after", now.surprisal, now.perplexityAfter), ...rolling(now, Math.min(values.rolls, MOST_ROLLS), values.seed),
  };
  now.probs.forEach((p, i) => {
    const k = i + 1, share = fixed(100 * p, 1);
    state[`face${k}@hidden`] = k <= faces ? null : "";
    state[`p${k}`] = `${share} %`;
    state[`p${k}@class`] = k === rolled ? "cw-on" : null;
    state[`bar${k}@style`] = `width:${fixed(100 * p / largest, 1)}%`;
    state[`w${k}_in@aria-valuetext`] = `weight ${weights[i]}, probability ${share} %`;
    state[`die${k}@visibility`] = k <= faces ? null : "hidden";
    state[`fill${k}@width`] = fixed(SQUARE * clamp(now.perplexity - i, 0, 1), 1);
  });
  return state;
};
const picture = (n) => {
  const width = n * (SQUARE + GAP), height = SQUARE + 24;
  const dice = faceNumbers(n).map((k) => `<g data-key="die${k}" transform="translate(${(k - 1) * (SQUARE + GAP) + 1} 1)">`
    + `<rect data-key="fill${k}" height="${SQUARE}" fill="#0072b2"/>`
    + `<rect width="${SQUARE}" height="${SQUARE}" rx="5" fill="none" stroke="#16191d" stroke-width="1.5"/>`
    + `<text x="${SQUARE / 2}" y="${SQUARE + 18}" text-anchor="middle">${k}</text></g>`);
  return `<svg width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" `
    + `aria-label="One square per face, filled up to the perplexity">${dice.join("")}</svg>`;
};
const rollingPicture = () => {
  const { left, top, width, height, label } = PLOT, right = left + width, bottom = top + height;
  return `<svg width="${right + label}" height="${bottom + 24}" viewBox="0 0 ${right + label} ${bottom + 24}" role="img"
aria-label="Mean surprisal against rolls, beside the line of the entropy"><path d="M${left} ${top}V${bottom}H${right}" fill="none" stroke="#5b6470"/>
<line data-key="line" x1="${left}" x2="${right}" stroke="#d55e00" stroke-width="2" stroke-dasharray="7 5"/>
<path data-key="curve" fill="none" stroke="#0072b2" stroke-width="2.5"/><circle data-key="dot" r="5" fill="#0072b2"/>
<text data-key="line_text" x="${right + 10}"></text>
<text x="${left - 6}" y="${bottom}" text-anchor="end">0</text><text data-key="y_end" x="${left - 6}" y="${top + 10}" text-anchor="end"></text>
<text x="${left}" y="${bottom + 19}">rolls</text><text data-key="x_end" x="${right}" y="${bottom + 19}" text-anchor="end"></text></svg>`;
};
const view = (id, values, { most_faces: n }) => {
  const faces = faceNumbers(n).map((k) => `<div class="cw-face" data-key="face${k}"><label for="${id}-w${k}">face ${k}</label>`
    + `<input type="range" id="${id}-w${k}" data-in="w${k}" data-key="w${k}_in" min="0" max="${MOST_WEIGHT}" `
    + `value="${PRESETS.fair[0]}" autocomplete="off">`
    + `<span class="cw-track"><span class="cw-bar" data-key="bar${k}"></span></span><b data-key="p${k}"></b></div>`);
  const presets = Object.entries(PRESETS).map(([name, of]) => button(name, { set: weightsOf(of, n) }));
  const rows = [["before", "entropy, before", ""], ["after", "surprisal, after", "cw-b"]].map(([name, label, css]) =>
    `<tr><td>${label}</td><td data-key="${name}_nats"></td><td data-key="${name}_bits"></td><td data-key="${name}_exp"></td>`
    + `<td><span class="cw-track"><span class="cw-bar ${css}" data-key="${name}_bar"></span></span></td></tr>`);
  return `<div class="cw-cols"><div class="cw-left cw-shape">${slider(id, "faces", "the die has", values.faces, 2, n)}
<div>${presets.join("")}</div><div class="cw-faces">${faces.join("")}</div>
<p class="cw-note">Bars are relative to the largest probability.</p></div>
<div class="cw-right cw-wide"><p><span class="cw-big" data-key="big"></span> on a fair die would leave you as uncertain</p>${picture(n)}${slider(id, "rolled", "then it shows", values.rolled, 1, n)}
<table><thead><tr><th></th><th>nats</th><th>bits</th><th>exp(nats)</th><th>0 to ${AXIS_NATS} nats</th></tr></thead>
<tbody>${rows.join("")}</tbody></table>
<div>${hiddenInput("rolls", values.rolls)}${hiddenInput("seed", values.seed)}${button(`roll ${AT_ONCE} times`, { add: { rolls: AT_ONCE } }, "button_roll")}
${button("start again", { set: { rolls: 0 }, add: { seed: 1 } })}</div>
<p class="cw-said" role="status" data-key="rolls"></p>${rollingPicture()}</div></div>`;
};
