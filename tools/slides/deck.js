// A deck: slides that fit, the room's guesses drawn in the page, and a clock that knows the plan.

// ---- Guesses: read and counted without a page. helpers/classroom/exercises/answers.py reads the same answers.
const NUMBER = String.raw`[-+−]?(?:\d[\d.,]*\d|\d|[.,]\d+)(?:[eE][-+]?\d+)?`;
const FACTORS = [["k|mil|thousand", 1e3], ["mi|milh(?:ão|ões|ao|oes)|millions?", 1e6], ["bi|bilh(?:ão|ões|ao|oes)|billions?", 1e9]];
const ONE = new RegExp(String.raw`^(?:\p{L}+[.:]?\s+){0,2}[~≈±]?\s*(?:R?\$\s*)?(${NUMBER})\s*(?:(`
  + FACTORS.map(([names]) => names).join("|") + String.raw`)(?!\p{L}))?\s*(%)?(?:\s*\p{L}[^\d%<>]{0,30})?[.!]?$`, "iu");
const RANGE = new RegExp(String.raw`^(?:(?:entre|between|de|from)\s+)?(${NUMBER}\s*%?)(?:\s*[-–]\s*|\s+(?:a|e|to|and|até|ou|or)\s+)(${NUMBER}.*)$`, "iu");
const YES = /^(true|yes|sim|y|s|verdadeiro|v)$/i, NO = /^(false|no|n|não|nao|falso|f)$/i;
const CLOSE = 0.05, SPANS = 30, LETTERS = "abcdefgh";

const pieces = (text) => { // one a line, or between semicolons; in a single line also after a comma or a space
  const parts = text.trim().split(/[\n;\t|]+/).map((part) => part.trim()).filter(Boolean);
  return parts.flatMap((part) => {
    if (RANGE.test(part) || /^\d{1,3}( \d{3})+( \D.*)?$/.test(part)) return [part];
    if (part.split(",").length > 2 && /^[\d.,]+$/.test(part) && !/^\d{1,3}(,\d{3})+(\.\d+)?$/.test(part)) return part.split(",");
    const found = part.split(/,\s+/).flatMap((cut) => cut.split(new RegExp(String.raw`\s+(?=${NUMBER}(?:\s|$))`, "u")));
    if (found.every((piece) => new RegExp(`^${NUMBER}`, "u").test(piece))) return found;
    if (/^([a-h]\s+)+[a-h]$/i.test(part)) return part.split(/\s+/);
    return parts.length === 1 ? part.split(/,\s+/) : [part];
  });
};
const withAPoint = (number, large) => { // of two kinds of marks the last is the decimal one
  const mark = number.lastIndexOf(",") > number.lastIndexOf(".") ? "," : ".", parts = number.split(mark);
  const thousands = parts.length > 1 && parts.slice(1).every((part) => /^\d{3}$/.test(part)) && /^[-+]?\d{1,3}$/.test(parts[0]);
  const grouped = parts.length > 2 || (large && thousands && /^[-+]?[1-9]\d{0,2}$/.test(parts[0]));
  if (grouped && !thousands) return NaN;
  return Number(number.replaceAll(mark === "," ? "." : ",", "").replaceAll(mark, grouped ? "" : "."));
};
const readNumber = (answer, question) => {
  answer = answer.trim().replace(/\s+/g, " ").replace(/(\d) (?=\d{3}\b)/g, "$1");
  const large = question.whole || Math.abs(question.measured) >= 1000;
  const inPerCent = /per cent|percent|por cento|%/.test(question.unit || "");
  const fraction = answer.match(/^(\d+)\s*\/\s*([1-9]\d*)$/);
  if (fraction) return fraction[1] / fraction[2];
  const value = (match) => {
    if (!match) return NaN;
    const factor = FACTORS.find(([names]) => new RegExp(`^(?:${names})$`, "iu").test(match[2] || "")) || ["", 1];
    return withAPoint(match[1].replace("−", "-"), large) * factor[1] / (match[3] && !inPerCent ? 100 : 1);
  };
  const one = answer.match(ONE), range = !one && answer.match(RANGE);
  return range ? (value(range[1].match(ONE)) + value(range[2].match(ONE))) / 2 : value(one);
};
const word = (text) => text.replace(/^[\s.:()]+|[\s.:()]+$/g, "").toLowerCase();
const readAnswer = (answer, question) => {
  if (question.kind === "number") {
    const value = readNumber(answer, question), letter = answer.trim().match(/^\(?([a-h])(?:\s*[).:].*|\s*)$/i);
    if (!question.bounds.length) return Number.isFinite(value) ? value : null;
    if (letter && LETTERS.indexOf(letter[1].toLowerCase()) <= question.bounds.length) return letter[1].toLowerCase();
    return Number.isFinite(value) ? letterOf(value, question.bounds) : null;
  }
  const first = word(answer.split(",")[0]);
  if (question.kind === "yes or no") return YES.test(first) ? "yes" : NO.test(first) ? "no" : null;
  const names = question.offered, letter = answer.trim().match(/^\(?([a-h])(?:\s*[).:].*|\s*)$/i);
  const said = letter && (!names.length || names.every((name) => name.length === 1)) ? letter[1].toLowerCase() : word(answer);
  return names.length ? names.find((name) => word(name) === said) ?? null : said || null;
};
const letterOf = (value, bounds) => LETTERS[bounds.filter((bound) => value >= bound).length];
const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b), middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};
const count = (text, question) => { // all that is said about a room
  const answers = pieces(text).map((answer) => [answer, readAnswer(answer, question)]);
  const guesses = answers.map(([, guess]) => guess).filter((guess) => guess !== null);
  const said = { guesses, n: guesses.length, unread: answers.filter(([, guess]) => guess === null).map(([answer]) => answer) };
  const numbers = question.kind === "number" && !question.bounds.length, { measured } = question;
  if (numbers && said.n) {
    said.near = guesses.filter((guess) => Math.abs(guess - measured) <= CLOSE * Math.max(Math.abs(guess), Math.abs(measured))).length;
    const near = (guess) => Math.abs(guess - measured) <= CLOSE * Math.max(Math.abs(guess), Math.abs(measured));
    said.above = guesses.filter((guess) => guess > measured && !near(guess)).length;
    said.below = said.n - said.near - said.above;
    said.median = median(guesses);
  } else if (!numbers) {
    const right = question.kind === "yes or no" ? (measured ? "yes" : "no") : question.kind === "number" ? letterOf(measured, question.bounds) : question.offered.length ? measured : word(measured);
    const offered = question.kind === "yes or no" ? ["yes", "no"] : question.kind === "number" ? [...LETTERS.slice(0, question.bounds.length + 1)] : question.offered;
    said.right = right;
    said.bars = [...new Set([...offered, ...guesses, right])].map((name) => [name, guesses.filter((guess) => guess === name).length]);
    if (!offered.length) said.bars = said.bars.sort((a, b) => b[1] - a[1]).filter(([name], i) => i < 5 || name === right);
  }
  return said;
};
const readable = (x) => {
  if (Math.abs(Number(x.toPrecision(4))) >= 1000) return Math.round(x).toLocaleString("en-US");
  return String(Number(x.toPrecision(4)));
};

// ---- The drawing: dots in columns over an axis, or bars; text of a size that is read from the last row.
const WIDE = 860, HIGH = 218, AXIS = 180, COLUMNS = 36;
const escaped = (text) => String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
const axisOf = (values) => { // the same rule as the course's figure: from a factor of 30 on it is logarithmic
  const sizes = values.filter((x) => x !== 0).map(Math.abs), low = Math.min(...sizes), high = Math.max(...sizes);
  if (!sizes.length || high < SPANS * low) return { name: "linear", to: (x) => x, back: (y) => y };
  if (Math.min(...values) > 0) return { name: "log", to: Math.log10, back: (y) => 10 ** y };
  return { name: "symlog", to: (x) => Math.sign(x) * Math.log10(1 + Math.abs(x) / low), back: (y) => Math.sign(y) * low * (10 ** Math.abs(y) - 1) };
};
const ticksOf = (axis, low, high) => {
  if (axis.name === "linear") {
    const raw = (high - low) / 5, size = 10 ** Math.floor(Math.log10(raw)), step = [1, 2, 5, 10].map((n) => n * size).find((n) => n >= raw);
    return Array.from({ length: 12 }, (_, i) => (Math.ceil(low / step) + i) * step).filter((x) => x <= high);
  }
  const powers = Array.from({ length: 61 }, (_, i) => 10 ** (i - 30)).flatMap((x) => axis.name === "log" ? [x] : [x, -x]);
  const inside = [...powers, ...(axis.name === "log" ? [] : [0])].filter((x) => x >= low && x <= high).sort((a, b) => a - b);
  return inside.filter((_, i) => i % Math.ceil(inside.length / 6) === 0);
};
const dots = (said, question, answered, t) => {
  const { measured } = question, all = answered ? [...said.guesses, measured] : said.guesses;
  const axis = axisOf(all), ends = [Math.min(...all), Math.max(...all)].map(axis.to);
  const counts = axis.name === "linear" && all.every(Number.isInteger) && ends[1] - ends[0] < COLUMNS;
  const width = counts ? 1 : Math.max((ends[1] - ends[0]) / COLUMNS, 1e-9 * Math.max(1, Math.abs(ends[0])));
  const low = ends[0] - 2 * width, high = ends[1] + 2 * width, place = (x) => (axis.to(x) - low) / (high - low) * WIDE;
  const columns = new Map();
  for (const guess of said.guesses) {
    const bin = Math.min(Math.floor((axis.to(guess) - ends[0]) / width), counts ? Infinity : COLUMNS - 1);
    columns.set(bin, [...(columns.get(bin) || []), guess]);
  }
  const tallest = Math.max(8, ...[...columns.values()].map((column) => column.length));
  const step = (AXIS - (answered ? 66 : 8)) / tallest, radius = Math.min(9, Math.max(2.5, step / 2.1), 0.45 * WIDE * width / (high - low));
  let out = `<line x1="0" x2="${WIDE}" y1="${AXIS}" y2="${AXIS}" stroke="#5b6470" stroke-width="2"/>`;
  for (const tick of ticksOf(axis, axis.back(low), axis.back(high))) {
    out += `<text x="${place(tick)}" y="${HIGH - 6}" text-anchor="middle" fill="#4a5058">${readable(tick)}</text><line x1="${place(tick)}" x2="${place(tick)}" y1="${AXIS}" y2="${AXIS + 7}" stroke="#5b6470" stroke-width="2"/>`;
  }
  for (const column of columns.values()) {
    const x = place(axis.back(column.reduce((sum, guess) => sum + axis.to(guess), 0) / column.length));
    column.forEach((_, i) => { out += `<circle cx="${x.toFixed(1)}" cy="${(AXIS - step * (i + 0.55)).toFixed(1)}" r="${radius}" fill="#0072b2"/>`; });
  }
  if (!answered) return out;
  let labels = ""; // above both lines
  const lines = [
    [said.median, "median", t("median of the room: {value}", { value: readable(said.median) }), "#333", "9 7", 56],
    [measured, "measured", t("result: {value}", { value: readable(measured) }), "#b84500", "", 26],
  ];
  for (const [x, name, text, colour, dashes, y] of lines) {
    const at = place(x), left = at > 0.6 * WIDE;
    out += `<line class="${name}" x1="${at}" x2="${at}" y1="0" y2="${AXIS}" stroke="${colour}" stroke-width="4" stroke-dasharray="${dashes}"/>`;
    labels += `<text x="${at + (left ? -10 : 10)}" y="${y}" text-anchor="${left ? "end" : "start"}" fill="${colour}" font-weight="700" `
      + `paint-order="stroke" stroke="#fff" stroke-width="6">${escaped(text)}</text>`;
  }
  return out + labels;
};
const bars = (said, answered, t) => {
  const most = Math.max(1, ...said.bars.map(([, n]) => n)), step = HIGH / said.bars.length, high = Math.min(40, 0.8 * step);
  return said.bars.map(([name, n], i) => {
    const y = (i + 0.5) * step, right = answered && name === said.right;
    return `<text x="0" y="${y + 9}" font-weight="${right ? 700 : 400}">${escaped(t(name))}${right ? " ◀" : ""}</text>`
      + `<rect x="270" y="${y - high / 2}" width="${Math.max(3, n / most * 520)}" height="${high}" fill="${right ? "#d55e00" : "#0072b2"}"/>`
      + `<text x="${282 + n / most * 520}" y="${y + 9}" font-weight="700">${n}</text>`;
  }).join("");
};

// ---- The clock: where the plan is, and where the class is.
const clock = (plan, row, minute) => {
  const start = plan.slice(0, row).reduce((sum, { minutes }) => sum + minutes, 0), end = start + plan[row].minutes;
  const off = minute > end ? Math.ceil(minute - end) : minute < start ? -Math.floor(start - minute) : 0;
  return { from: start, to: end, off }; // off: minutes late, or early where it is negative
};

const ROOM = 640, LARGEST = 1.28; // px of a slide's height; how much a short text is enlarged

const startDeck = () => {
  const { plan, words } = JSON.parse(document.getElementById("deck").textContent);
  const t = (message, values = {}) => Object.entries(values).reduce((text, [key, value]) => text.replaceAll(`{${key}}`, value), words[message] ?? message);
  const kept = (key, value) => { // over a reload, in this window
    if (value !== undefined) sessionStorage.setItem(location.pathname + key, value);
    return sessionStorage.getItem(location.pathname + key);
  };
  const deeper = new URLSearchParams(location.search).has("deeper");
  if (deeper) document.querySelectorAll("[data-visibility]").forEach((slide) => slide.removeAttribute("data-visibility"));
  else document.querySelectorAll("[data-visibility]").forEach((slide) => slide.remove());

  // A slide that is too tall is shown smaller; a card as large as there is room for. How large is kept for the check.
  const fit = (slide) => {
    const box = slide.querySelector(":scope > .fit"), card = box?.querySelector(".cw");
    if (!box) return;
    const scale = (element, most, tall) => {
      const anew = (z) => { // lines break as they will be shown: what is kept of the size before is thrown away
        element.style.zoom = z;
        box.style.display = "none";
        void box.offsetHeight;
        box.style.display = "";
        return z;
      };
      let z = anew(most);
      while (z > 0.4 && tall()) z = anew(Math.round(100 * z - 2) / 100);
      return z;
    };
    const sticks = () => [...box.querySelectorAll("table, img, svg")].some((e) => !e.closest(".cw") && e.getBoundingClientRect().right > box.getBoundingClientRect().right + 2);
    const tooLarge = () => box.getBoundingClientRect().height / Reveal.getScale() > ROOM || sticks();
    box.style.zoom = 1;
    const most = /figure|wide|program/.test(slide.className) || box.querySelector("tr > :nth-child(6)") ? 1 : LARGEST;
    const z = card ? scale(card, 1.7, tooLarge) : scale(box, most, tooLarge);
    slide.dataset.fit = z;
  };

  // The room's guesses
  document.querySelectorAll(".room").forEach((room) => {
    const question = JSON.parse(room.dataset.question), slide = room.closest("section"), key = `#${slide.id}`;
    const asked = escaped(t("The room's guesses, typed or pasted: 5; 6; 20"));
    room.innerHTML = `<textarea aria-label="${asked}" placeholder="${asked}" spellcheck="false"></textarea>`
      + `<div><svg viewBox="0 0 ${WIDE} ${HIGH}" role="img" aria-label="${escaped(t("A dot for each guess, or a bar for each answer"))}"></svg><p class="tally" aria-live="polite"></p></div>`;
    const [box, drawing, tally] = ["textarea", "svg", ".tally"].map((part) => room.querySelector(part));
    const draw = () => {
      const said = count(box.value, question), answered = slide.querySelector(".answer.visible") !== null;
      drawing.innerHTML = !said.n ? "" : said.bars ? bars(said, answered, t) : dots(said, question, answered, t);
      const share = (n) => Math.round(100 * n / said.n);
      const told = !answered ? t("{n} guesses", { n: said.n }) : said.bars
        ? t("the room: {right} of {n} said {measured} ({share}%)", { right: said.guesses.filter((guess) => guess === said.right).length, n: said.n, measured: t(said.right), share: share(said.guesses.filter((guess) => guess === said.right).length) })
        : t("the room: {near} of {n} within 5% ({share}%) · {above} above, {below} below · median {median}", { ...said, share: share(said.near || 0), median: readable(said.median ?? 0) });
      const unread = said.unread.length ? t("not read: {n} ({which})", { n: said.unread.length, which: said.unread.slice(0, 3).join(", ") }) : "";
      tally.textContent = [said.n ? told : "", unread].filter(Boolean).join(" · ");
    };
    box.value = kept(key) || "";
    box.addEventListener("input", () => { kept(key, box.value); draw(); });
    box.addEventListener("keydown", (event) => { if (event.key === "Escape") { box.blur(); event.stopPropagation(); } });
    room.addEventListener("answered", draw);
    draw();
  });
  const boxHere = () => Reveal.getCurrentSlide()?.querySelector(".room textarea");
  document.addEventListener("paste", (event) => { // anywhere on a slide that asks
    const box = boxHere();
    if (!box || /^(TEXTAREA|INPUT)$/.test(document.activeElement?.tagName)) return;
    box.value += (box.value.trim() ? "\n" : "") + event.clipboardData.getData("text");
    box.dispatchEvent(new Event("input"));
  });

  const footer = Object.fromEntries([...document.querySelectorAll("[data-clock]")].map((part) => [part.dataset.clock, part]));
  const tick = () => {
    const slide = Reveal.getCurrentSlide(), row = Number(slide?.dataset.row ?? -1), began = Number(kept("clock"));
    const down = Reveal.availableRoutes().down ? ` · ${t("one step down: {n}", { n: slide.parentElement.children.length - 1 - Reveal.getIndices().v })} ▾` : "";
    footer.what.textContent = (plan[row]?.what || "") + down;
    footer.block.textContent = row < 0 ? t("{n} minutes in all", { n: plan.reduce((sum, { minutes }) => sum + minutes, 0) }) : `${row + 1}/${plan.length}`;
    if (row < 0 || !began) { footer.minute.textContent = footer.late.textContent = footer.late.className = ""; return; }
    const minute = (Date.now() - began) / 60000, { from, to, off } = clock(plan, row, minute);
    footer.minute.textContent = t("minute {now} (plan: {from} to {to})", { now: Math.floor(minute), from, to });
    footer.late.textContent = off > 0 ? t("{n} min late", { n: off }) : off ? t("{n} min early", { n: -off }) : t("on time");
    footer.late.className = off > 0 ? "late" : off < 0 ? "early" : "";
  };
  const begin = () => { kept("clock", Date.now()); tick(); };
  const answered = () => Reveal.getCurrentSlide()?.querySelector(".room")?.dispatchEvent(new Event("answered"));
  Reveal.initialize({
    width: 1280, height: 720, margin: 0, minScale: 0.1, maxScale: 4, center: false, hash: true, controls: false, progress: false,
    transition: "none", backgroundTransition: "none", scrollActivationWidth: null, viewDistance: 2, plugins: [RevealNotes],
  }).then(() => window.MathJax?.startup?.promise).then(() => {
    Reveal.on("slidechanged", ({ currentSlide }) => {
      fit(currentSlide);
      if (!kept("clock") && currentSlide.dataset.row !== undefined) begin();
      answered();
      tick();
    });
    Reveal.on("fragmentshown", answered);
    Reveal.on("fragmenthidden", answered);
    Reveal.addKeyBinding({ keyCode: 67, key: "C", description: t("the class begins now: the clock starts anew") }, begin);
    Reveal.addKeyBinding({ keyCode: 68, key: "D", description: t("show or hide what is marked Deeper") }, () => { location.search = deeper ? "" : "?deeper"; });
    Reveal.addKeyBinding({ keyCode: 73, key: "I", description: t("type the room's guesses") }, () => boxHere()?.focus());
    fit(Reveal.getCurrentSlide());
    answered();
    tick();
    setInterval(tick, 5000);
    document.documentElement.dataset.ready = "yes";
  });
};
if (typeof document !== "undefined") startDeck();
