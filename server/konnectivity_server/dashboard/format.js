// Numbers for people: [number, unit], so that a table can align the digits and the units.

const SIZES = ["B", "KiB", "MiB", "GiB", "TiB"];
const GROUPED = new Intl.NumberFormat("en", { useGrouping: true });

export function count(number) {
  return [GROUPED.format(number), ""];
}

export function bytes(number) {
  let index = 0;
  while (number >= 1000 && index < SIZES.length - 1) {
    number /= 1024;
    index += 1;
  }
  return [index === 0 ? `${Math.round(number)}` : digits(number), SIZES[index]];
}

export function rate(bytesPerSecond) {
  const [number, unit] = bytes(bytesPerSecond);
  return [number, `${unit}/s`];
}

export function latency(seconds) {
  if (seconds === null) return ["–", ""];
  if (seconds < 1) return [digits(seconds * 1000), "ms"];
  return [digits(seconds), "s"];
}

// One unit, for columns: 42 s, 3 min, 5 h, 12 d.
export function age(seconds) {
  if (seconds === null) return ["–", ""];
  if (seconds < 99.5) return [`${Math.round(seconds)}`, "s"];
  if (seconds < 99 * 60) return [`${Math.round(seconds / 60)}`, "min"];
  if (seconds < 72 * 3600) return [`${Math.round(seconds / 3600)}`, "h"];
  return [`${Math.round(seconds / 86400)}`, "d"];
}

// Two units, for sentences: 3 min 12 s.
export function span(seconds) {
  const whole = Math.round(seconds);
  if (whole >= 30 * 86400) return `${GROUPED.format(Math.floor(whole / 86400))} d`;
  const parts = [
    [Math.floor(whole / 86400), "d"],
    [Math.floor(whole / 3600) % 24, "h"],
    [Math.floor(whole / 60) % 60, "min"],
    [whole % 60, "s"],
  ];
  const first = parts.findIndex(([number]) => number > 0);
  if (first < 0) return "0 s";
  return parts
    .slice(first, first + 2)
    .filter(([number]) => number > 0)
    .map(([number, unit]) => `${number} ${unit}`)
    .join(" ");
}

export function text([number, unit]) {
  return unit ? `${number} ${unit}` : number;
}

export function plural(number, one, many = `${one}s`) {
  return `${GROUPED.format(number)} ${number === 1 ? one : many}`;
}

function digits(number) {
  if (number >= 100) return `${Math.round(number)}`;
  return number >= 10 ? number.toFixed(1) : number.toFixed(2);
}
