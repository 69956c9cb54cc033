// A text, begun with nothing or with the response that is rewritten.

import { make } from "../dom.js";

export function text({ question, item, texts, change }) {
  const start = question.start === "response" ? (item.plain[0] ?? "") : "";
  const area = make("textarea", {
    rows: question.start === "response" ? 12 : 5, maxlength: question.most, dir: "auto", "aria-label": question.ask,
    placeholder: texts.text.placeholder, on: { input: change },
  });
  area.value = start;
  return {
    element: area,
    draft: () => (area.value && area.value !== start ? area.value : null),
    read: () => (area.value.trim().length >= Math.max(1, question.least) ? area.value.trim() : null),
    set: (given) => (area.value = given),
    digit: () => false,
  };
}
