// The left side: the chat, the responses or the steps, as the server rendered them.

import { letter, make } from "./dom.js";

/** Show an item; returns the elements that questions work on: `responses` and `steps`, by place. */
export function showRecord(element, item, questions, texts) {
  const words = texts.judge;
  const compared = questions.some((one) => one.type === "comparison");
  const turns = item.prompt.map((turn) =>
    make("div", { class: "turn", "data-role": turn.role },
      make("p", { class: "who" }, words[turn.role] ?? turn.role),
      make("div", { class: "text", dir: "auto", html: turn.html })));
  const marked = questions.some((one) => one.type === "flaws");
  const name = (place) => (item.responses.length === 1 ? words.response : compared ? [words.left, words.right][place] : letter(place));
  const responses = item.responses.map((html, place) => make("div", { class: marked ? "text plain" : "text", dir: "auto", html }));
  const cards = responses.map((text, place) =>
    make("article", { class: "response", "aria-label": name(place) }, make("p", { class: "who" }, name(place)), text));
  const steps = item.steps.map((html) => make("li", {}, make("div", { class: "text", dir: "auto", html })));
  element.replaceChildren(...turns, make("div", { class: "responses" }, ...cards), make("ol", { class: "steps" }, ...steps));
  return { responses, cards, steps, name };
}
