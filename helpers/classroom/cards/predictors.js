// Two predictors of one mean loss, seen over many tokens: groups of [share of tokens, entropy of the prediction,
// surprisal at the target], in nats; accuracy and confidence of the top-1 token; mean loss where it is right, and wrong.
const { log } = Math, LOSS_STEP = 0.05, CONFIDENCE_STEP = 0.01;
// Spreads its probability evenly over k tokens of which one is the target, or over k + 1. With k = floor(exp(loss)) and a
// share a of the former, a ln k + (1 - a) ln(k + 1) = loss has one solution in [0, 1]. Its entropy is its surprisal on
// each token and its accuracy its confidence: it knows what it does not know.
const uncertainPredictor = (loss) => {
  const k = Math.floor(Math.exp(loss) + 1e-9); // exp(ln 55) may come out just below 55
  const a = clamp((log(k + 1) - loss) / (log(k + 1) - log(k)), 0, 1);
  const accuracy = a / k + (1 - a) / (k + 1), onHits = a * log(k) / k + (1 - a) * log(k + 1) / (k + 1);
  return { accuracy, confidence: accuracy, hit: onHits / accuracy, miss: (loss - onHits) / (1 - accuracy),
    groups: [[a, log(k), log(k)], [1 - a, log(k + 1), log(k + 1)]] };
};
// Always gives one token the probability c and every other (1 - c) / (V - 1); a share w of hits to misses makes the mean
// equal to the loss. null where none does: at c < exp(-loss) even hits alone cost more. A miss always costs more than
// ln V as long as c > 1 / V, so no loss up to ln V is too large.
const bettingPredictor = (loss, c, V) => {
  const hit = -log(c), miss = log((V - 1) / (1 - c)), w = (loss - hit) / (miss - hit);
  if (!(w >= 0 && w <= 1)) return null;
  const entropy = c * hit + (1 - c) * miss;
  return { accuracy: 1 - w, confidence: c, hit, miss, groups: [[1 - w, entropy, hit], [w, entropy, miss]] };
};
const meanOf = (predictor, i) => predictor.groups.reduce((sum, group) => sum + group[0] * group[i], 0);
const percent = (share) => share > 0 && share < 0.0005 ? "< 0.1 %" : `${fixed(100 * share, 1)} %`;
const gap = (p) => {
  const points = 100 * (p.confidence - p.accuracy);
  return Math.abs(points) > 1e-7 ? `${points > 0 ? "+" : ""}${fixed(points, 1)} points` : "0.0 points";
};
const ROWS = {
  accuracy: ["accuracy", (p) => percent(p.accuracy)], confidence: ["confidence", (p) => percent(p.confidence)],
  gap: ["confidence − accuracy", gap], entropy: ["mean entropy, nats", (p) => fixed(meanOf(p, 1), 2)],
  surprisal: ["mean surprisal, nats", (p) => fixed(meanOf(p, 2), 2)],
  hits: ["… of a hit, nats", (p) => fixed(p.hit, 2)], misses: ["… of a miss, nats", (p) => fixed(p.miss, 2)],
};
// The picture: surprisal against entropy, in px. Both axes hold every point that can be reached.
const LEFT = 52, TOP = 12, WIDTH = 340, HEIGHT = 300, RIGHT = LEFT + WIDTH, BOTTOM = TOP + HEIGHT;
const LARGEST = 20; // radius of a dot that holds every token: its area is the share
const axes = ({ V, confidences }) => {
  const xEnd = Math.ceil(log(V)), yEnd = Math.ceil(log((V - 1) / (1 - confidences[1])));
  return { xEnd, yEnd, X: (entropy) => LEFT + entropy / xEnd * WIDTH, Y: (surprisal) => TOP + HEIGHT * (1 - surprisal / yEnd) };
};
const px = (x) => fixed(x, 1);
const dot = (key, x, y, r) => {
  if (key[0] === "a") return { [`${key}@cx`]: px(x), [`${key}@cy`]: px(y), [`${key}@r`]: px(r) };
  const half = r * Math.sqrt(Math.PI) / 2; // a square of the same area
  return { [`${key}@x`]: px(x - half), [`${key}@y`]: px(y - half), [`${key}@width`]: px(2 * half),
    [`${key}@height`]: px(2 * half), [`${key}_text@x`]: px(x + half + 8), [`${key}_text@y`]: px(y + 5),
    [`${key}_text@visibility`]: r > 0 ? null : "hidden" };
};
const summary = (loss, confidence, uncertain, betting) => betting
  ? `Both have perplexity ${fixed(Math.exp(loss), 1)}. The uncertain one hesitates between that many tokens and is wrong `
    + `${percent(1 - uncertain.accuracy)} of the time; the betting one is wrong ${percent(1 - betting.accuracy)} of the time, `
    + `and pays ${fixed(betting.miss, 1)} nats each time.`
  : `No betting predictor has this loss: with only ${fixed(100 * confidence, 0)} % on its token, even being right every time `
    + `costs ${fixed(-log(confidence), 2)} nats. Raise the confidence above ${fixed(100 * Math.exp(-loss), 0)} %, or the loss.`;
const compute = ({ loss, confidence }, config) => {
  const { X, Y, xEnd } = axes(config), both = { a: uncertainPredictor(loss), b: bettingPredictor(loss, confidence, config.V) };
  const nats = `${fixed(loss, 2)} nats`, share = `${fixed(100 * confidence, 0)} %`;
  const state = {
    "summary": summary(loss, confidence, both.a, both.b),
    "loss_text": `${nats} · perplexity ${fixed(Math.exp(loss), 1)}`, "loss_in@aria-valuetext": nats,
    "confidence_text": share, "confidence_in@aria-valuetext": share,
    "mean@y1": px(Y(loss)), "mean@y2": px(Y(loss)), "mean_text@y": px(Y(loss) - 6),
    "mean_text@x": `${loss < xEnd * 0.4 ? RIGHT : LEFT + WIDTH / 2}`,
  };
  for (const [name, predictor] of Object.entries(both)) {
    for (const row in ROWS) state[`${name}_${row}`] = predictor ? ROWS[row][1](predictor) : "–";
    for (const i of [0, 1]) {
      const [part, entropy, surprisal] = predictor ? predictor.groups[i] : [0, 0, 0];
      Object.assign(state, dot(name + i, X(entropy), Y(surprisal), LARGEST * Math.sqrt(part)));
    }
  }
  return state;
};
const picture = (config) => {
  const { X, Y, xEnd, yEnd } = axes(config), middle = (LEFT + RIGHT) / 2, up = TOP + HEIGHT / 2;
  let ticks = "";
  for (let t = 0; t <= xEnd; t += 2) ticks += `<text x="${px(X(t))}" y="${BOTTOM + 35}" text-anchor="middle">${t}</text>`;
  for (let t = 0; t <= yEnd; t += 4) {
    ticks += `<line x1="${LEFT}" x2="${RIGHT}" y1="${px(Y(t))}" y2="${px(Y(t))}" stroke="#e3e7eb"/>`
      + `<text x="${LEFT - 8}" y="${px(Y(t) + 5)}" text-anchor="end">${t}</text>`;
  }
  const dots = ["hits", "misses"].map((name, i) => `<circle data-key="a${i}" fill="#0072b2" fill-opacity=".9" stroke="#16191d"/>`
    + `<rect data-key="b${i}" fill="#d55e00" fill-opacity=".9" stroke="#16191d"/>`
    + `<text class="cw-halo" data-key="b${i}_text">${name}</text>`);
  return `<svg width="${RIGHT + 20}" height="${BOTTOM + 62}" viewBox="0 0 ${RIGHT + 20} ${BOTTOM + 62}" role="img"
aria-label="Surprisal against entropy, areas by share of tokens: circles on the diagonal for the uncertain predictor, two squares at one entropy for the betting one">${ticks}
<line x1="${LEFT}" y1="${BOTTOM}" x2="${RIGHT}" y2="${px(Y(xEnd))}" stroke="#5b6470" stroke-dasharray="2 4"/>
<text x="${RIGHT}" y="${px(Y(0.52 * xEnd))}" class="cw-halo" text-anchor="end">surprisal = entropy</text>
<line data-key="mean" x1="${LEFT}" x2="${RIGHT}" stroke="#16191d" stroke-dasharray="7 5"/>
<text data-key="mean_text" class="cw-halo" text-anchor="end">mean of both</text>${dots.join("")}
<text x="${middle}" y="${BOTTOM + 57}" text-anchor="middle">entropy of the prediction, nats</text>
<text transform="translate(14 ${up}) rotate(-90)" text-anchor="middle">surprisal at the target, nats</text></svg>`;
};
const view = (id, { loss, confidence }, config) => {
  const { V, least_loss: least, confidences: [low, high] } = config;
  const most = (least + LOSS_STEP * Math.floor((log(V) - least) / LOSS_STEP)).toFixed(2);
  const rows = Object.entries(ROWS).map(([key, [label]]) =>
    `<tr><td>${label}</td><td data-key="a_${key}"></td><td data-key="b_${key}"></td></tr>`);
  return `<div class="cw-cols"><div class="cw-left cw-table">${slider(id, "loss", "mean loss", loss, least, most, LOSS_STEP)}
${slider(id, "confidence", "the betting one puts on its token", confidence, low, high, CONFIDENCE_STEP)}
<table><thead><tr><th></th><th><span style="color:#0072b2">●</span>&nbsp;uncertain</th>
<th><span style="color:#d55e00">■</span>&nbsp;betting</th></tr></thead><tbody>${rows.join("")}</tbody></table></div>
<div class="cw-right">${picture(config)}</div></div>`;
};
