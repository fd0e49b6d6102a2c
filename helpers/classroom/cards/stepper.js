// The six steps on the logits that the model in the kernel gave, with ln sum exp of all V.
const STEPS = ["logits", "probabilities", "target's share", "logs", "mean", "negated"], MOST = 15; // rows a sentence
const COLUMNS = [["a", "", "input"], ["b", "", "target"], ["c", "c1 c2 c12", ""], ["d", "c1", "target’s logit"],
  ["e", "c3 c36", "p(target)"], ["f", "c3 c36", "its rank"], ["g", "c4 c36", "ln p(target)"]];
const exponent = (x, digits) => x.toExponential(digits).replace(/e([+-])(\d)$/, "e$10$2");
const prob = (p) => p >= 0.01 ? fixed(p, 3) : exponent(p, 1);
const signed = (x, digits = 2) => fixed(x, digits).replace("-", "−");
const logProb = (row) => row.logit - row.log_sum;
const meanLog = (rows) => rows.reduce((sum, row) => sum + logProb(row), 0) / rows.length;
const explained = (step, V, n) => [
  `each input gets ${V} scores, one per token that could come next.`,
  `softmax makes the ${V} scores of a row positive, with sum 1.`,
  "of each row keep what the target got. This is what training raises.",
  "0 would be perfect. Logs turn a product of small numbers into a sum.",
  `the average over all ${n} targets.`,
  "a loss is to be made small, so the sign is turned.",
][step - 1];
const result = (step, rows, c) => { // the step on numbers: for the first target up to step 4, then for all of them
  const [first] = rows, { input, target, logit } = first, mean = meanLog(rows);
  const share = exponent(Math.exp(logProb(first)), 3), perplexity = Math.exp(-mean);
  return [
    `${target} after ${input}: score ${signed(logit)}`,
    `exp(${signed(logit)}) / sum of ${fixed(c.V, 0)} such = ${share}`,
    `p(${target} after ${input}) = ${share}`,
    `ln ${share} = ${signed(logProb(first))}`,
    `(${terms(rows)}) / ${rows.length} = ${signed(mean, 4)}`,
    `loss ${signed(-mean, 4)} nats · F.cross_entropy ${fixed(c.cross_entropy, 4)} · `
      + `perplexity ${fixed(perplexity, perplexity < 1000 ? 1 : 0)}`,
  ][step - 1];
};
const terms = (rows) => { // of a sum: the first and the last ones where there are many
  const all = rows.map((row) => `− ${fixed(-logProb(row), 2)}`);
  return (all.length <= 8 ? all : [...all.slice(0, 5), "− …", all.at(-1)]).join(" ");
};
const note = ([a, b]) => a === b ? `Both sentences have ${a} target${a > 1 ? "s" : ""}: every target counts once.`
  : `The sentences have ${a} and ${b} targets. The shorter one is padded; padding has the target -100 and is not scored.`;
const compute = ({ step }, c) => {
  const V = fixed(c.V, 0), name = STEPS[step - 1], rows = c.sentences.flatMap((sentence) => sentence.rows);
  const state = {
    "summary": `Step ${step} of 6, ${name}: ${explained(step, V, rows.length)}`,
    "step_in@aria-valuetext": `step ${step} of 6, ${name}`, "table@data-step": `${step}`,
    "top_head": `3 highest of ${V} ${step === 1 ? "logits" : "probabilities"}`,
    "result": result(step, rows, c), "note": note(c.sentences.map((sentence) => sentence.rows.length)),
    "error": c.error || "", "error@hidden": c.error ? null : "",
  };
  STEPS.forEach((_, i) => { state[`step${i + 1}@aria-pressed`] = i + 1 === step ? "true" : "false"; });
  c.sentences.forEach((sentence, s) => {
    state[`s${s}`] = `“${sentence.text}”`;
    for (let i = 0; i < MOST; i++) {
      const row = sentence.rows[i], key = `r${s}${i}`;
      const top = ([token, logit]) => `${token} ${step === 1 ? signed(logit) : prob(Math.exp(logit - row.log_sum))}`;
      const cells = row ? [row.input, row.target, row.top.map(top).join(" · "), signed(row.logit), prob(Math.exp(logProb(row))),
        fixed(row.rank, 0), signed(logProb(row))] : COLUMNS.map(() => "");
      state[`${key}@hidden`] = row ? null : "";
      cells.forEach((text, j) => { state[key + COLUMNS[j][0]] = text; });
    }
  });
  return state;
};
const view = (id) => {
  const numbers = [...Array(MOST).keys()];
  const row = (s, i) => `<tr data-key="r${s}${i}">${COLUMNS.map(([c, css]) => `<td class="${css}" data-key="r${s}${i}${c}"></td>`).join("")}</tr>`;
  const sentence = (s) => `<tr class="cw-said"><th colspan="${COLUMNS.length}" data-key="s${s}"></th></tr>`
    + numbers.map((i) => row(s, i)).join("");
  const head = COLUMNS.map(([c, css, text]) => `<th class="${css}"${c === "c" ? ' data-key="top_head"' : ""}>${text}</th>`).join("");
  return `<p class="cw-error" role="alert" data-key="error"></p>
    <div class="cw-steps">${STEPS.map((name, i) => button(`${i + 1} ${name}`, { set: { step: i + 1 } }, `step${i + 1}`)).join("")}</div>
    <div class="cw-slide"><label for="${id}-step">step</label><input type="range" id="${id}-step" data-in="step"
    data-key="step_in" min="1" max="6" value="1" autocomplete="off"></div><div class="cw-move">
    ${button("‹ Back", { add: { step: -1 } })}${button("Next ›", { add: { step: 1 } })}<p class="cw-result" data-key="result"></p></div>
    <div class="cw-scroll" tabindex="0" role="region" aria-label="the numbers of each target"><table class="cw-numbers" data-key="table"><thead><tr>${head}</tr></thead><tbody>${sentence(0)}${sentence(1)}</tbody></table></div>
    <p class="cw-note" data-key="note"></p>`;
};
