// One label, or several.

import { choices } from "./choices.js";

export function label({ question, change }) {
  const chosen = new Set();
  const options = question.labels.map((name, place) => [name, name, place < 10 ? String((place + 1) % 10) : null]);
  const pick = (name) => {
    if (question.several) chosen.has(name) ? chosen.delete(name) : chosen.add(name);
    else {
      chosen.clear();
      chosen.add(name);
    }
    buttons.show((one) => chosen.has(one));
    touched = true;
    change();
  };
  let touched = false;
  const buttons = choices(options, pick, { role: question.several ? "checkbox" : "radio" });
  return {
    element: buttons.element,
    quick: !question.several,
    keys: buttons.keys,
    read: () => (question.several ? (touched ? question.labels.filter((one) => chosen.has(one)) : null) : ([...chosen][0] ?? null)),
    missing: () => question.required && !question.several && chosen.size === 0,
    set(given) {
      chosen.clear();
      for (const one of [given].flat()) chosen.add(one);
      touched = true;
      buttons.show((one) => chosen.has(one));
    },
    digit(digit) {
      const name = buttons.byKey(String(digit));
      if (name === undefined) return false;
      pick(name);
      return true;
    },
  };
}
