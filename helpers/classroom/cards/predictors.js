// The twin of predictors_state in helpers/classroom/cards/_predictors.py.
const percent = (share) => share > 0 && share < 0.0005 ? "< 0.1 %" : `${fixed(100 * share, 1)} %`;
const log = Math.log, px = (x) => fixed(x, 1);
const unsurePredictor = (loss) => {
  const k = Math.floor(Math.exp(loss) + 1e-9);
  const a = clamp((log(k + 1) - loss) / (log(k + 1) - log(k)), 0, 1);
  const accuracy = a / k + (1 - a) / (k + 1), onHits = a * log(k) / k + (1 - a) * log(k + 1) / (k + 1);
  return { accuracy, confidence: accuracy, hitCosts: onHits / accuracy, missCosts: (loss - onHits) / (1 - accuracy),
    groups: [[a, log(k), log(k)], [1 - a, log(k + 1), log(k + 1)]] };
};
const bettingPredictor = (loss, confidence, V) => {
  const hit = -log(confidence), miss = log((V - 1) / (1 - confidence)), w = (loss - hit) / (miss - hit);
  if (!(w >= 0 && w <= 1)) return null;
  const entropy = confidence * hit + (1 - confidence) * miss;
  return { accuracy: 1 - w, confidence, hitCosts: hit, missCosts: miss,
    groups: [[1 - w, entropy, hit], [w, entropy, miss]] };
};
const column = (name, p) => {
  const state = {};
  const put = (row, text) => { state[`${name}_${row}`] = p ? text() : "–"; };
  const mean = (i) => p.groups.reduce((sum, group) => sum + group[0] * group[i], 0);
  const nats = (x) => fixed(x, 2);
  put("accuracy", () => percent(p.accuracy));
  put("confidence", () => percent(p.confidence));
  put("gap", () => {
    const gap = p.confidence - p.accuracy;
    return Math.abs(gap) > 1e-9 ? `${gap > 0 ? "+" : ""}${fixed(100 * gap, 1)} points` : "0.0 points";
  });
  put("entropy", () => nats(mean(1)));
  put("surprise", () => nats(mean(2)));
  put("hits", () => nats(p.hitCosts));
  put("misses", () => nats(p.missCosts));
  return state;
};
const compute = ({ loss, confidence }, { V }) => {
  const xEnd = Math.ceil(log(V)), yEnd = Math.ceil(log((V - 1) / (1 - 0.99)));
  const X = (entropy) => 52 + entropy / xEnd * 340, Y = (surprise) => 12 + 300 * (1 - surprise / yEnd);
  const dots = (name, p) => {
    const state = {};
    for (const i of [0, 1]) {
      const [share, entropy, surprise] = p ? p.groups[i] : [0, 0, 0];
      const key = name + i, x = X(entropy), y = Y(surprise), r = 20 * Math.sqrt(share), half = r * Math.sqrt(Math.PI) / 2;
      Object.assign(state, name === "a"
        ? { [`${key}@cx`]: px(x), [`${key}@cy`]: px(y), [`${key}@r`]: px(r) }
        : { [`${key}@x`]: px(x - half), [`${key}@y`]: px(y - half), [`${key}@width`]: px(2 * half),
          [`${key}@height`]: px(2 * half), [`${key}_text@x`]: px(x + half + 8), [`${key}_text@y`]: px(y + 5),
          [`${key}_text@visibility`]: r > 0 ? null : "hidden" });
    }
    return state;
  };
  const unsure = unsurePredictor(loss), betting = bettingPredictor(loss, confidence, V);
  const whole = `${fixed(100 * confidence, 0)} %`, perplexity = fixed(Math.exp(loss), 1);
  return {
    "summary": betting
      ? `Both have perplexity ${perplexity}. The unsure one hesitates between that many words and is right `
        + `${percent(unsure.accuracy)} of the time; the bettor is right ${percent(betting.accuracy)} of the time, `
        + `and pays ${fixed(betting.missCosts, 1)} nats for a miss.`
      : `No bettor has this loss: with only ${whole} on its word, even being right every time costs `
        + `${fixed(-log(confidence), 2)} nats. Raise the confidence above ${fixed(100 * Math.exp(-loss), 0)} %, or the loss.`,
    "loss_text": `${fixed(loss, 2)} nats · perplexity ${perplexity}`, "loss_in@aria-valuetext": `${fixed(loss, 2)} nats`,
    "confidence_text": whole, "confidence_in@aria-valuetext": whole,
    "mean@y1": px(Y(loss)), "mean@y2": px(Y(loss)), "mean_text@y": px(Y(loss) - 6),
    "mean_text@x": `${52 + (loss < xEnd * 0.4 ? 340 : 170)}`,
    ...column("a", unsure), ...column("b", betting), ...dots("a", unsure), ...dots("b", betting),
  };
};
