// Each step of a solution: bad, neutral or good; after a bad one nothing more is asked where the task says so.

import { fill, make } from "../dom.js";

const MARKS = [[-1, "bad", "−"], [0, "neutral", "0"], [1, "good", "+"]];

export function steps({ question, item, record, texts, change }) {
  const words = texts.steps;
  const given = item.steps.map(() => null);
  let now = 0;
  const rows = record.steps.map((element, step) => {
    const buttons = MARKS.map(([value, name, sign]) =>
      make("button", { type: "button", role: "radio", "aria-checked": "false", "aria-label": words[name], title: words[name], on: { click: () => pick(step, value) } }, sign));
    const marks = make("div", { class: "marks", role: "radiogroup", "aria-label": fill(words.step, { number: step + 1 }) }, ...buttons);
    element.prepend(marks);
    return { element, buttons };
  });
  const last = () => {
    const bad = question.stop_at_bad ? given.indexOf(-1) : -1;
    return bad < 0 ? given.length - 1 : bad;
  };
  const show = () =>
    rows.forEach(({ element, buttons }, step) => {
      buttons.forEach((button, place) => button.setAttribute("aria-checked", String(given[step] === MARKS[place][0])));
      element.classList.toggle("now", step === now);
      element.classList.toggle("after", step > last());
    });
  const focus = (step) => {
    now = Math.min(Math.max(0, step), last());
    show();
    rows[now]?.element.scrollIntoView({ block: "nearest" });
  };
  const pick = (step, value) => {
    given[step] = value;
    focus(step + 1);
    change();
  };
  focus(0);
  const hint = MARKS.map(([, name, sign], place) => `${place + 1} ${sign} ${words[name]}`).join(" · ");
  return {
    element: make("p", { class: "hint" }, hint),
    keys: [...MARKS.map(([, name], place) => [String(place + 1), words[name]]), ["← →", words.key_move]],
    draft: () => (given.some((one) => one !== null) ? given : null),
    read() {
      const asked = given.slice(0, last() + 1);
      return asked.includes(null) ? null : asked;
    },
    set(values) {
      values.forEach((value, step) => (given[step] = value));
      focus(values.includes(null) ? values.indexOf(null) : values.length - 1);
    },
    digit(digit) {
      if (digit < 1 || digit > 3) return false;
      pick(now, MARKS[digit - 1][0]);
      return true;
    },
    move(name) {
      if (name === "ArrowLeft" || name === "Backspace") focus(now - 1);
      else if (name === "ArrowRight") focus(now + 1);
      else return false;
      return true;
    },
  };
}
