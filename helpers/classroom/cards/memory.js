// The memory that an update of a GPT takes on a GPU, from the model's sizes: V vocabulary, C embedding width, F width of
// the feed-forward layer, H heads, L layers. A run has besides B sequences of T tokens, precision, optimizer, switches
// (0 or 1), the tokens whose logits an evaluation keeps, and what budget.memory assumes. All in bytes.
const FLOAT32 = 4, ID = 8;
const isHalf = (run) => run.precision !== "float32", elementOf = (run) => isHalf(run) ? 2 : FLOAT32;
const streamOf = ({ B, T, C }) => FLOAT32 * B * T * C; // (B, T, C) of the residual stream, float32 in every precision
const tableOf = ({ V, C }) => FLOAT32 * V * C;
const logitsOf = ({ B, T, V }) => FLOAT32 * B * T * V;
const normOf = (run) => streamOf(run) + FLOAT32 * 2 * run.B * run.T; // input; mean and scale
const maskOf = ({ B, T, C, dropout }) => dropout ? B * T * C : 0;

// What one block keeps for the backward pass.
const attentionTensors = (run) => {
  const { B, T, C, H, dropout } = run, square = FLOAT32 * B * H * T * T;
  if (run.fused_attention) return 3 * elementOf(run) * B * T * C + FLOAT32 * B * H * T; // q, k, v; log-sum-exp
  return 3 * streamOf(run) + square + (dropout ? square / FLOAT32 + square : 0); // q, k, v; weights; mask, dropped
};
const blockTensors = (run) => {
  const { B, T, C, F, relu } = run, e = elementOf(run);
  const outputs = 3 * e * B * T * C, wide = e * B * T * F; // of both norms, heads joined; ReLU needs its result only
  return 2 * normOf(run) + outputs + attentionTensors(run) + (relu ? 1 : 2) * wide + 2 * maskOf(run);
};
const activationsOf = (run) => { // of all layers, the scores of the vocabulary apart
  const { B, T, C, L } = run, embedding = ID * B * T + ID * T + maskOf(run);
  const hidden = run.chunked_loss ? 0 : elementOf(run) * B * T * C;
  return L * (run.gradient_checkpointing ? streamOf(run) : blockTensors(run)) + embedding + normOf(run) + hidden;
};
const copiesOf = (run, nBlocks) => { // matrices in half precision beside the float32 weights: autocast's cache
  const { C, F, V } = run, head = run.chunked_loss ? 0 : V * C;
  return isHalf(run) ? elementOf(run) * (nBlocks * (4 * C * C + 2 * C * F) + head) : 0;
};

// The moments that can be an update's widest: [phase, gradients, copies, activations, logits].
const PHASES = ["forward", "backward", "optimizer step", "evaluation"], [FORWARD, BACKWARD, STEP, EVALUATION] = [0, 1, 2, 3];
const forward = (run) => {
  const kept = activationsOf(run), copies = copiesOf(run, run.L), stream = streamOf(run), table = tableOf(run), half = isHalf(run);
  if (!run.chunked_loss) return [FORWARD, 0, copies, kept, 2 * logitsOf(run) + (half ? logitsOf(run) / 2 : 0)];
  // Hidden states and their gradient, the head's gradient, a chunk; in half precision copies of them.
  const chunk = Math.min(run.chunk_tokens, run.B * run.T) * run.V * (half ? 2 + FLOAT32 : FLOAT32);
  return [FORWARD, table, copies + (half ? table / 2 : 0), kept + 2 * stream + (half ? stream / 2 : 0), chunk];
};
const backward = (run) => { // the loss, each block from the last to the first, the embedding
  const { B, T, C, F, H, L } = run, e = elementOf(run), stream = streamOf(run), table = tableOf(run), block = blockTensors(run);
  const copies = copiesOf(run, run.gradient_checkpointing ? 1 : L), ofBlock = FLOAT32 * run.of_a_block;
  const [keptOfBlock, again] = run.gradient_checkpointing ? [stream, block] : [block, 0], moments = [];
  let kept = activationsOf(run);
  if (!run.chunked_loss) { // the log-probabilities are kept; their gradient, and that of the logits
    moments.push([BACKWARD, 0, copies, kept, 3 * logitsOf(run)]);
    kept += e * B * T * C;
  }
  kept += stream;
  const wide = e * B * T * F, square = FLOAT32 * B * H * T * T; // what passes through a block where it is widest
  const passing = [wide + 2 * stream, ...(run.fused_attention ? [] : [2 * square - 2 * wide])];
  for (const done of [0, L - 1]) { // from block to block the sum changes by the same amount: the first or the last
    for (const more of passing) {
      moments.push([BACKWARD, table + (done + 1) * ofBlock, copies, kept - done * keptOfBlock + again + more, 0]);
    }
  }
  return [...moments, [BACKWARD, 2 * table + L * ofBlock, copies, kept - L * keptOfBlock, 0]];
};
// Of each phase its widest moment: parts (weights, optimizer's moments, then as above) and their sum; the overhead of the
// libraries, which is the same throughout; the phase with the peak, and the peak.
const memory = (run) => {
  const weights = FLOAT32 * run.parameters, always = [weights, run.moments[run.optimizer] * weights], phases = [];
  const evaluation = run.kept ? [[EVALUATION, 0, 0, 0, FLOAT32 * run.kept * run.V]] : [];
  for (const [phase, ...held] of [forward(run), ...backward(run), [STEP, weights, 0, 0, 0], ...evaluation]) {
    const parts = [...always, ...held], n = parts.reduce((a, b) => a + b);
    if (!phases[phase] || n > phases[phase].n) phases[phase] = { n, parts };
  }
  let peak = 0;
  phases.forEach(({ n }, i) => { if (n > phases[peak].n) peak = i; });
  const overhead = run.cuda_context + Math.trunc(run.cuda_fragments * phases[peak].n);
  return { phases, overhead, phase: peak, peak: phases[peak].n + overhead };
};

// What can be changed, in the order of config.changes, which says what and at what price: run -> run.
const CHANGES = [
  (run) => ({ ...run, kept: 0 }),
  (run) => ({ ...run, chunked_loss: 1 }),
  (run) => ({ ...run, fused_attention: 1 }),
  (run, room) => { // accumulation
    while (memory(run).peak > room && run.B > 1) run = { ...run, B: Math.floor(run.B / 2) };
    return run;
  },
  (run) => isHalf(run) ? run : { ...run, precision: "bfloat16" },
  (run) => ({ ...run, gradient_checkpointing: 1 }),
];
// The indices in CHANGES of those that are enough, one after the other, each that then makes it smaller; [] if all are not.
const together = (run, room) => {
  const made = [];
  for (let before = -1; made.length > before;) { // again: one may help only once another phase is the widest
    before = made.length;
    for (let k = 0; k < CHANGES.length; k++) {
      const changed = CHANGES[k](run, room);
      if (memory(changed).peak < memory(run).peak) {
        run = changed;
        made.push(k);
      }
      if (memory(run).peak <= room) return made;
    }
  }
  return [];
};
const advice = (run, room, peak, config) => {
  if (peak <= room) return `✓ Nothing has to change: ${readableBytes(room - peak)} stay free.`;
  const made = together(run, room).map((k) => config.changes[k][0]);
  return made.length ? `✗ Change, the cheapest first: ${made.map(spoken).join(spoken(", then "))}. That is enough.`
    : "✗ Not even all of them together are enough: shorter sequences, a smaller model, or a larger GPU.";
};

const BATCHES = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512];
const CONTEXTS = [32, 64, 128, 256, 384, 512, 768, 1024, 1536, 2048];
const KEPT = [0, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6, 2e6, 5e6, 1e7];
const SWITCHES = { fused_attention: "fused attention", gradient_checkpointing: "gradient checkpointing", chunked_loss: "chunked loss" };
const stopsOf = ({ start, models }) => {
  const own = Object.values(models).map((m) => m.longest), longest = Math.max(...own);
  const sorted = (numbers) => [...new Set(numbers)].sort((a, b) => a - b);
  return {
    model: Object.keys(models), batch: sorted([...BATCHES, start.batch]), kept: sorted([...KEPT, start.kept]),
    tokens: sorted([...CONTEXTS, ...own, start.tokens]).filter((T) => T <= longest),
  };
};
// The run at the positions of the controls; a switch is on at an odd number.
const runAt = (values, config) => {
  const stops = stopsOf(config), model = config.models[stops.model[values.model]];
  const run = { ...config.assumed, ...model, B: stops.batch[values.batch], T: Math.min(stops.tokens[values.tokens], model.longest),
    precision: config.precisions[values.precision], optimizer: config.optimizers[values.optimizer], kept: stops.kept[values.kept] };
  for (const name in SWITCHES) run[name] = values[name] % 2;
  return run;
};
const sequences = (n) => `${fixed(n, 0)} ${n > 1 ? "sequences" : "sequence"}`;
const bars = (now, room) => {
  const { phases, overhead, phase, peak } = now, scale = Math.max(room, peak), state = {};
  PHASES.forEach((_, i) => {
    const parts = phases[i] ? [...phases[i].parts, overhead] : [0, 0, 0, 0, 0, 0, 0];
    state[`size${i}`] = phases[i] ? readableBytes(phases[i].n + overhead) : "–";
    state[`phase${i}@class`] = i === phase ? "mc-phase mc-peak" : "mc-phase";
    parts.forEach((n, j) => {
      state[`s${i}${j}@style`] = `width:${fixed(100 * n / scale, 2)}%`;
      if (i === phase) state[`part${j}`] = readableBytes(n);
    });
  });
  return state;
};
const changes = (run, room, peak) => {
  const state = {};
  CHANGES.forEach((change, k) => {
    const changed = change(run, room), after = memory(changed).peak, helps = after < peak;
    const fewer = changed.B < run.B ? `, ${sequences(changed.B)}` : "";
    state[`change${k}@class`] = helps ? null : "mc-none";
    state[`alone${k}`] = helps ? readableBytes(after) : "–";
    state[`then${k}`] = helps ? (after <= room ? "✓ fits" : "✗ not enough") + fewer : "no effect";
  });
  return state;
};
const compute = (values, config) => {
  const run = runAt(values, config), stops = stopsOf(config), name = stops.model[values.model];
  const [gpu, room] = Object.entries(config.rooms)[values.room], now = memory(run), { phase, peak } = now;
  const ok = peak <= room, there = readableBytes(room), at = 100 * room / Math.max(room, peak), left = `left:${fixed(at, 2)}%`;
  const batch = sequences(run.B), tokens = `${fixed(run.T, 0)} tokens`, shortened = run.T < stops.tokens[values.tokens];
  const texts = { batch, tokens: tokens + (shortened ? ", its longest" : ""), kept: run.kept ? `${fixed(run.kept, 0)} tokens` : "none kept" };
  const state = {
    "summary": `${name}, ${batch} of ${tokens}: ${ok ? "fits" : "does not fit"}, ${readableBytes(peak)} of ${there} (${gpu}). `
      + `Peak: ${PHASES[phase]}.`,
    "frame@class": ok ? "mc-card mc-ok" : "mc-card mc-bad", "sign": ok ? "✓" : "✗",
    "verdict": ok ? "It fits" : "It does not fit", "peak": readableBytes(peak), "of": `of ${there} on ${gpu}`,
    "limit@style": left, "beyond@style": left, "limit_text": `${gpu}: ${there}`,
    "limit_text@style": at > 50 ? `right:${fixed(100 - at, 2)}%` : left, "at_peak": `at the peak: ${PHASES[phase]}`,
    "enough": advice(run, room, peak, config), ...bars(now, room), ...changes(run, room, peak),
  };
  for (const key in texts) state[`${key}_text`] = state[`${key}_in@aria-valuetext`] = texts[key];
  for (const key in SWITCHES) state[`${key}@aria-pressed`] = run[key] ? "true" : "false";
  return state;
};

const SEGMENTS = ["weights", "optimizer’s moments", "gradients", "half-precision copies", "activations", "logits", "overhead"];
const foot = ({ cuda_context, cuda_fragments }) => `Predicted from the config, at each phase’s widest moment. Overhead is assumed, not measured on a GPU: `
  + `${readableBytes(cuda_context)} for the driver and ${100 * cuda_fragments} % of the tensors for the allocator.`;
const menu = (id, name, label, names, chosen) => {
  const options = names.map((text, i) => `<option value="${i}"${text === chosen ? " selected" : ""}>${escaped(text)}</option>`);
  return `<div><label for="${id}-${name}">${label}</label><select id="${id}-${name}" data-in="${name}" `
    + `data-lm-suppress-shortcuts="true" autocomplete="off">${options.join("")}</select></div>`;
};
const menus = (id, values, config) => {
  const all = [["model", "model", stopsOf(config).model], ["room", "GPU", Object.keys(config.rooms)],
    ["precision", "precision", config.precisions], ["optimizer", "optimizer", config.optimizers]];
  return `<div class="mc-menus">${all.map(([name, label, names]) => menu(id, name, label, names, values[name])).join("")}</div>`;
};
const controls = (id, values, config) => {
  const stops = stopsOf(config), sliders = [["batch", "micro-batch"], ["tokens", "tokens in a sequence"], ["kept", "logits of evaluation"]];
  const hidden = Object.keys(SWITCHES).map((name) => hiddenInput(name, Number(values[name])));
  const toggles = Object.entries(SWITCHES).map(([name, text]) => button(text, { add: { [name]: 1 } }, name));
  return sliders.map(([name, label]) => slider(id, name, label, stops[name].indexOf(values[name]), 0, stops[name].length - 1)).join("")
    + `${hidden.join("")}<div class="mc-switches" role="group" aria-label="switches">${toggles.join("")}</div>`;
};
const view = (id, values, config) => {
  const rows = PHASES.map((phase, i) => `<div data-key="phase${i}"><span>${phase}</span><span class="mc-track" aria-hidden="true">`
    + SEGMENTS.map((_, j) => `<i class="mc-s${j}" data-key="s${i}${j}"></i>`).join("") + `</span><b data-key="size${i}"></b></div>`);
  const legend = SEGMENTS.map((name, j) => `<div><i class="mc-s${j}" aria-hidden="true"></i><span>${name}</span><b data-key="part${j}"></b></div>`);
  const table = config.changes.map(([what, price], k) => `<tr data-key="change${k}"><td>${what}</td><td>${price}</td>`
    + `<td data-key="alone${k}"></td><td data-key="then${k}"></td></tr>`);
  return `<div data-key="frame">${menus(id, values, config)}<div class="cw-cols"><div class="cw-left mc-knobs">${controls(id, values, config)}</div>
<div class="cw-right mc-right"><div class="mc-verdict"><span class="mc-sign" data-key="sign" aria-hidden="true"></span><div>
<b data-key="verdict"></b><span class="cw-big" data-key="peak"></span> <span data-key="of"></span></div></div>
<div class="mc-bars" role="group" aria-label="memory held in each phase"><div class="mc-over" aria-hidden="true">
<i class="mc-beyond" data-key="beyond"></i><i class="mc-limit" data-key="limit"></i><span data-key="limit_text"></span></div>${rows.join("")}</div>
<p class="mc-at" data-key="at_peak"></p><div class="mc-legend">${legend.join("")}</div></div></div>
<p class="mc-enough" data-key="enough"></p>
<details class="cw-more"><summary>What each change alone would do, and what is assumed</summary><table class="mc-changes"><thead><tr><th>each alone makes it smaller</th><th>price</th><th>peak</th><th>then</th></tr></thead>
<tbody>${table.join("")}</tbody></table><p class="cw-note">${foot(config.assumed)}</p></details></div>`;
};
