// Places in a text: the server counts Unicode code points, JavaScript UTF-16 units.

/** How many code points stand before a place that is given in units. */
export const codePoints = (text, place) => Array.from(text.slice(0, place)).length;

/** The place in units behind so many code points. */
export const units = (text, count) => Array.from(text).slice(0, count).join("").length;

/** Whether two spans share a character. */
export const overlap = (one, other) => one.start < other.end && other.start < one.end;

/** Whether two spans are one. */
export const same = (one, other) => one.start === other.start && one.end === other.end;
