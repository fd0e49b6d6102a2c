// The twin of sampling_state in helpers/classroom/cards/_sampling.py and of _distribution.py; a group is [n, mean, half].
const span = (from, to, by) => Array.from({ length: (to - from) / by + 1 }, (_, i) => from + i * by);
const TEMPERATURES = [...span(0, 100, 5), ...span(110, 200, 10), ...span(225, 300, 25), ...span(350, 500, 50)]
  .map((x) => x / 100).concat(Infinity);
const TOP_PS = [...span(10, 990, 10), 995, 999, 1000].map((x) => x / 1000);
const MIN_PS = [0, 1, 2, 5, 10, 20, 30, 50, 70, 100, 150, 200, 300, 400, 500, 600, 700, 800, 900, 1000].map((x) => x / 1000);
const N_DRAWS = [10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000];
const sum = (numbers) => { let s = 0; for (const x of numbers) s += x; return s; };
const kStops = (V) => {
  const stops = span(1, Math.min(V, 10) - 1, 1);
  for (let power = 0; power < 6; power++) {
    for (const k of [10, 12, 15, 20, 25, 30, 40, 50, 60, 80]) if (k * 10 ** power < V) stops.push(k * 10 ** power);
  }
  return [...stops, V];
};
const groupsOf = ({ logits, steps, groups }) => {
  const single = logits.map((x) => x - logits[0]);
  let below = Math.round(single[single.length - 1] / 1e-5);
  for (const step of steps) single.push((below += step) * 1e-5);
  return [...single.map((x) => [1, x, 0]), ...groups];
};
const top = ([n, mean, half], j) => [j, mean + half * (1 - j / n), half * (j / n)];
const mass = ([n, mean, half], inverse) => {
  const x = inverse * half, spread = x > 1e-6 ? Math.exp(x) * -Math.expm1(-2 * x) / (2 * x) : 1;
  return n * Math.exp(inverse * mean) * spread;
};
const tiltedMean = ([, mean, half], inverse) => {
  const x = inverse * half;
  return mean + half * (x > 1e-3 ? 1 / Math.tanh(x) - 1 / x : x / 3);
};
const countAbove = ([n, mean, half], level) => half === 0 ? (mean >= level ? n : 0)
  : clamp(Math.floor(n * (mean + half - level) / (2 * half) + 0.5), 0, n);
const countToReach = ([n, mean, half], goal, inverse) => {
  const x = 2 * inverse * half, each = Math.exp(inverse * (mean + half)), reached = each ? goal / (n * each) : 1;
  const share = x <= 1e-6 ? reached : reached * x < 1 ? -Math.log1p(-reached * x) / x : 1;
  return clamp(Math.ceil(n * share - 1e-9), 1, n);
};
const cut = (groups, goal, sizes, count) => {
  let left = goal;
  for (let i = 0; i < groups.length; i++) {
    if (sizes[i] >= left) return [[...groups.slice(0, i), top(groups[i], count(groups[i], left))], groups[i][2] === 0];
    left -= sizes[i];
  }
  return [groups, true];
};
const keep = (groups, { inverse: final, topK, topP, minP, filtersFirst }) => {
  const inverse = filtersFirst ? 1 : final;
  if ((topK || topP || minP) && inverse === Infinity) return [groups.slice(0, 1), true];
  let exact = true;
  if (topK) [groups] = cut(groups, topK, groups.map((g) => g[0]), (g, left) => left);
  if (topP) {
    const masses = groups.map((g) => mass(g, inverse));
    [groups, exact] = cut(groups, topP * sum(masses), masses, (g, left) => countToReach(g, left, inverse));
  }
  if (minP && inverse) {
    const level = Math.log(minP) / inverse, i = groups.findIndex((g) => countAbove(g, level) < g[0]);
    if (i >= 0) {
      const j = countAbove(groups[i], level);
      exact = groups.slice(Math.max(i - 1, 0), i + 1).every((g) => g[2] === 0); // whatever top-p cut lies beyond
      groups = [...groups.slice(0, i), ...(j ? [top(groups[i], j)] : [])];
    }
  }
  return [groups, exact];
};
const outcome = (groups, settings) => {
  const [kept, exact] = keep(groups, settings), { inverse } = settings;
  const original = (list) => sum(list.map((g) => mass(g, 1)));
  const modelMass = kept === groups ? 1 : original(kept) / original(groups);
  if (inverse === Infinity) return { kept, probs: kept.map((_, i) => i ? 0 : 1), exact, modelMass, entropy: 0 };
  const masses = kept.map((g) => mass(g, inverse)), total = sum(masses), probs = masses.map((m) => m / total);
  const mean = sum(probs.map((p, i) => p * tiltedMean(kept[i], inverse)));
  return { kept, probs, exact, modelMass, entropy: Math.max(Math.log(total) - inverse * mean, 0) };
};
const drawCounts = (probs, n, seed) => { // mulberry32
  const counts = [...probs.map(() => 0), 0];
  let state = seed | 0;
  for (let draw = 0; draw < n; draw++) {
    state = (state + 0x6D2B79F5) | 0;
    let t = Math.imul(state ^ state >>> 15, state | 1);
    t ^= t + Math.imul(t ^ t >>> 7, t | 61);
    let u = ((t ^ t >>> 14) >>> 0) / 4294967296, i = 0;
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
const summary = ({ kept, exact, modelMass, entropy }, highest, { V, names, prompt }) => {
  const n = sum(kept.map((g) => g[0])), about = exact ? "" : "about ";
  const said = n === V ? `all ${fixed(V, 0)} tokens are kept.`
    : `${about}${fixed(n, 0)} of ${fixed(V, 0)} tokens ${n === 1 ? "is" : "are"} kept, ${percent(modelMass)} of the model’s probability.`;
  return `${prompt ? `After “${prompt}”, ${said}` : said[0].toUpperCase() + said.slice(1)} The likeliest, ${names[0].replaceAll(" ", "\u00a0")}, now has ${percent(highest)}; entropy `
    + `${fixed(entropy, 2)} nats, as unsure as ${fixed(Math.exp(entropy), 1)} equal choices.`;
};
let last = null; // the config whose groups are at hand
const prepared = (config) => {
  if (!last || last.config !== config) {
    const groups = groupsOf(config);
    last = { config, groups, own: outcome(groups, { inverse: 1, filtersFirst: true }).probs, stops: kStops(config.V) };
  }
  return last;
};
const compute = (values, config) => {
  const { groups, own, stops } = prepared(config), { V, names } = config, rows = names.length;
  const T = TEMPERATURES[values.temperature], topK = values.top_k < stops.length - 1 ? stops[values.top_k] : null;
  const topP = values.top_p < TOP_PS.length - 1 ? TOP_PS[values.top_p] : null, minP = MIN_PS[values.min_p] || null;
  const n = N_DRAWS[values.n], now = outcome(groups, { inverse: 1 / T, topK, topP, minP, filtersFirst: !values.order });
  const probs = names.map((_, i) => now.probs[i] || 0), ownProbs = names.map((_, i) => own[i] || 0);
  const counts = drawCounts(probs, n, values.seed), errors = probs.map((p) => Math.sqrt(p * (1 - p) / n));
  const scale = Math.min(Math.max(...probs.map((p, i) => p + 3 * errors[i])), 1);
  const texts = {
    temperature: T === 0 ? "0, always the likeliest" : T === Infinity ? "∞, all kept alike" : fixed(T, 2),
    top_k: topK ? fixed(topK, 0) : "off", top_p: topP ? `${topP}` : "off", min_p: minP ? `${minP}` : "off", n: fixed(n, 0),
  };
  const state = {
    "summary": summary(now, probs[0], config), "error": config.error || "", "error@hidden": config.error ? null : "",
    "top_k_in@max": `${stops.length - 1}`, "axis": `0 to ${fixed(100 * scale, scale >= 0.1 ? 0 : 1)} %`, "draws": `${fixed(n, 0)} draws`,
    "note": !config.groups.length ? "" : `Beyond the ${fixed(config.logits.length + config.steps.length, 0)} likeliest, the page knows the `
      + "tokens in groups only: a number of kept ones may be approximate, the probabilities shown are right to 0.01 %.",
  };
  for (const [name, text] of Object.entries(texts)) state[`${name}_text`] = state[`${name}_in@aria-valuetext`] = text;
  for (const k of [0, 1]) state[`order${k}@aria-pressed`] = values.order === k ? "true" : "false";
  names.forEach((name, i) => {
    const kept = i < now.kept.length, f = counts[i] / n, e = errors[i];
    state[`row${i}@class`] = kept ? null : "cw-cut";
    state[`mark${i}`] = kept ? "kept" : "cut";
    state[`name${i}`] = name;
    state[`bar${i}@style`] = probs[i] ? `width:${fixed(100 * probs[i] / scale, 1)}%` : "display:none";
    state[`whisker${i}@style`] = probs[i] ? `left:${fixed(100 * (f - e) / scale, 1)}%;width:${fixed(200 * e / scale, 1)}%`
      : "display:none";
    state[`own${i}`] = percent(ownProbs[i]);
    state[`p${i}`] = percent(probs[i]);
    state[`f${i}`] = frequency(f, e, n);
  });
  const rest = (list) => { const p = 1 - sum(list); return p > 1e-12 ? p : 0; };
  const p = rest(probs), kept = Math.max(sum(now.kept.map((g) => g[0])) - rows, 0);
  return Object.assign(state, {
    "others@hidden": V > rows ? null : "", "other": `all ${fixed(V - rows, 0)} others: ${now.exact || !kept ? "" : "≈ "}${fixed(kept, 0)} kept`, "other_own": percent(rest(ownProbs)),
    "other_p": percent(p), "other_f": frequency(counts[rows] / n, Math.sqrt(p * (1 - p) / n), n),
  });
};
