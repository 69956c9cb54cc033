// The right side: the questions of the task, one of them active, answered with digits or the mouse.

import { make } from "./dom.js";
import { comparison } from "./questions/comparison.js";
import { flaws } from "./questions/flaws.js";
import { label } from "./questions/label.js";
import { ranking } from "./questions/ranking.js";
import { rating } from "./questions/rating.js";
import { steps } from "./questions/steps.js";
import { text } from "./questions/text.js";

const KINDS = { comparison, flaws, label, ranking, rating, steps, text };
const DIGITS = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "0"];
const MOVES = ["ArrowLeft", "ArrowRight", "Shift+ArrowLeft", "Shift+ArrowRight", "Backspace", "m", "n"];

/**
 * A question's part of the form. Each kind in `questions/` makes one of these:
 *   element, read() -> answer or null, set(answer), missing() -> boolean,
 *   draft() -> what there is so far, which set() takes too, or null; where it is left out, read() says so,
 *   digit(n): a digit was pressed (0 to 9) -> whether it meant something,
 *   move(name): an arrow or letter was pressed -> whether it meant something,
 *   keys: [key, what it does] of each such key, for the key sheet,
 *   quick: whether one press answers it for good.
 */
export class Form {
  #parts;
  #at = 0;

  constructor(element, questions, item, record, texts, onChange) {
    this.#parts = questions.map((question, number) => {
      const change = () => {
        this.#activate(number);
        onChange();
      };
      const part = KINDS[question.type]({ question, item, record, texts, change });
      const optional = question.required ? null : make("span", { class: "hint" }, ` (${texts.judge.optional})`);
      part.frame = make("fieldset", { class: "question" },
        make("legend", {}, question.ask, optional), question.hint ? make("p", { class: "hint" }, question.hint) : null, part.element);
      part.frame.addEventListener("focusin", () => this.#activate(number));
      return { question, ...part };
    });
    element.replaceChildren(...this.#parts.map((one) => one.frame));
    this.#activate(0);
  }

  /** Name of the question that digits go to. */
  get active() {
    return this.#parts[this.#at].question.name;
  }

  /** Whether an item is done as soon as its last question has an answer. */
  get isQuick() {
    return this.#parts.every((one) => one.quick && one.question.required);
  }

  get isComplete() {
    return this.#parts.every((one) => one.read() !== null);
  }

  /** Answers by question; those without one are left out. */
  read() {
    return this.#byName((one) => one.read());
  }

  /** Answers by question as far as they are; `set` takes them. */
  draft() {
    return this.#byName((one) => one.read() ?? one.draft?.() ?? null);
  }

  #byName(answerOf) {
    return Object.fromEntries(this.#parts.map((one) => [one.question.name, answerOf(one)]).filter(([, answer]) => answer !== null));
  }

  /** The keys of the active question, with what they do. */
  keys() {
    return this.#parts[this.#at].keys ?? [];
  }

  set(answers) {
    for (const one of this.#parts) if (answers[one.question.name] != null) one.set(answers[one.question.name]);
  }

  /** Questions that are still to be answered, in words. */
  missing() {
    const open = this.#parts.filter((one) => one.missing?.() ?? (one.question.required && one.read() === null));
    if (open.length) this.#activate(this.#parts.indexOf(open[0]));
    return open.map((one) => one.question.ask);
  }

  /** The first question's part, for what else works on its answer. */
  get first() {
    return this.#parts[0];
  }

  bind(keys) {
    for (const digit of DIGITS) keys.bind(digit, null, () => this.#digit(Number(digit)));
    for (const name of MOVES) keys.bind(name, null, () => this.#parts[this.#at].move?.(name));
  }

  remove(keys) {
    keys.release([...DIGITS, ...MOVES]);
    for (const one of this.#parts) one.leave?.();
  }

  /** Enter was pressed; whether the active question has a use for it. */
  enter() {
    return this.#parts[this.#at].enter?.() ?? false;
  }

  /** Make another question the active one. */
  move(by) {
    this.#activate(Math.min(this.#parts.length - 1, Math.max(0, this.#at + by)));
    this.#parts[this.#at].frame.scrollIntoView({ block: "nearest" });
  }

  /** Let the choices be seen while the next item comes. */
  flash() {
    for (const picked of document.querySelectorAll("#questions [aria-pressed=true], #questions [aria-checked=true]")) {
      const ghost = picked.cloneNode(true);
      const box = picked.getBoundingClientRect();
      ghost.setAttribute("aria-hidden", "true");
      ghost.className = "flash ghost";
      ghost.tabIndex = -1;
      Object.assign(ghost.style, { position: "fixed", left: `${box.left}px`, top: `${box.top}px`, width: `${box.width}px`, height: `${box.height}px`, pointerEvents: "none", zIndex: 5 });
      document.body.append(ghost);
      setTimeout(() => ghost.remove(), 350);
    }
  }

  #digit(digit) {
    const before = this.#parts[this.#at].read();
    const meant = this.#parts[this.#at].digit?.(digit);
    const answered = this.#parts[this.#at]?.read();
    if (meant && before === null && answered !== null && this.#parts[this.#at]?.quick) this.move(1);
  }

  #activate(number) {
    this.#at = number;
    this.#parts.forEach((one, place) => one.frame.classList.toggle("active", place === number && this.#parts.length > 1));
  }
}
