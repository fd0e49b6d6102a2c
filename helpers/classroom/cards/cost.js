// The twin of cost_state in helpers/classroom/cards/_cost.py.
const E24 = [10, 11, 12, 13, 15, 16, 18, 20, 22, 24, 27, 30, 33, 36, 39, 43, 47, 51, 56, 62, 68, 75, 82, 91];
const at = (position, [low, start, exact]) => position === start ? exact
  : E24[position % 24] * 10 ** (low + Math.floor(position / 24) - 1);
const X = (rate) => 84 + (Math.log10(rate) - 2) / 7 * 456;
const Y = (seconds) => 12 + 300 * (1 - clamp(Math.log10(seconds) / 11, 0, 1));
const compute = (values, config) => {
  const tokens = at(values.tokens, config.tokens), rate = at(values.rate, config.rate);
  const seconds = tokens / rate, needed = tokens / HOUR, factor = needed / rate;
  const versus = factor > 1 ? `${fixed(factor, factor >= 10 ? 0 : 1)} times this speed` : "which this speed reaches";
  const left = Math.max(1e2, tokens / 1e11), right = Math.min(1e9, tokens);
  const crossing = Math.min(needed, 1e9), on = needed <= 1e9, toLeft = crossing > 1e5;
  const px = (x) => fixed(x, 1), tokensText = `${readableCount(tokens)} tokens`, rateText = `${readableCount(rate)} tokens/s`;
  return {
    "summary": `${tokensText} at ${rateText} take ${readableTime(seconds)}. One hour needs ${readableCount(needed)} tokens/s, ${versus}.`,
    "time": readableTime(seconds),
    "tokens_text": tokensText, "tokens_in@aria-valuetext": tokensText,
    "rate_text": rateText, "rate_in@aria-valuetext": rateText,
    "line@x1": px(X(left)), "line@y1": px(Y(tokens / left)), "line@x2": px(X(right)), "line@y2": px(Y(tokens / right)),
    "dot@cx": px(X(rate)), "dot@cy": px(Y(seconds)),
    "drop@x1": px(X(rate)), "drop@x2": px(X(rate)), "drop@y1": px(Y(seconds)),
    "cross@x": px(X(crossing) - 7), "cross@visibility": on ? null : "hidden",
    "hour": `one hour: ${readableCount(needed)} tokens/s${on ? "" : " →"}`,
    "hour@x": px(X(crossing) + (toLeft ? -12 : 12)), "hour@y": px(Y(HOUR) + (toLeft ? 23 : -8)),
    "hour@text-anchor": toLeft ? "end" : "start",
  };
};
