// The twin of die_state in helpers/classroom/cards/_die.py.
const measures = (row, nats, perplexity) => {
  const finite = Number.isFinite(nats);
  return {
    [`${row}_nats`]: finite ? fixed(nats, 2) : "∞",
    [`${row}_bits`]: finite ? fixed(nats / Math.LN2, 2) : "∞",
    [`${row}_exp`]: finite ? fixed(perplexity, 1) : "∞",
    [`${row}_bar@style`]: `width:${fixed(100 * Math.min(nats / 6, 1), 1)}%`,
  };
};
const sentence = (total, entropy, perplexity, rolled, perplexityAfter) => {
  if (!total) return "Every weight is 0, so nothing can happen: raise one.";
  const before = `Before the roll: entropy ${fixed(entropy, 2)} nats, as unsure as a fair die with ${fixed(perplexity, 1)} faces.`;
  return Number.isFinite(perplexityAfter)
    ? `${before} After face ${rolled}: loss ${fixed(Math.log(perplexityAfter), 2)} nats, perplexity ${fixed(perplexityAfter, 1)}.`
    : `${before} Face ${rolled} was called impossible: if it comes, the loss is infinite.`;
};
const compute = (values) => {
  const faces = values.faces, rolled = Math.min(values.rolled, faces), weights = [];
  for (let k = 1; k <= 12; k++) weights.push(k <= faces ? values[`w${k}`] : 0);
  const total = weights.reduce((a, b) => a + b, 0), probs = weights.map((w) => total ? w / total : 0);
  const entropy = probs.reduce((sum, p) => p ? sum + p * Math.log(1 / p) : sum, 0);
  const perplexityAfter = 1 / probs[rolled - 1]; // infinite at probability 0
  const likeliest = Math.max(...probs) || 1, perplexity = total ? Math.exp(entropy) : 0;
  const state = {
    "summary": sentence(total, entropy, perplexity, rolled, perplexityAfter),
    "big": total ? `${fixed(perplexity, 1)} faces` : "no die",
    "faces_text": `${faces} faces`, "faces_in@aria-valuetext": `${faces} faces`,
    "rolled_text": `face ${rolled}`, "rolled_in@aria-valuetext": `face ${rolled}`, "rolled_in@max": `${faces}`,
    ...measures("before", total ? entropy : Infinity, perplexity), ...measures("after", Math.log(perplexityAfter), perplexityAfter),
  };
  probs.forEach((p, i) => {
    const k = i + 1, share = fixed(100 * p, 1);
    state[`face${k}@hidden`] = k <= faces ? null : "";
    state[`p${k}`] = `${share} %`;
    state[`p${k}@class`] = k === rolled ? "cw-on" : null;
    state[`bar${k}@style`] = `width:${fixed(100 * p / likeliest, 1)}%`;
    state[`w${k}_in@aria-valuetext`] = `weight ${weights[i]}, probability ${share} %`;
    state[`die${k}@visibility`] = k <= faces ? null : "hidden";
    state[`fill${k}@width`] = fixed(34 * clamp(perplexity - i, 0, 1), 1);
  });
  return state;
};
