// How figures read. Every function gives NONE for "not reported"; a missing value never becomes 0.

export const NONE = "n/a";

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

export function known(value) {
  return typeof value === "number" && Number.isFinite(value);
}

export function number(value, digits = 0) {
  return known(value) ? value.toFixed(digits) : NONE;
}

/** Bytes in the unit that leaves one to four digits before the point. */
export function bytes(value) {
  if (!known(value)) return NONE;
  let size = Math.abs(value);
  let unit = 0;
  while (size >= 1000 && unit < UNITS.length - 1) {
    size /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || size >= 100 ? 0 : 1;
  return `${value < 0 ? "-" : ""}${size.toFixed(digits)} ${UNITS[unit]}`;
}

/** What is used and what there is, in the unit of the total: "31.2 GiB", "of 141 GiB", both "31.2 of 141 GiB". */
export function bytesOf(used, total) {
  if (!known(total)) return { used: bytes(used), of: "", both: bytes(used) };
  const words = bytes(total);
  const unit = words.split(" ")[1];
  const scale = 1024 ** UNITS.indexOf(unit);
  const part = known(used) ? used / scale : null;
  const figure = known(part) ? part.toFixed(part >= 100 || scale === 1 ? 0 : 1) : NONE;
  return { used: known(part) ? `${figure} ${unit}` : NONE, of: `of ${words}`, both: `${figure} of ${words}` };
}

export function rate(value) {
  return known(value) ? `${bytes(value)}/s` : NONE;
}

/** Whole percent from 10 up, one digit below, so that an idle device does not flicker between 0 and 1. */
export function percent(value) {
  if (!known(value)) return NONE;
  return `${value.toFixed(value > 0.05 && value < 9.95 ? 1 : 0)} %`;
}

export function watts(value) {
  return known(value) ? `${value.toFixed(value < 10 ? 1 : 0)} W` : NONE;
}

export function celsius(value) {
  return known(value) ? `${value.toFixed(0)} °C` : NONE;
}

export function megahertz(value) {
  return known(value) ? `${value.toFixed(0)} MHz` : NONE;
}

/** Share of `total` in percent, or null. */
export function share(used, total) {
  return known(used) && known(total) && total > 0 ? (used / total) * 100 : null;
}

/** A length of time in its two largest units. */
export function span(seconds) {
  if (!known(seconds)) return NONE;
  const left = Math.max(0, Math.floor(seconds));
  const days = Math.floor(left / 86400);
  const hours = Math.floor(left / 3600) % 24;
  const minutes = Math.floor(left / 60) % 60;
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  if (minutes) return `${minutes} min ${left % 60} s`;
  return `${left} s`;
}

/** A length of time in its largest unit: "3 min". */
export function roughly(seconds) {
  return span(seconds).split(" ").slice(0, 2).join(" ");
}

const CLOCK = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const DATE_CLOCK = new Intl.DateTimeFormat([], { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const FULL = new Intl.DateTimeFormat([], { dateStyle: "medium", timeStyle: "short" });

/** Time of day, with the date when it is not today. */
export function clock(unixSeconds) {
  const date = new Date(unixSeconds * 1000);
  return (date.toDateString() === new Date().toDateString() ? CLOCK : DATE_CLOCK).format(date);
}

export function dateTime(unixSeconds) {
  return known(unixSeconds) ? FULL.format(new Date(unixSeconds * 1000)) : "never";
}

export function plural(count, one, many = `${one}s`) {
  return `${count} ${count === 1 ? one : many}`;
}
