// The best size for a budget. Of each law config has lines [constant, power]: ln N = constant + power * ln(N D), the
// first that of the law, the others of a bootstrap. flops has the slider's powers of ten and the number it starts from.
const RULE = "20 tokens a parameter", RATIO = 20, FLOPS_EACH = 6, SHARE = 0.95;
const quantile = (sorted, share) => { // numpy's: on a straight line between the neighbours
  const place = share * (sorted.length - 1), below = Math.floor(place);
  return sorted[below] + (place - below) * (sorted[Math.min(below + 1, sorted.length - 1)] - sorted[below]);
};
// {name: [N, lowest, highest]}, the last two null where there is no bootstrap
const sizes = (flops, laws) => {
  const product = flops / FLOPS_EACH, found = { [RULE]: [Math.sqrt(product / RATIO), null, null] };
  for (const [name, lines] of Object.entries(laws)) {
    const [best, ...drawn] = lines.map(([constant, power]) => Math.exp(constant + power * Math.log(product)));
    drawn.sort((a, b) => a - b);
    found[name] = [best, ...[(1 - SHARE) / 2, (1 + SHARE) / 2].map((share) => drawn.length ? quantile(drawn, share) : null)];
  }
  return found;
};
const LEFT = 16, WIDTH = 200, POWERS = [2, 14]; // px; powers of ten of the axis of sizes
const X = (n) => fixed(LEFT + WIDTH * clamp((Math.log10(n) - POWERS[0]) / (POWERS[1] - POWERS[0]), 0, 1), 1);
const compute = (values, config) => {
  const flops = valueAt(values.flops, config.flops), found = sizes(flops, config.laws), product = flops / FLOPS_EACH;
  const text = `${flops.toExponential(2)} FLOPs`;
  const state = {
    "summary": `${text}, at ${RULE}: ${readableCount(found[RULE][0])} parameters, ${readableCount(product / found[RULE][0])} tokens.`,
    "flops_text": text, "flops_in@aria-valuetext": text,
  };
  Object.values(found).forEach(([n, low, high], i) => {
    const ratio = (size) => product / size ** 2;
    const between = (a, b, show) => low === null ? "" : ` (${show(a)} to ${show(b)})`;
    const few = (x) => x >= 100 ? readableCount(Number(x.toPrecision(3))) : significant(x, 3);
    state[`n${i}`] = readableCount(n) + between(low, high, readableCount);
    state[`d${i}`] = readableCount(product / n);
    state[`r${i}`] = few(ratio(n)) + between(ratio(high), ratio(low), few);
    state[`dot${i}@cx`] = X(n);
    state[`bar${i}@x1`] = X(low ?? n);
    state[`bar${i}@x2`] = X(high ?? n);
  });
  return state;
};
const axis = Object.entries({ 2: "10²", 6: "10⁶", 10: "10¹⁰", 14: "10¹⁴" }).map(([power, text]) =>
  `<text x="${X(10 ** power)}" y="14" text-anchor="middle">${text}</text>`).join("");
const view = (id, values, config) => {
  const names = [RULE, ...Object.keys(config.laws)];
  const rows = names.map((name, i) => `<tr><td>${escaped(name)}</td><td data-key="n${i}"></td><td data-key="d${i}"></td>`
    + `<td data-key="r${i}"></td><td><svg width="${WIDTH + 2 * LEFT}" height="22" viewBox="0 0 ${WIDTH + 2 * LEFT} 22" aria-hidden="true">`
    + `<line x1="${LEFT}" x2="${LEFT + WIDTH}" y1="11" y2="11" stroke="#d5dae0"/>`
    + `<line data-key="bar${i}" y1="11" y2="11" stroke="#0072b2" stroke-width="7"/>`
    + `<circle data-key="dot${i}" cy="11" r="6" fill="#d55e00"/></svg></td></tr>`);
  const buttons = Object.entries(config.budgets).map(([name, flops]) =>
    button(name, { set: { flops: positionOf(flops, config.flops) } }));
  return `${slider(id, "flops", "compute", positionOf(values.flops, config.flops), 0, 24 * (config.flops[1] - config.flops[0]))}
<div>${buttons.join("")}</div>
<table class="bs-sizes"><thead><tr><th>by</th><th>parameters</th><th>tokens</th><th>tokens a parameter</th>
<th><svg width="${WIDTH + 2 * LEFT}" height="18" viewBox="0 0 ${WIDTH + 2 * LEFT} 18" aria-label="axis of parameters, logarithmic">${axis}</svg></th></tr></thead>
<tbody>${rows.join("")}</tbody></table>
<p class="cw-note">Compute is 6 FLOPs × parameters × tokens. In brackets: the middle 95 % of a bootstrap over runs. It says nothing about a law that has the wrong form, or is used far from its runs.</p>`;
};
