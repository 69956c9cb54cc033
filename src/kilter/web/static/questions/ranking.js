// Ranks for K responses: a digit ranks the highlighted one, and the next without a rank is highlighted.

import { fill, make } from "../dom.js";
import { choices } from "./choices.js";

export function ranking({ question, item, record, texts, change }) {
  const words = texts.ranking;
  const ranks = item.responses.map((_, place) => place + 1);
  const given = item.responses.map(() => null);
  let now = 0;
  const rows = given.map((_, place) => {
    const buttons = choices(ranks.map((rank) => [rank, String(rank), null]), (rank) => pick(place, rank), { layout: "scale" });
    buttons.element.setAttribute("aria-label", fill(words.rank, { response: record.name(place) }));
    return { buttons, element: make("div", { class: "row rank" }, make("span", {}, record.name(place)), buttons.element) };
  });
  const show = () => rows.forEach((row, place) => row.buttons.show((rank) => rank === given[place]));
  const focus = (place) => {
    now = place;
    rows.forEach((row, one) => row.element.classList.toggle("now", one === now));
    record.cards.forEach((card, one) => card.classList.toggle("lit", one === now));
    record.cards[now]?.scrollIntoView({ block: "nearest" });
  };
  const pick = (place, rank) => {
    if (!question.ties) given.forEach((one, other) => one === rank && other !== place && (given[other] = null));
    given[place] = rank;
    show();
    const open = [...given.keys()].map((step) => (place + 1 + step) % given.length).find((one) => given[one] === null);
    focus(open ?? place);
    change();
  };
  focus(0);
  return {
    element: make("div", {}, make("p", { class: "hint" }, question.ties ? words.note : words.note_no_ties), ...rows.map((row) => row.element)),
    keys: [[`1 – ${ranks.length}`, words.key_rank], ["← →", words.key_move]],
    draft: () => (given.some((one) => one !== null) ? { ranks: given } : null),
    read() {
      if (given.includes(null)) return null;
      const groups = [...new Set(given)].sort((a, b) => a - b);
      return groups.map((rank) => given.flatMap((one, place) => (one === rank ? [place] : [])));
    },
    set(groups) {
      if (groups.ranks) groups.ranks.forEach((rank, place) => (given[place] = rank)); // a draft
      else groups.forEach((group, number) => [group].flat().forEach((place) => (given[place] = number + 1)));
      show();
      focus(Math.max(0, given.indexOf(null)));
    },
    digit(digit) {
      if (!ranks.includes(digit)) return false;
      pick(now, digit);
      return true;
    },
    move(name) {
      if (name === "ArrowLeft") focus(Math.max(0, now - 1));
      else if (name === "ArrowRight") focus(Math.min(given.length - 1, now + 1));
      else return false;
      return true;
    },
  };
}
