// The twin of stepper_state in helpers/classroom/cards/_stepper.py; the numbers come from the model in the kernel.
const STEPS = ["logits", "probabilities", "target's share", "logs", "mean", "negated"];
const exponent = (x, digits) => x.toExponential(digits).replace(/e([+-])(\d)$/, "e$10$2");
const prob = (p) => p >= 0.01 ? fixed(p, 3) : exponent(p, 1);
const signed = (x, digits = 2) => fixed(x, digits).replace("-", "−");
const said = (step, V, n) => [
  `each input gets ${V} scores, one per token that could come next.`,
  `softmax makes the ${V} scores of a row positive, with sum 1.`,
  "of each row keep what the target got. This is what training raises.",
  "0 would be perfect. Logs turn a product of small numbers into a sum.",
  `the average over all ${n} targets.`,
  "a loss is to be made small, so the sign is turned.",
][step - 1];
const result = (step, c) => {
  const rows = c.sentences.flatMap((sentence) => sentence.rows), { input, target, logit, p, log } = rows[0];
  const V = fixed(c.V, 0), share = exponent(p, 3);
  return [
    `${target} after ${input}: score ${signed(logit)}`,
    `exp(${signed(logit)}) / sum of ${V} such = ${share}`,
    `p(${target} after ${input}) = ${share}`,
    `ln ${share} = ${signed(log)}`,
    `(${rows.map((row) => `− ${fixed(-row.log, 2)}`).join(" ")}) / ${c.n} = ${signed(c.mean, 4)}`,
    `loss ${signed(-c.mean, 4)} nats · F.cross_entropy ${fixed(c.cross_entropy, 4)} · `
      + `perplexity ${fixed(c.perplexity, c.perplexity < 1000 ? 1 : 0)}`,
  ][step - 1];
};
const compute = ({ step }, c) => {
  const V = fixed(c.V, 0), name = STEPS[step - 1];
  const state = {
    "summary": `Step ${step} of 6, ${name}: ${said(step, V, c.n)}`,
    "step_in@aria-valuetext": `step ${step} of 6, ${name}`, "table@data-step": `${step}`,
    "top_head": `3 highest of ${V} ${step === 1 ? "logits" : "probabilities"}`,
    "result": result(step, c), "note": c.note, "error": c.error || "", "error@hidden": c.error ? null : "",
  };
  STEPS.forEach((_, i) => { state[`step${i + 1}@aria-pressed`] = i + 1 === step ? "true" : "false"; });
  c.sentences.forEach((sentence, s) => {
    state[`s${s}`] = `“${sentence.text}”`;
    for (let i = 0; i < 8; i++) {
      const row = sentence.rows[i], key = `r${s}${i}`;
      const tops = row && row.top.map(([token, logit, p]) => `${token} ${step === 1 ? signed(logit) : prob(p)}`);
      const cells = row ? [row.input, row.target, tops.join(" · "), signed(row.logit), prob(row.p), row.rank, signed(row.log)]
        : ["", "", "", "", "", "", ""];
      state[`${key}@hidden`] = row ? null : "";
      cells.forEach((text, j) => { state[key + "abcdefg"[j]] = text; });
    }
  });
  return state;
};
