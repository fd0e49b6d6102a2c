// The twin of cost_state in helpers/classroom/cards/_cost.py.
const E24 = [10, 11, 12, 13, 15, 16, 18, 20, 22, 24, 27, 30, 33, 36, 39, 43, 47, 51, 56, 62, 68, 75, 82, 91];
const HOUR = 3600, DAY = 86400;
const at = (position, [low, start, exact]) => position === start ? exact
  : E24[position % 24] * 10 ** (low + Math.floor(position / 24) - 1);
const count = (n) => {
  for (const [name, size] of [["trillion", 1e12], ["billion", 1e9], ["million", 1e6]]) {
    const amount = n / size;
    if (amount >= 1000) return `${fixed(amount, 0)} ${name}`;
    if (amount >= 0.9995) return `${Number(amount.toPrecision(3))} ${name}`;
  }
  return fixed(n, 0);
};
const time = (seconds) => {
  const units = [["years", 365 * DAY], ["months", 30 * DAY], ["days", DAY], ["hours", HOUR], ["minutes", 60], ["seconds", 1]];
  const [name, size] = units.find(([, size]) => seconds >= size) || units[5];
  return `${fixed(seconds / size, seconds / size >= 10 ? 0 : 1)} ${name}`;
};
const X = (rate) => 84 + (Math.log10(rate) - 2) / 7 * 456;
const Y = (seconds) => 12 + 300 * (1 - clamp(Math.log10(seconds) / 11, 0, 1));
const compute = (values, config) => {
  const tokens = at(values.tokens, config.tokens), rate = at(values.rate, config.rate);
  const seconds = tokens / rate, needed = tokens / HOUR, factor = needed / rate;
  const versus = factor > 1 ? `${fixed(factor, factor >= 10 ? 0 : 1)} times this speed` : "which this speed reaches";
  const left = Math.max(1e2, tokens / 1e11), right = Math.min(1e9, tokens);
  const crossing = Math.min(needed, 1e9), on = needed <= 1e9, toLeft = crossing > 1e5;
  const px = (x) => fixed(x, 1), tokensText = `${count(tokens)} tokens`, rateText = `${count(rate)} tokens/s`;
  return {
    "summary": `${tokensText} at ${rateText} take ${time(seconds)}. One hour needs ${count(needed)} tokens/s, ${versus}.`,
    "time": time(seconds),
    "tokens_text": tokensText, "tokens_in@aria-valuetext": tokensText,
    "rate_text": rateText, "rate_in@aria-valuetext": rateText,
    "line@x1": px(X(left)), "line@y1": px(Y(tokens / left)), "line@x2": px(X(right)), "line@y2": px(Y(tokens / right)),
    "dot@cx": px(X(rate)), "dot@cy": px(Y(seconds)),
    "drop@x1": px(X(rate)), "drop@x2": px(X(rate)), "drop@y1": px(Y(seconds)),
    "cross@x": px(X(crossing) - 7), "cross@visibility": on ? null : "hidden",
    "hour": `one hour: ${count(needed)} tokens/s${on ? "" : " →"}`,
    "hour@x": px(X(crossing) + (toLeft ? -12 : 12)), "hour@y": px(Y(HOUR) + (toLeft ? 23 : -8)),
    "hour@text-anchor": toLeft ? "end" : "start",
  };
};
