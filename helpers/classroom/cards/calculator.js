// The twin of calculator_state in helpers/classroom/cards/_cost_state.py.
const AXIS = [60, 1000 * 365 * DAY].map(Math.log10);
const amount = (x) => x >= 100 || x === Math.trunc(x) ? readableCount(x) : x >= 0.01 ? fixed(x, 2) : "< 0.01";
const time = (hours) => readableTime(hours * HOUR);
const place = (seconds) => 100 * clamp((Math.log10(seconds) - AXIS[0]) / (AXIS[1] - AXIS[0]), 0, 1);
const left = (percent) => `left:${fixed(percent, 2)}%`;
const compute = (values, config) => {
  const [tokens, rate, price, watts, there, budget] = Object.entries(config.stops).map(([name, stops]) => stops[values[name]]);
  const money = (x) => `${config.currency} ${x < 1e6 ? fixed(x, 2) : readableCount(x)}`;
  const hours = tokens / rate / HOUR, cost = hours * price, kwh = watts === null ? null : hours * watts / 1000;
  const paid = budget === null || !price ? Infinity : budget / price, late = hours > there, dear = hours > paid;
  const ok = !late && !dear, sessions = Math.max(1, Math.ceil(hours / there));
  const tokensIn = (h) => rate * h * HOUR, speedIn = (h) => tokens / (h * HOUR);
  const energy = kwh === null ? "power not known" : `${amount(kwh)} kWh`;
  const texts = {
    tokens: `${readableCount(tokens)} tokens`, rate: `${readableCount(rate)} tokens/s`, price: price ? `${money(price)} an hour` : "free",
    watts: watts === null ? "not known" : `${readableCount(watts)} W`, hours: time(there), money: budget === null ? "no limit" : money(budget),
  };
  const verdict = late && dear ? "Too long and too expensive" : late ? "Too long" : dear ? "Too expensive" : "It fits";
  const tightest = Math.min(there, paid);
  const ways = [`read at most ${amount(tokensIn(tightest))} tokens`,
    `or reach ${amount(speedIn(tightest))} tokens/s, ${amount(speedIn(tightest) / rate)} times this speed`];
  if (late && !dear) ways.push(`or save, and go on over ${amount(sessions)} sessions`);
  if (dear && !late) ways.push(`or pay at most ${money(budget / hours)} an hour`);
  const stay = budget === null ? "" : ` and ${money(budget - cost)}`;
  const at = place(there * HOUR), sign = (bad) => bad ? "→ " : "✓ ";
  const state = {
    "summary": `${texts.tokens} at ${texts.rate} take ${time(hours)}, ${money(cost)}${kwh === null ? "" : `, ${energy}`}. `
      + `Available: ${texts.hours}${budget === null ? "" : ` and ${texts.money}`}.`,
    "frame@class": ok ? "bc-card bc-ok" : "bc-card bc-bad", "sign": ok ? "✓" : "✗", "verdict": verdict,
    "time": time(hours), "time@data-hours": `${hours}`, "of": `of ${texts.hours}${budget === null ? "" : `, ${money(cost)} of ${texts.money}`}`, "cost": money(cost), "cost@data-money": `${cost}`,
    "energy": energy, "energy@data-kwh": kwh === null ? null : `${kwh}`, "sessions": `${amount(sessions)} × ${texts.hours}`,
    "enough": ok ? `✓ Nothing has to change: ${time(there - hours)}${stay} stay.` : `✗ Change one: ${ways.join(", ")}.`,
    "limit@style": left(at), "beyond@style": left(at), "limit_text": `available: ${texts.hours}`,
    "limit_text@style": at > 50 ? `right:${fixed(100 - at, 2)}%` : left(at),
    "time_hours": sign(late) + time(hours), "time_hours@class": late ? "bc-wrong" : null,
    "money_price": budget === null ? "no limit" : `${sign(dear)}${money(budget / hours)} an hour`,
    "money_price@class": dear ? "bc-wrong" : null,
    "money_money": budget === null ? "no limit" : sign(dear) + money(cost), "money_money@class": dear ? "bc-wrong" : null,
  };
  for (const name in texts) {
    state[`${name}_text`] = state[`${name}_in@aria-valuetext`] = texts[name];
    if (name !== "watts") state[`now_${name}`] = texts[name];
  }
  for (const [name, h, bad] of [["time", there, late], ["money", paid, dear]]) {
    state[`${name}_tokens`] = h === Infinity ? "no limit" : `${sign(bad)}${amount(tokensIn(h))} tokens`;
    state[`${name}_rate`] = h === Infinity ? "no limit" : `${sign(bad)}${amount(speedIn(h))} tokens/s`;
    state[`${name}_tokens@class`] = state[`${name}_rate@class`] = bad ? "bc-wrong" : null;
  }
  [rate, ...config.speeds].forEach((speed, i) => {
    const taken = tokens / speed / HOUR, isLate = taken > there;
    state[`dot${i}@style`] = left(place(taken * HOUR));
    state[`dot${i}@class`] = isLate ? "bc-dot bc-late" : "bc-dot";
    state[`t${i}`] = (isLate ? "✗ " : "✓ ") + time(taken);
    if (i) state[`speed${i}@aria-pressed`] = speed === rate ? "true" : "false";
  });
  return state;
};
