// Buttons of which one, or several, are pressed; a digit is printed on each.

import { make } from "../dom.js";

/** Buttons for [value, text, key] choices; `pick(value)` is called with what was pressed. */
export function choices(options, pick, { layout = "choices", role = "radio" } = {}) {
  const buttons = options.map(([value, text, key, extra]) =>
    make("button", { type: "button", role, "aria-checked": "false", class: extra, on: { click: () => pick(value) } },
      make("span", {}, text), key === null ? null : make("kbd", {}, key)));
  const element = make("div", { class: layout, role: role === "radio" ? "radiogroup" : "group" }, ...buttons);
  return {
    element,
    show: (isOn) => buttons.forEach((button, place) => button.setAttribute("aria-checked", String(isOn(options[place][0])))),
    keys: options.filter((one) => one[2] !== null).map(([, text, key]) => [key, text]),
    byKey: (key) => options.find((one) => one[2] === key)?.[0],
  };
}
