// Recorded runs over rate, warm-up and batch size. losses has for each setting, the batch changing first, a list of
// validation losses for each seed, at even distances of tokens from 0 on; a run that was stopped has a shorter one.
const PLOT = { left: 40, top: 10, width: 410, height: 236, low: 2 };
const mean = (numbers) => numbers.reduce((a, b) => a + b, 0) / numbers.length;
const every = ({ axes }) => axes.rate.flatMap((_, rate) => axes.warmup.flatMap((_, warmup) =>
  axes.batch.map((_, batch) => ({ rate, warmup, batch }))));
const of = ({ losses, axes }, { rate, warmup, batch }) => losses[(rate * axes.warmup.length + warmup) * axes.batch.length + batch];
const ends = (seeds, c) => { // of the runs that came to their end; mean is null where any was stopped
  const last = seeds.filter((losses) => losses.length > c.n_evaluations).map((losses) => losses[c.n_evaluations]);
  const stopped = seeds.length - last.length;
  return { stopped, low: Math.min(...last), high: Math.max(...last), mean: stopped ? null : mean(last) };
};
const bestOf = (c) => every(c).reduce((best, s) => {
  const found = ends(of(c, s), c).mean;
  return found !== null && (!best || found < best.mean) ? { ...s, mean: found } : best;
}, null);
const warm = (share) => share ? `${fixed(100 * share, 0)} %` : "none";
const named = ({ rate, warmup, batch }, { axes }) =>
  `rate ${axes.rate[rate]}, warm-up ${warm(axes.warmup[warmup])}, batch ${axes.batch[batch]}`;
const range = ({ low, high }) => `${fixed(low, 2)} to ${fixed(high, 2)}`;
const compared = (here, best, c) => {
  const own = ends(of(c, here), c), top = ends(of(c, best), c), n = of(c, here).length;
  if (own.stopped) return `${own.stopped} of ${n} seeds diverged: a loss was not finite, and the run was stopped.`;
  if (own.mean === top.mean) return "This is the lowest mean of the grid.";
  const more = own.mean - top.mean, gap = `${more < 0.005 ? "Less than 0.01" : fixed(more, 2)} nats above the lowest mean`;
  const risen = own.mean > of(c, here)[0][0] ? " It ended above where it began." : "";
  return (own.low <= top.high ? `${gap}, and the seeds of the two overlap.` : `${gap}, more than the seeds differ.`) + risen;
};
const x = (i, c) => PLOT.left + PLOT.width * i / c.n_evaluations;
const y = (nats, c) => PLOT.top + PLOT.height * (1 - clamp((nats - PLOT.low) / (highest(c) - PLOT.low), 0, 1));
const highest = (c) => Math.ceil(2 * c.ln_V + 0.2) / 2;
const px = (number) => fixed(number, 1);
const curve = (seeds, c) => { // the mean over the seeds and their range, as far as every seed goes
  const n = Math.min(...seeds.map((losses) => losses.length)), at = (i) => seeds.map((losses) => losses[i]);
  const indices = [...Array(n).keys()], path = (points) => points.map(([i, nats], k) => `${k ? "L" : "M"}${px(x(i, c))} ${px(y(nats, c))}`).join("");
  const upper = indices.map((i) => [i, Math.max(...at(i))]), lower = indices.map((i) => [i, Math.min(...at(i))]).reverse();
  return [path(indices.map((i) => [i, mean(at(i))])), n ? `${path([...upper, ...lower])}Z` : ""];
};
const compute = (values, c) => {
  const best = bestOf(c), own = ends(of(c, values), c), updates = Math.floor(c.n_tokens / (c.axes.batch[values.batch] * c.context_length));
  const size = c.axes.batch[values.batch], texts = {
    rate: `${c.axes.rate[values.rate]}`, warmup: warm(c.axes.warmup[values.warmup]),
    batch: `${size} sequences, ${fixed(updates, 0)} updates`,
  };
  const n = of(c, values).length - own.stopped, said = !n ? "no run came to its end."
    : `${n} ${n > 1 ? "seeds end" : "seed ends"} at ${range(own)}` + (own.mean === null ? "." : `, mean ${fixed(own.mean, 2)} nats.`);
  const state = {
    "summary": `${named(values, c).replace("rate", "Rate")}: ${said} ${compared(values, best, c)}`,
    "best_text": `lowest mean: ${named(best, c)}`, "map@data-batch": `${values.batch}`,
  };
  for (const name in texts) state[`${name}_text`] = state[`${name}_in@aria-valuetext`] = texts[name];
  [state["own@d"], state["own_band@d"]] = curve(of(c, values), c);
  for (const s of every(c)) {
    const chosen = s.rate === values.rate && s.warmup === values.warmup && s.batch === values.batch;
    state[`cell${s.rate}${s.warmup}${s.batch}@aria-pressed`] = chosen ? "true" : "false";
  }
  return state;
};
const picture = (c) => {
  const { left, top, width, height, low } = PLOT, right = left + width, bottom = top + height;
  const [line, band] = curve(of(c, bestOf(c)), c);
  let ticks = "";
  for (let nats = low; nats <= highest(c); nats += 1) {
    ticks += `<line x1="${left}" x2="${right}" y1="${px(y(nats, c))}" y2="${px(y(nats, c))}" stroke="#e3e7eb"/>`
      + `<text x="${left - 8}" y="${px(y(nats, c) + 5)}" text-anchor="end">${nats}</text>`;
  }
  return `<svg width="${right + 8}" height="${bottom + 42}" viewBox="0 0 ${right + 8} ${bottom + 42}" role="img"
aria-label="Validation loss in nats against tokens read: the chosen setting's mean over its seeds and their range, beside the best setting's">${ticks}
<line x1="${left}" x2="${right}" y1="${px(y(c.bigram_nats, c))}" y2="${px(y(c.bigram_nats, c))}" stroke="#16191d" stroke-dasharray="2 4"/>
<text class="cw-halo" x="${left + 6}" y="${px(y(c.bigram_nats, c) + 17)}">bigram entropy</text>
<path d="${band}" fill="#d55e00" fill-opacity=".25"/><path d="${line}" fill="none" stroke="#d55e00" stroke-width="2.5" stroke-dasharray="8 4"/>
<path data-key="own_band" fill="#0072b2" fill-opacity=".25"/><path data-key="own" fill="none" stroke="#0072b2" stroke-width="2.5"/>
<text x="${left}" y="${bottom + 19}">0</text><text x="${right}" y="${bottom + 19}" text-anchor="end">${fixed(c.n_tokens, 0)}</text>
<text x="${(left + right) / 2}" y="${bottom + 37}" text-anchor="middle">tokens read</text></svg>`;
};
const shade = (share) => { // of the best, 0, white letters on blue; of the worst, 1, nearly white
  const mix = (dark, light) => Math.round(dark + (light - dark) * share);
  return `background:rgb(${mix(0, 244)},${mix(90, 247)},${mix(142, 250)});color:${share < 0.28 ? "#fff" : "#16191d"}`;
};
const map = (c) => {
  const { rate: rates, warmup: warmups, batch: batches } = c.axes, best = bestOf(c);
  const worst = Math.max(...every(c).map((s) => ends(of(c, s), c).mean ?? 0));
  const cell = (s) => {
    const { mean: end, stopped } = ends(of(c, s), c), share = Math.sqrt(((end ?? worst) - best.mean) / (worst - best.mean || 1));
    return `<td class="b${s.batch}"><button type="button" tabindex="-1" data-key="cell${s.rate}${s.warmup}${s.batch}" `
      + `style="${shade(share)}" data-set='${JSON.stringify(s)}'>${stopped ? "✗" : fixed(end, 2)}</button></td>`;
  };
  const columns = batches.flatMap((_, batch) => warmups.map((_, warmup) => ({ batch, warmup })));
  return `<table class="gr-map" data-key="map" aria-label="final validation loss of every setting, nats"><thead><tr><th>batch</th>
${batches.map((size, b) => `<th class="b${b}" colspan="${warmups.length}">${size}</th>`).join("")}</tr><tr><th>warm-up</th>
${columns.map(({ batch, warmup }) => `<th class="b${batch}">${fixed(100 * warmups[warmup], 0)}&nbsp;%</th>`).join("")}</tr></thead><tbody>
${rates.map((value, rate) => `<tr><th scope="row">rate ${value}</th>${columns.map((s) => cell({ rate, ...s })).join("")}</tr>`).join("")}</tbody></table>`;
};
const view = (id, values, c) => {
  const knob = (name, label) => slider(id, name, label, values[name], 0, c.axes[name].length - 1);
  return `<div class="cw-cols"><div class="cw-left gr-left">${knob("rate", "peak learning rate")}${knob("warmup", "warm-up, share of the updates")}
${knob("batch", "batch")}${map(c)}</div><div class="cw-right gr-right"><p class="gr-key"><span class="gr-own">chosen setting</span>
<span class="gr-best" data-key="best_text"></span></p>${picture(c)}</div></div>
<p class="cw-note">Curves: mean of the seeds, and their range. The map: final validation losses in nats, means of the seeds;
${every(c).some((s) => ends(of(c, s), c).stopped) ? "✗ where a run diverged" : "no run diverged"}. Every run reads the same text once, so a larger batch makes fewer updates. ${escaped(c.made)}</p>`;
};
