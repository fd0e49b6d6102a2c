// A run's time, money and energy beside what is available, and what one number alone would have to be. Sliders go through
// stops: round steps, and the exact numbers that the card was given.
const SESSIONS = [0.5, 1, 2, 3, 4, 6, 8, 12, 24, 48, 72, 168, 336, 720, 2160, 4320, 8760]; // hours
const roundSteps = ([low, high], exact) => {
  const stops = new Set([low, high, ...exact]);
  for (let power = Math.floor(Math.log10(low)) - 1; power <= Math.log10(high); power++) {
    for (const digits of E24) {
      const x = Number(`${digits}e${power}`); // as it is written: 10 ** -1 times 12 is a hair off 1.2
      if (x >= low && x <= high) stops.add(x);
    }
  }
  return [...stops].sort((a, b) => a - b);
};
const stopsOf = ({ limits, start: given, speeds }) => {
  const steps = (name, exact) => roundSteps(limits[name], exact.filter((x) => x));
  return {
    tokens: steps("tokens", [given.tokens]), rate: steps("rate", [given.rate, ...Object.values(speeds)]),
    price: [0, ...steps("price", [given.price])], watts: [null, ...steps("watts", [given.watts])],
    hours: [...new Set([...SESSIONS, given.hours])].sort((a, b) => a - b), money: [...steps("money", [given.money]), null],
  };
};

// run: tokens, rate (tokens/s), price (an hour), watts or null, hours and money that are available (null: no limit).
const costOf = ({ tokens, rate, price, watts, hours: there, money }) => {
  const hours = tokens / rate / HOUR, paid = money === null || !price ? Infinity : money / price; // hours that it pays for
  return {
    hours, cost: hours * price, kwh: watts === null ? null : hours * watts / 1000, paid,
    late: hours > there, dear: hours > paid, sessions: Math.max(1, Math.ceil(hours / there)),
  };
};
// Of one number, what it has to be so that the run takes `hours`.
const tokensIn = (run, hours) => run.rate * hours * HOUR;
const speedIn = (run, hours) => run.tokens / (hours * HOUR);

const amount = (x) => x >= 100 || x === Math.trunc(x) ? readableCount(x) : x >= 0.01 ? fixed(x, 2) : "< 0.01";
const inHours = (hours) => readableTime(hours * HOUR);
const moneyIn = (currency) => (x) => `${currency} ${x < 1e6 ? fixed(x, 2) : spoken(readableCount(x))}`;
const sign = (bad) => bad ? "→ " : "✓ ", wrong = (bad) => bad ? "bc-wrong" : null;
const advice = (run, now, money) => {
  const { late, dear, hours, cost } = now;
  if (!late && !dear) return `✓ Nothing has to change: ${inHours(run.hours - hours)}${run.money === null ? "" : ` and ${money(run.money - cost)}`} stay.`;
  const there = Math.min(run.hours, now.paid), speed = speedIn(run, there);
  const ways = [`read at most ${amount(tokensIn(run, there))} tokens`,
    `or reach ${amount(speed)} tokens/s, ${amount(speed / run.rate)} times this speed`];
  if (late && !dear) ways.push(`or save, and go on over ${amount(now.sessions)} sessions`);
  if (dear && !late) ways.push(`or pay at most ${money(run.money / hours)} an hour`);
  return `✗ Change one: ${ways.map(spoken).join(", ")}.`;
};
const needed = (run, now, money) => { // the table: what each number has to be, when it alone is changed
  const { late, dear } = now, free = run.money === null;
  const state = {
    "time_hours": sign(late) + inHours(now.hours), "time_hours@class": wrong(late),
    "money_price": free ? "no limit" : `${sign(dear)}${money(run.money / now.hours)} an hour`, "money_price@class": wrong(dear),
    "money_money": free ? "no limit" : sign(dear) + money(now.cost), "money_money@class": wrong(dear),
  };
  for (const [name, hours, bad] of [["time", run.hours, late], ["money", now.paid, dear]]) {
    const limited = hours < Infinity;
    state[`${name}_tokens`] = limited ? `${sign(bad)}${amount(tokensIn(run, hours))} tokens` : "no limit";
    state[`${name}_rate`] = limited ? `${sign(bad)}${amount(speedIn(run, hours))} tokens/s` : "no limit";
    state[`${name}_tokens@class`] = state[`${name}_rate@class`] = wrong(bad);
  }
  return state;
};
const AXIS = [60, 1000 * YEAR].map(Math.log10); // a minute to a thousand years
const place = (seconds) => 100 * clamp((Math.log10(seconds) - AXIS[0]) / (AXIS[1] - AXIS[0]), 0, 1);
const fromLeft = (percent) => `left:${fixed(percent, 2)}%`;
const speeds = (run, { speeds }) => { // the dots
  const at = place(run.hours * HOUR), state = {
    "limit@style": fromLeft(at), "beyond@style": fromLeft(at), "limit_text": `available: ${inHours(run.hours)}`,
    "limit_text@style": at > 50 ? `right:${fixed(100 - at, 2)}%` : fromLeft(at),
  };
  [run.rate, ...Object.values(speeds)].forEach((rate, i) => {
    const { hours, late } = costOf({ ...run, rate });
    state[`dot${i}@style`] = fromLeft(place(hours * HOUR));
    state[`dot${i}@class`] = late ? "bc-dot bc-late" : "bc-dot";
    state[`t${i}`] = (late ? "✗ " : "✓ ") + inHours(hours);
    if (i) state[`speed${i}@aria-pressed`] = rate === run.rate ? "true" : "false";
  });
  return state;
};
const runAt = (values, config) => // the run at the sliders' positions
  Object.fromEntries(Object.entries(stopsOf(config)).map(([name, list]) => [name, list[values[name]]]));
const compute = (values, config) => {
  const run = runAt(values, config);
  const now = costOf(run), money = moneyIn(config.currency), { late, dear } = now, fits = !late && !dear;
  const energy = now.kwh === null ? "power not known" : `${amount(now.kwh)} kWh`;
  const texts = {
    tokens: `${readableCount(run.tokens)} tokens`, rate: `${readableCount(run.rate)} tokens/s`,
    price: run.price ? `${money(run.price)} an hour` : "free", watts: run.watts === null ? "not known" : `${readableCount(run.watts)} W`,
    hours: inHours(run.hours), money: run.money === null ? "no limit" : money(run.money),
  };
  const limit = run.money === null ? "" : ` and ${texts.money}`;
  const state = {
    "summary": `${texts.tokens} at ${texts.rate} take ${inHours(now.hours)} and ${money(now.cost)}. Available: ${texts.hours}${limit}.`,
    "frame@class": fits ? "bc-card bc-ok" : "bc-card bc-bad", "sign": fits ? "✓" : "✗",
    "verdict": late && dear ? "Too long and too expensive" : late ? "Too long" : dear ? "Too expensive" : "It fits",
    "time": inHours(now.hours), "of": `of ${texts.hours}${limit && `, ${money(now.cost)} of ${texts.money}`}`,
    "cost": money(now.cost), "energy": energy, "sessions": `${amount(now.sessions)} × ${texts.hours}`,
    "enough": advice(run, now, money), ...needed(run, now, money), ...speeds(run, config),
  };
  for (const name in texts) {
    state[`${name}_text`] = state[`${name}_in@aria-valuetext`] = texts[name];
    if (name !== "watts") state[`now_${name}`] = texts[name];
  }
  return state;
};

const SLIDERS = {
  tokens: "tokens to read", rate: "speed", price: "price", watts: "power while it trains",
  hours: "time available", money: "money available",
};
const TICKS = { "1 min": 60, "1 h": HOUR, "1 day": DAY, "1 mo": MONTH, "1 yr": YEAR, "100 yr": 100 * YEAR };
const BUTTONS = { "Colab, 4 hours": 4, "weekend, 48 hours": 48 };
const NEEDED = { // row -> label, and the columns that it has a number in
  tokens: ["fewer tokens: at most", "time money"], rate: ["a faster run: at least", "time money"],
  price: ["a lower price: at most", "money"], hours: ["more time: at least", "time"], money: ["more money: at least", "money"],
};
const FOOT = "At a constant speed, without starts, evaluations and pauses; amounts are rounded. Times stand on a log axis; "
  + "a month is 30 days. A100: GPT-2 124M, context 1,024, as S. Raschka published it.";
const speedRows = (config, rates) => {
  const names = Object.keys(config.speeds), heads = ["<span>chosen speed</span>",
    ...names.map((name, i) => button(name, { set: { rate: rates.indexOf(config.speeds[name]) } }, `speed${i + 1}`))];
  const rows = heads.map((head, i) => `<div class="bc-row">${head}<span class="bc-track" aria-hidden="true">`
    + `<i data-key="dot${i}"></i></span><b data-key="t${i}"></b></div>`);
  const ticks = Object.entries(TICKS).map(([name, s]) => `<span style="${fromLeft(place(s))}">${name}</span>`);
  const lines = Object.values(TICKS).map((s) => `<i class="bc-tick" style="${fromLeft(place(s))}"></i>`);
  return `<div class="bc-speeds" role="group" aria-label="time at each speed"><div class="bc-over" aria-hidden="true">
${lines.join("")}<i class="bc-beyond" data-key="beyond"></i><i class="bc-limit" data-key="limit"></i>
<em data-key="limit_text"></em></div>${rows.join("")}<div class="bc-ticks" aria-hidden="true">${ticks.join("")}</div></div>`;
};
const view = (id, values, config) => {
  const stops = stopsOf(config);
  const sliders = Object.entries(SLIDERS).map(([name, label]) =>
    slider(id, name, label, stops[name].indexOf(values[name]), 0, stops[name].length - 1));
  const sessions = Object.entries(BUTTONS).map(([text, hours]) => button(text, { set: { hours: stops.hours.indexOf(hours) } }));
  const facts = [["cost", "money"], ["energy", "energy"], ["sessions", "sessions"]].map(([key, name]) =>
    `<div><span>${name}</span><b data-key="${key}"></b></div>`);
  const cell = (row, column) => NEEDED[row][1].includes(column) ? `<td data-key="${column}_${row}"></td>` : "<td>–</td>";
  const rows = Object.entries(NEEDED).map(([row, [label]]) =>
    `<tr><td>${label}</td><td data-key="now_${row}"></td>${cell(row, "time")}${cell(row, "money")}</tr>`);
  return `<div data-key="frame"><div class="cw-cols"><div class="cw-left bc-knobs">${sliders.join("")}<div>${sessions.join("")}</div></div>
<div class="cw-right bc-right"><div class="bc-verdict"><span class="bc-sign" data-key="sign" aria-hidden="true"></span><div>
<b data-key="verdict"></b><span class="cw-big" data-key="time"></span> <span data-key="of"></span></div></div>
<div class="bc-facts">${facts.join("")}</div>${speedRows(config, stops.rate)}</div></div>
<p class="bc-enough" data-key="enough"></p>
<details class="cw-more"><summary>What changing one thing alone would need, and what is assumed</summary><table class="bc-needed"><thead><tr><th>changing one alone</th><th>now</th><th>for the time</th><th>for the money</th></tr></thead>
<tbody>${rows.join("")}</tbody></table><p class="cw-note">${FOOT}</p></details></div>`;
};
