// Numbers on a scale: one row for each dimension, and for each response where each is rated.

import { fill, make } from "../dom.js";
import { choices } from "./choices.js";

export function rating({ question, item, record, texts, change }) {
  const words = texts.rating;
  const each = question.of === "responses";
  const grades = Array.from({ length: question.high - question.low + 1 }, (_, step) => question.low + step);
  const places = each ? item.responses.map((_, place) => place) : [0];
  const rows = places.flatMap((place) => question.dimensions.map((dimension) => ({ place, dimension, grade: null })));
  let now = 0;
  for (const [number, row] of rows.entries()) {
    row.buttons = choices(grades.map((grade) => [grade, String(grade), null]), (grade) => pick(number, grade), { layout: "scale" });
    const name = fill(each ? words.row_of : words.row, { dimension: row.dimension, response: each ? record.name(row.place) : "" });
    row.buttons.element.setAttribute("aria-label", name);
    const ends = number === 0 && question.ends[0] ? make("span", { class: "end" }, `${question.low} ${question.ends[0]} – ${question.high} ${question.ends[1]}`) : null;
    row.element = make("div", { class: "row" }, rows.length > 1 ? make("div", {}, name) : null, row.buttons.element, ends);
  }
  const pick = (number, grade) => {
    rows[number].grade = grade;
    rows[number].buttons.show((one) => one === grade);
    focus(Math.min(number + 1, rows.length - 1));
    change();
  };
  const focus = (number) => {
    now = number;
    rows.forEach((row, place) => row.element.classList.toggle("now", place === number && rows.length > 1));
    if (each) record.cards.forEach((card, place) => card.classList.toggle("lit", place === rows[now].place));
  };
  const grid = () => {
    const of = (place) => Object.fromEntries(rows.filter((row) => row.place === place).map((row) => [row.dimension, row.grade]));
    return each ? places.map(of) : of(0);
  };
  focus(0);
  return {
    element: make("div", {}, ...rows.map((row) => row.element)),
    quick: rows.length === 1,
    keys: [[`${question.low} – ${question.high}`, words.key_grade], ...(rows.length > 1 ? [["← →", words.key_move]] : [])],
    draft: () => (rows.some((row) => row.grade !== null) ? grid() : null),
    read: () => (rows.some((row) => row.grade === null) ? null : grid()),
    set(given) {
      for (const row of rows) {
        row.grade = (each ? given[row.place] : given)?.[row.dimension] ?? null;
        row.buttons.show((one) => one === row.grade);
      }
      focus(Math.max(0, rows.findIndex((row) => row.grade === null)));
    },
    digit(digit) {
      const grade = digit === 0 && question.high === 10 ? 10 : digit;
      if (!grades.includes(grade)) return false;
      pick(now, grade);
      return true;
    },
    move(name) {
      if (name === "ArrowLeft") focus(Math.max(0, now - 1));
      else if (name === "ArrowRight") focus(Math.min(rows.length - 1, now + 1));
      else return false;
      return true;
    },
  };
}
