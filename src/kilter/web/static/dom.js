// Making elements: text is always text, never markup, unless it is `html` that the server rendered.

/** An element with attributes and children; `html` for what the server has rendered, `on` for listeners. */
export function make(tag, { html, on, ...attributes } = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value == null) continue;
    element.setAttribute(name, value === true ? "" : value);
  }
  if (html !== undefined) element.innerHTML = html;
  for (const [event, run] of Object.entries(on ?? {})) element.addEventListener(event, run);
  element.append(...children.filter((one) => one != null));
  return element;
}

/** A text with its {names} filled in. */
export function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

/** A random name, for submissions. */
export function newKey() {
  return crypto.randomUUID?.() ?? Array.from(crypto.getRandomValues(new Uint8Array(16)), (one) => one.toString(16).padStart(2, "0")).join("");
}

/** The letter of a response: A, B, C ... */
export function letter(place) {
  return String.fromCharCode(65 + place);
}
