// What temperature and filters make of the next token's distribution; for texts that are written, helpers/gpt/sampling.py.
// The page has all V logits in few numbers, relative to the top-1 token's and from there down: the highest ones one by
// one, the others in groups [n, mean, half]: n tokens whose logits lie evenly within mean ± half. One token: [1, x, 0].
const sum = (numbers) => { let s = 0; for (const x of numbers) s += x; return s; };
const groupsOf = ({ steps, groups }) => {
  let below = 0;
  return [...steps.map((step) => [1, (below += step) * 1e-6, 0]), ...groups];
};
const top = (group, j) => { // the j highest of a group
  const [n, mean, half] = group;
  return j === n ? group : [j, mean + half * (1 - j / n), half * (j / n)];
};
const mass = ([n, mean, half], inverse) => { // sum of exp(logit / T), given 1 / T
  const x = inverse * half, spread = x > 1e-6 ? Math.exp(x) * -Math.expm1(-2 * x) / (2 * x) : 1;
  return n * Math.exp(inverse * mean) * spread;
};
const tiltedMean = ([, mean, half], inverse) => { // mean logit with weights exp(logit / T)
  const x = inverse * half;
  return mean + half * (x > 1e-3 ? 1 / Math.tanh(x) - 1 / x : x / 3);
};
const countAbove = ([n, mean, half], level) => half === 0 ? (mean >= level ? n : 0)
  : clamp(Math.floor(n * (mean + half - level) / (2 * half) + 0.5), 0, n);
const countToReach = ([n, mean, half], goal, inverse) => { // the fewest highest with at least this mass
  const x = 2 * inverse * half, each = Math.exp(inverse * (mean + half)), reached = each ? goal / (n * each) : 1;
  const share = x <= 1e-6 ? reached : reached * x < 1 ? -Math.log1p(-reached * x) / x : 1;
  return clamp(Math.ceil(n * share - 1e-9), 1, n);
};
const cut = (groups, goal, size, count) => { // the first groups that reach the goal, the last one cut where it does
  let left = goal;
  for (let i = 0; i < groups.length; i++) {
    const all = size(groups[i]);
    if (all >= left) return [...groups.slice(0, i), top(groups[i], count(groups[i], left))];
    left -= all;
  }
  return groups;
};
// (groups, the slider's value, 1 / T) -> the groups that are kept. They act in this order, and each measures among what
// the one before it left: at T = 1, or at the slider's where the temperature comes first.
// A new filter: a function here, a slider in `sliders` of _sampling.py, a function and a field in helpers/gpt/sampling.py.
const FILTERS = {
  top_k: (groups, k) => cut(groups, k, ([n]) => n, (group, left) => left),
  top_p: (groups, p, inverse) => cut(groups, p * sum(groups.map((g) => mass(g, inverse))), (g) => mass(g, inverse),
    (g, left) => countToReach(g, left, inverse)),
  min_p: (groups, share, inverse) => {
    const level = inverse ? Math.log(share) / inverse : -Infinity;
    return groups.map((g) => top(g, countAbove(g, level))).filter(([n]) => n);
  },
};
const outcome = (groups, settings) => { // settings as of SamplingParams in helpers/gpt, a filter that is off is null
  const inverse = 1 / settings.temperature, measured = settings.filters_first ? 1 : inverse;
  let kept = groups;
  for (const name in FILTERS) {
    if (settings[name]) kept = measured === Infinity ? kept.slice(0, 1) : FILTERS[name](kept, settings[name], measured);
  }
  const n = sum(kept.map((g) => g[0])), original = (list) => sum(list.map((g) => mass(g, 1)));
  const modelMass = original(kept) / original(groups);
  const single = groups.findIndex((g) => g[2] > 0); // a cut among single tokens is exact, one through a group is not
  const exact = kept === groups || n === settings.top_k || single < 0 || kept.length < single;
  if (inverse === Infinity) return { kept, n, exact, modelMass, probs: kept.map((_, i) => i ? 0 : 1), entropy: 0 };
  const masses = kept.map((g) => mass(g, inverse)), total = sum(masses), probs = masses.map((m) => m / total);
  const mean = sum(probs.map((p, i) => p * tiltedMean(kept[i], inverse)));
  return { kept, n, exact, modelMass, probs, entropy: Math.max(Math.log(total) - inverse * mean, 0) };
};
const drawCounts = (probs, n, seed) => { // the last count is of the rest
  const counts = [...probs.map(() => 0), 0], next = randomNumbers(seed);
  for (let draw = 0; draw < n; draw++) {
    let u = next(), i = 0;
    while (i < probs.length && u >= probs[i]) u -= probs[i++];
    counts[i] += 1;
  }
  return counts;
};
const percent = (p) => p === 0 ? "0 %" : p < 5e-5 ? "< 0.01 %" : `${fixed(100 * p, 2)} %`;
const frequency = (f, error, n) => {
  const digits = n >= 1000 ? 2 : 1;
  return `${fixed(100 * f, digits)} ± ${fixed(100 * error, digits)} %`;
};
const said = (name, value) => {
  if (name === "temperature" && value === 0) return "0, always the top-1 token";
  if (name === "temperature" && value === Infinity) return "∞, uniform";
  return value === null ? "off" : name === "temperature" ? fixed(value, 2) : value >= 1 ? fixed(value, 0) : `${value}`;
};
const summary = ({ n, exact, modelMass, entropy }, highest, { V, names, prompt }) => {
  const about = exact ? "" : "about ", all = `all ${fixed(V, 0)} tokens are kept.`;
  const kept = n === V ? all : `${about}${fixed(n, 0)} of ${fixed(V, 0)} tokens ${n === 1 ? "is" : "are"} kept, `
    + `${percent(modelMass)} of the model’s probability.`;
  return `${prompt ? `After “${prompt}”, ${kept}` : kept[0].toUpperCase() + kept.slice(1)} The top-1 token, `
    + `${names[0].replaceAll(" ", "\u00a0")}, now has ${percent(highest)}; entropy ${fixed(entropy, 2)} nats, as uncertain `
    + `as ${fixed(Math.exp(entropy), 1)} equal choices.`;
};
const chosen = (values, { sliders }) => { // what the sliders stand for
  const settings = { filters_first: !values.order };
  for (const [name, , stops] of sliders) {
    const stop = stops[values[name]];
    settings[name] = stop === null ? null : Number(stop); // JSON has no number for infinity, but "Infinity"
  }
  return settings;
};
let last = { steps: null }; // the distribution whose groups are at hand
const prepared = (config) => {
  if (last.steps !== config.steps) {
    const groups = groupsOf(config);
    last = { steps: config.steps, groups, own: outcome(groups, { temperature: 1, filters_first: true }).probs };
  }
  return last;
};
const compute = (values, config) => {
  const { groups, own } = prepared(config), { V, names } = config, rows = names.length, settings = chosen(values, config);
  const now = outcome(groups, settings), n = settings.n_draws, place = names.map((_, i) => now.kept.indexOf(groups[i]));
  const probs = place.map((i) => now.probs[i] || 0), ownProbs = names.map((_, i) => own[i] || 0);
  const counts = drawCounts(probs, n, values.seed), errors = probs.map((p) => Math.sqrt(p * (1 - p) / n));
  const longest = Math.max(...probs.map((p, i) => p + 3 * errors[i])); // room for three standard errors
  const scale = values.scale ? 1 : Math.min(longest, 1);
  const single = config.steps.length, note = config.groups.length ? `Beyond the ${fixed(single, 0)} highest `
    + "the number of kept tokens may be approximate; probabilities are right to 0.01 %." : "";
  const state = {
    "summary": summary(now, Math.max(...probs), config), "error": config.error || "", "error@hidden": config.error ? null : "",
    "scaled": values.scale ? "fixed" : "rescaled", "axis": `0 to ${fixed(100 * scale, scale >= 0.1 ? 0 : 1)} %`, "draws": `${fixed(n, 0)} draws`,
    "note": note, "said": config.note || "",
  };
  for (const [name] of config.sliders) state[`${name}_text`] = state[`${name}_in@aria-valuetext`] = said(name, settings[name]);
  for (const name of ["order", "scale"]) {
    for (const k of [0, 1]) state[`${name}${k}@aria-pressed`] = values[name] === k ? "true" : "false";
  }
  names.forEach((name, i) => {
    const kept = place[i] >= 0, f = counts[i] / n, e = errors[i], wide = (x) => fixed(100 * x / scale, 1);
    Object.assign(state, {
      [`row${i}@class`]: kept ? null : "cw-cut", [`mark${i}`]: kept ? "kept" : "cut", [`name${i}`]: name,
      [`bar${i}@style`]: probs[i] ? `width:${wide(probs[i])}%` : "display:none",
      [`whisker${i}@style`]: probs[i] ? `left:${wide(f - e)}%;width:${wide(2 * e)}%` : "display:none",
      [`own${i}`]: percent(ownProbs[i]), [`p${i}`]: percent(probs[i]), [`f${i}`]: frequency(f, e, n),
    });
  });
  const rest = (list) => { const p = 1 - sum(list); return p > 1e-12 ? p : 0; };
  const p = rest(probs), kept = now.n - place.filter((i) => i >= 0).length;
  return Object.assign(state, {
    "others@hidden": V > rows ? null : "",
    "other": `${fixed(V - rows, 0)} others: ${now.exact || !kept ? "" : "≈ "}${fixed(kept, 0)} kept`,
    "other_own": percent(rest(ownProbs)), "other_p": percent(p),
    "other_f": frequency(counts[rows] / n, Math.sqrt(p * (1 - p) / n), n),
  });
};
const view = (id, values, { sliders, names }) => {
  const knob = ([name, label, stops]) => slider(id, name, label, values[name], 0, stops.length - 1);
  const either = (name, label, texts) => hiddenInput(name, values[name]) + `<div class="cw-order" role="group" aria-label="${label}">`
    + `${texts.map((text, k) => button(text, { set: { [name]: k } }, `${name}${k}`)).join("")}</div>`;
  const off = Object.fromEntries(sliders.slice(0, -1).map(([name, , stops]) => [name, stops.indexOf(name === "temperature" ? 1 : null)]));
  const row = (_, i) => `<tr data-key="row${i}"><td data-key="mark${i}"></td><th scope="row" data-key="name${i}"></th>`
    + `<td><span class="cw-track" aria-hidden="true"><span class="cw-bar" data-key="bar${i}"></span>`
    + `<span class="cw-whisker" data-key="whisker${i}"></span></span></td><td class="cw-own" data-key="own${i}"></td>`
    + `<td class="cw-p" data-key="p${i}"></td><td data-key="f${i}"></td></tr>`;
  return `<p class="cw-error" role="alert" data-key="error"></p><div class="cw-cols"><div class="cw-left cw-knobs">
    ${sliders.slice(0, -1).map(knob).join("")}${hiddenInput("seed", values.seed)}
    ${either("order", "order of the two", ["filters first", "temperature first"])}
    ${either("scale", "scale of the bars", ["bars rescaled", "0 to 100 %"])}${knob(sliders.at(-1))}${button("draw again", { add: { seed: 1 } })}${button("T = 1, no filter", { set: off })}</div>
    <div class="cw-right cw-rows"><table class="cw-next" aria-label="the highest next tokens"><thead>
    <tr><th class="cw-mark">filter</th><th class="cw-name">token</th><th><span data-key="axis"></span><small data-key="scaled"></small></th>
    <th class="cw-own">model<small>at T = 1</small></th><th class="cw-p">now<small>exactly</small></th>
    <th class="cw-f"><span data-key="draws"></span><small>share ± error</small></th></tr></thead><tbody>
    ${names.map(row).join("")}<tr data-key="others"><td></td><th scope="row" colspan="2" data-key="other"></th>
    <td class="cw-own" data-key="other_own"></td><td class="cw-p" data-key="other_p"></td><td data-key="other_f"></td></tr>
    </tbody></table></div></div><p class="cw-note">Black mark: how often the token was drawn, ± the standard error √(p(1 − p)/n). <span data-key="note"></span> <span role="status" data-key="said"></span></p>`;
};
