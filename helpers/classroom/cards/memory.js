// The twin of memory_state in helpers/classroom/cards/_memory_calculator.py. The memory itself comes as coefficients of
// 1, T, B T, B T^2 and min(B T, chunk), made by Python for every model and every setting of the switches.
const PHASES = ["forward", "backward", "optimizer step", "evaluation"], EVALUATION = 3;
let last = null; // the config whose forms are taken apart
const settings = (config) => {
  if (!last || last.config !== config) {
    const lists = config.moments.split("|").map((s) => s.split(";").map((m) => m.split(",").map(Number)));
    last = { config, lists };
  }
  return last.lists;
};
// parts: weights, moments, gradients, copies, activations, logits
const predict = (run, config) => {
  const { B, T, model } = run, powers = [1, T, B * T, B * T * T, Math.min(B * T, config.chunk)];
  const weights = config.weights[model], moments = config.per_weight[run.optimizer] * weights, widest = [];
  const setting = (run.precision ? 1 : 0) + 2 * run.fused + 4 * run.gradient_checkpointing + 8 * run.chunked;
  const see = (phase, parts) => {
    const n = parts.reduce((a, b) => a + b);
    if (!widest[phase] || n > widest[phase].n) widest[phase] = { n, parts };
  };
  for (const [phase, ...pairs] of settings(config)[setting]) {
    const parts = [weights, moments, 0, 0, 0, 0];
    for (let i = 0; i < pairs.length; i += 2) {
      parts[2 + Math.floor(pairs[i] / 5)] += config.numbers[model][pairs[i + 1]] * powers[pairs[i] % 5];
    }
    see(phase, parts);
  }
  if (run.kept) see(EVALUATION, [weights, moments, 0, 0, 0, 4 * run.kept * config.vocab[model]]);
  let phase = 0;
  widest.forEach((held, i) => { if (held.n > widest[phase].n) phase = i; });
  const [context, share] = config.slack, slack = context + Math.trunc(share * widest[phase].n);
  return { widest, phase, slack, peak: widest[phase].n + slack };
};
// As CHANGES in helpers/labs/budget/_plan.py, in its order.
const CHANGES = [
  (run) => ({ ...run, kept: 0 }),
  (run) => ({ ...run, chunked: 1 }),
  (run) => ({ ...run, fused: 1 }),
  (run, room, config) => {
    while (predict(run, config).peak > room && run.B > 1) run = { ...run, B: Math.floor(run.B / 2) };
    return run;
  },
  (run) => ({ ...run, precision: run.precision || 1 }),
  (run) => ({ ...run, gradient_checkpointing: 1 }),
];
const together = (run, room, config) => {
  const made = [];
  for (let before = -1; made.length > before;) {
    before = made.length;
    for (let k = 0; k < CHANGES.length; k++) {
      const changed = CHANGES[k](run, room, config);
      if (predict(changed, config).peak < predict(run, config).peak) {
        run = changed;
        made.push(config.changes[k]);
      }
      if (predict(run, config).peak <= room) return made;
    }
  }
  return [];
};
const enough = (ok, run, room, peak, config) => {
  if (ok) return `✓ Nothing has to change: ${readableBytes(room - peak)} stay free.`;
  const made = together(run, room, config);
  return made.length ? `✗ Change, the cheapest first: ${made.join(", then ")}. That is enough.`
    : "✗ Not even all of them together are enough: shorter rows, a smaller model, or a larger card.";
};
const compute = (values, config) => {
  const longest = config.context[values.model], asked = config.tokens[values.tokens];
  const run = {
    model: values.model, B: config.rows[values.rows], T: Math.min(asked, longest), precision: values.precision,
    optimizer: values.optimizer, fused: values.fused % 2, gradient_checkpointing: values.gradient_checkpointing % 2,
    chunked: values.chunked % 2, kept: config.kept[values.kept],
  };
  const room = config.bytes[values.room], card = config.rooms[values.room], { widest, phase, slack, peak } = predict(run, config);
  const ok = peak <= room, there = readableBytes(room), scale = Math.max(room, peak), at = 100 * room / scale;
  const rows = `${fixed(run.B, 0)} row${run.B > 1 ? "s" : ""}`, T = `${fixed(run.T, 0)} tokens`;
  const texts = { rows, tokens: T + (run.T < asked ? ", its longest" : ""), kept: run.kept ? `${fixed(run.kept, 0)} tokens` : "none kept" };
  const left = `left:${fixed(at, 2)}%`;
  const state = {
    "summary": `${config.models[run.model]}, ${rows} of ${T}: ${ok ? "fits" : "does not fit"}, `
      + `${readableBytes(peak)} of ${there} (${card}). Peak: ${PHASES[phase]}.`,
    "frame@class": ok ? "mc-card mc-ok" : "mc-card mc-bad", "sign": ok ? "✓" : "✗",
    "verdict": ok ? "It fits" : "It does not fit", "peak": readableBytes(peak), "peak@data-bytes": `${peak}`,
    "of": `of ${there} on ${card}`, "limit@style": left, "beyond@style": left, "limit_text": `${card}: ${there}`,
    "limit_text@style": at > 50 ? `right:${fixed(100 - at, 2)}%` : left, "at_peak": `at the peak: ${PHASES[phase]}`,
    "enough": enough(ok, run, room, peak, config),
  };
  for (const name in texts) state[`${name}_text`] = state[`${name}_in@aria-valuetext`] = texts[name];
  for (const name of ["fused", "gradient_checkpointing", "chunked"]) state[`${name}@aria-pressed`] = run[name] ? "true" : "false";
  PHASES.forEach((_, i) => {
    const parts = widest[i] ? [...widest[i].parts, slack] : [0, 0, 0, 0, 0, 0, 0];
    state[`size${i}`] = widest[i] ? readableBytes(widest[i].n + slack) : "–";
    state[`phase${i}@class`] = i === phase ? "mc-phase mc-peak" : "mc-phase";
    parts.forEach((n, j) => {
      state[`s${i}${j}@style`] = `width:${fixed(100 * n / scale, 2)}%`;
      if (i === phase) state[`part${j}`] = readableBytes(n);
    });
  });
  CHANGES.forEach((change, k) => {
    const changed = change(run, room, config), after = predict(changed, config).peak, helps = after < peak;
    state[`change${k}@class`] = helps ? null : "mc-none";
    const fewer = changed.B < run.B ? `, ${changed.B} row${changed.B > 1 ? "s" : ""}` : "";
    state[`alone${k}`] = helps ? readableBytes(after) : "–";
    state[`alone${k}@data-bytes`] = helps ? `${after}` : null;
    state[`then${k}`] = helps ? (after <= room ? "✓ fits" : "✗ not enough") + fewer : "no effect";
  });
  return state;
};
