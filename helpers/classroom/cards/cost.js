// Tokens to read over tokens per second, and the speed that one hour needs. Of each slider, config has the powers of ten
// at its ends and the exact number that it starts from.

const RATE = [2, 9], SECONDS = [0, 11]; // powers of ten on the axes; one second to three thousand years
const LINES = { "1 second": 1, "1 hour": HOUR, "1 day": DAY, "1 month": MONTH, "1 year": YEAR, "100 years": 100 * YEAR };
const CLASS_TOKENS = 300e9, CLASS_RATES = [15000, 150000]; // the figures that the class discussed
const LEFT = 84, TOP = 12, WIDTH = 456, HEIGHT = 300, RIGHT = LEFT + WIDTH, BOTTOM = TOP + HEIGHT; // px
const shareOf = (x, [low, high]) => (Math.log10(x) - low) / (high - low);
const X = (rate) => LEFT + shareOf(rate, RATE) * WIDTH;
const Y = (seconds) => TOP + HEIGHT * (1 - clamp(shareOf(seconds, SECONDS), 0, 1)); // outside the axis: on its edge
const px = (x) => fixed(x, 1);

const compute = (values, config) => {
  const tokens = valueAt(values.tokens, config.tokens), rate = valueAt(values.rate, config.rate);
  const seconds = tokens / rate, needed = tokens / HOUR, factor = needed / rate;
  const versus = factor > 1 ? `${fixed(factor, factor >= 10 ? 0 : 1)} times this speed` : "which this speed reaches";
  const slowest = Math.max(10 ** RATE[0], tokens / 10 ** SECONDS[1]), fastest = Math.min(10 ** RATE[1], tokens);
  const crossing = Math.min(needed, 10 ** RATE[1]), shown = needed <= 10 ** RATE[1], toLeft = crossing > 1e5;
  const tokensText = `${readableCount(tokens)} tokens`, rateText = `${readableCount(rate)} tokens/s`;
  return {
    "summary": `${tokensText} at ${rateText} take ${readableTime(seconds)}. `
      + `One hour needs ${readableCount(needed)} tokens/s, ${versus}.`,
    "time": readableTime(seconds),
    "tokens_text": tokensText, "tokens_in@aria-valuetext": tokensText,
    "rate_text": rateText, "rate_in@aria-valuetext": rateText,
    "line@x1": px(X(slowest)), "line@y1": px(Y(tokens / slowest)), "line@x2": px(X(fastest)), "line@y2": px(Y(tokens / fastest)),
    "dot@cx": px(X(rate)), "dot@cy": px(Y(seconds)),
    "drop@x1": px(X(rate)), "drop@x2": px(X(rate)), "drop@y1": px(Y(seconds)),
    "cross@x": px(X(crossing) - 7), "cross@visibility": shown ? null : "hidden",
    "hour": `one hour: ${readableCount(needed)} tokens/s${shown ? "" : " →"}`,
    "hour@x": px(X(crossing) + (toLeft ? -12 : 12)), "hour@y": px(Y(HOUR) + (toLeft ? 23 : -8)),
    "hour@text-anchor": toLeft ? "end" : "start",
  };
};
const picture = () => {
  const rows = Object.entries(LINES).map(([name, seconds]) => {
    const y = px(Y(seconds)), stroke = seconds === HOUR ? 'stroke="#d55e00" stroke-width="2"' : 'stroke="#c3cad2"';
    return `<line x1="${LEFT}" x2="${RIGHT}" y1="${y}" y2="${y}" ${stroke}/>`
      + `<text x="${LEFT - 8}" y="${px(Y(seconds) + 5)}" text-anchor="end">${name}</text>`;
  });
  let ticks = "";
  for (let power = RATE[0]; power <= RATE[1]; power++) {
    const x = px(X(10 ** power));
    ticks += `<line x1="${x}" x2="${x}" y1="${BOTTOM}" y2="${BOTTOM + 6}" stroke="#5b6470"/>`;
    if (power % 2 === 0) ticks += `<text x="${x}" y="${BOTTOM + 23}" text-anchor="middle">${readableCount(10 ** power)}</text>`;
  }
  return `<svg width="${RIGHT + 24}" height="${BOTTOM + 50}" viewBox="0 0 ${RIGHT + 24} ${BOTTOM + 50}" role="img"
aria-label="Time against tokens per second on two log axes: a falling line, a dot at the chosen speed, a square where the line crosses one hour">
${rows.join("")}${ticks}<text x="0" y="${TOP + 3}">time (log scale)</text>
<text x="${(LEFT + RIGHT) / 2}" y="${BOTTOM + 46}" text-anchor="middle">tokens per second (log scale)</text>
<line data-key="line" stroke="#0072b2" stroke-width="3"/>
<line data-key="drop" y2="${BOTTOM}" stroke="#0072b2" stroke-width="1.5" stroke-dasharray="4 4"/>
<rect data-key="cross" y="${px(Y(HOUR) - 7)}" width="14" height="14" fill="#d55e00"/>
<text data-key="hour" class="cw-halo" font-weight="600"></text>
<circle data-key="dot" r="9" fill="#0072b2" stroke="#fff" stroke-width="2"/></svg>`;
};
const view = (id, values, config) => {
  const knob = (name, label) => {
    const scale = config[name];
    return slider(id, name, label, positionOf(scale[2], scale), 0, 24 * (scale[1] - scale[0]));
  };
  const presets = CLASS_RATES.map((speed) => {
    const to = { tokens: positionOf(CLASS_TOKENS, config.tokens), rate: positionOf(speed, config.rate) };
    return button(`${readableCount(valueAt(to.tokens, config.tokens))} at ${readableCount(valueAt(to.rate, config.rate))}/s`, { set: to });
  });
  return `<div class="cw-cols"><div class="cw-left"><div class="cw-big" data-key="time"></div>
${knob("tokens", "to read")}${knob("rate", "speed")}<div>${presets.join("")}</div></div>
<div class="cw-right">${picture()}</div></div>`;
};
