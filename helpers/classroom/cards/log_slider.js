// Sliders on a log scale, in steps of E24; scale is [low, high, start]: powers of ten at the ends, and the exact start
const stepAt = (position, low) => E24[position % 24] * 10 ** (low + Math.floor(position / 24) - 1);
const positionOf = (value, [low, high]) => { // the nearest step on the log scale
  let best = 0;
  const distance = (i) => Math.abs(Math.log(stepAt(i, low) / value));
  for (let i = 1; i <= 24 * (high - low); i++) if (distance(i) < distance(best)) best = i;
  return best;
};
const valueAt = (position, scale) => position === positionOf(scale[2], scale) ? scale[2] : stepAt(position, scale[0]);
