// The second look of an experiment on help: what a critic says of the text, claim by claim, problems first. Each is
// accepted or refused for itself; there is no way to accept all. Without claims it is a second look without help.

import { make } from "./dom.js";
import { overlap, same, units } from "./spans.js";

const ACCEPT = "a";
const REFUSE = "r";
const KEYS = [ACCEPT, REFUSE, "j", "k"];

export class SecondLook {
  #cards = []; // {claim, element, buttons, effect}, problems first
  #at = -1;
  #decided; // claim number -> true, false or null
  #opened;
  #takenAway = new Map(); // claim number -> own marks that accepting it removed

  /**
   * @param {HTMLElement} element where the panel goes
   * @param {object} item with `again`, as the server tells it
   * @param {{read: () => object[] | null, put: (marks: object[], none: boolean) => void}} marks the rater's own
   * @param {object} question the one that asks for the marks
   * @param {HTMLElement} text the response
   * @param {object} texts words of the page
   * @param {() => void} change is called after each decision
   */
  constructor(element, item, marks, question, text, texts, change) {
    Object.assign(this, { element, marks, question, text, change, words: texts.second_look });
    const { claims, followed, opened, alone } = item.again;
    this.#decided = new Map(claims.map(({ number }) => [number, followed[number] ?? null]));
    this.#opened = new Set(opened);
    this.alone = alone[question.name] ?? [];
    const ordered = [...claims.filter((one) => one.verdict === "wrong"), ...claims.filter((one) => one.verdict !== "wrong")];
    this.#cards = ordered.map((claim, place) => this.#card(claim, place));
    this.#fill();
    this.#paint();
  }

  bind(keys) {
    if (!this.#cards.length) return;
    keys.bind(ACCEPT, this.words.accept, () => this.#decide(true));
    keys.bind(REFUSE, this.words.refuse, () => this.#decide(false));
    keys.bind("j", this.words.next, () => this.#move(1));
    keys.bind("k", this.words.previous, () => this.#move(-1));
  }

  remove(keys) {
    keys.release(KEYS);
    CSS.highlights?.delete("claim");
    this.element.hidden = true;
    this.element.replaceChildren();
  }

  /** Put the reader before the panel. */
  focus() {
    this.element.querySelector("h2").focus();
  }

  /** What was decided and looked at, by the numbers of the claims. */
  read() {
    return { followed: Object.fromEntries(this.#decided), opened: [...this.#opened].sort((a, b) => a - b) };
  }

  set({ followed, opened }) {
    for (const number of this.#decided.keys()) this.#decided.set(number, followed[number] ?? null);
    this.#opened = new Set(opened);
    this.#paint();
  }

  /** The marks have changed: a decision that they no longer show is open again. */
  marksChanged() {
    for (const { claim } of this.#cards) {
      if (this.#decided.get(claim.number) === true && !this.#holds(claim)) this.#decided.set(claim.number, null);
    }
    this.#paint();
  }

  /** An arrow was pressed: whether it moved among the claims, as it does while one of them has the focus. */
  arrow(by) {
    if (!this.#cards.length || !this.element.contains(document.activeElement)) return false;
    this.#move(by);
    return true;
  }

  // The panel

  #fill() {
    const helped = this.#cards.length > 0;
    const title = make("h2", { id: "second-look-title", tabindex: "-1" }, helped ? this.words.title : this.words.title_alone);
    const about = make("p", { class: "hint" }, helped ? this.words.about : this.words.about_alone);
    this.element.replaceChildren(title, about, ...(helped ? [make("ol", { class: "claims" }, ...this.#cards.map((one) => one.element))] : []));
    this.element.hidden = false;
  }

  #card(claim, place) {
    const there = claim.start !== null;
    const id = `claim-${claim.number}`;
    const button = (value, text, key) =>
      make("button", { type: "button", "aria-pressed": "false", "aria-describedby": id, on: { click: () => this.#decide(value, place) } }, text, make("kbd", {}, key.toUpperCase()));
    const buttons = there ? [[true, button(true, this.words.accept, ACCEPT)]] : [];
    buttons.push([false, button(false, this.words.refuse, REFUSE)]);
    const effect = make("p", { class: "hint", role: "status" });
    const element = make("li", { class: "claim", tabindex: "-1" },
      make("p", { class: "who" }, make("span", { class: "chip", "data-verdict": claim.verdict }, this.words[claim.verdict]), claim.type ? ` ${claim.type}` : null),
      make("blockquote", { dir: "auto" }, claim.quote),
      there ? null : make("p", { class: "absent" }, this.words.absent),
      make("p", { id, dir: "auto", class: "said" }, claim.text),
      make("div", { class: "actions" }, ...buttons.map(([, one]) => one)), effect);
    element.addEventListener("focusin", () => this.#look(place));
    element.addEventListener("click", (event) => event.target.closest("button") ?? element.focus({ preventScroll: true }));
    return { claim, element, buttons, effect };
  }

  #paint() {
    for (const { claim, element, buttons, effect } of this.#cards) {
      const decision = this.#decided.get(claim.number);
      for (const [value, button] of buttons) button.setAttribute("aria-pressed", String(decision === value));
      element.dataset.decision = decision === null ? "open" : decision ? "accepted" : "refused";
      const said = decision === null ? "" : decision ? this.words[`accepted_${claim.verdict}`] : this.words.refused;
      if (effect.textContent !== said) effect.textContent = said; // or a screen reader would say it again
    }
  }

  // Among the claims

  #move(by) {
    const place = this.#at < 0 ? 0 : Math.min(this.#cards.length - 1, Math.max(0, this.#at + by));
    this.#cards[place].element.focus({ preventScroll: true });
    this.#cards[place].element.scrollIntoView({ block: "nearest" });
  }

  /** A card has the focus: show its passage in the response. */
  #look(place) {
    const { claim } = this.#cards[place];
    const before = this.#at;
    this.#at = place;
    this.#opened.add(claim.number);
    this.#cards.forEach(({ element }, one) => element.toggleAttribute("data-now", one === place));
    if (claim.start === null) return CSS.highlights?.delete("claim");
    const range = this.#range(claim);
    const shown = "Highlight" in window ? new Highlight(range) : null;
    if (shown) shown.priority = 1; // above the rater's own marks
    if (shown) CSS.highlights.set("claim", shown);
    if (before !== place) this.#bringIntoView(range);
  }

  #range({ start, end }) {
    const node = this.text.firstChild;
    const range = document.createRange();
    range.setStart(node, units(node.data, start));
    range.setEnd(node, units(node.data, end));
    return range;
  }

  #bringIntoView(range) {
    const box = range.getBoundingClientRect();
    const form = this.element.closest(".form").getBoundingClientRect();
    const below = form.left > 0 ? innerHeight : form.top; // on a small screen the form covers the lower part
    if (box.top < 8 || box.bottom > below - 8) scrollBy({ top: box.top - Math.max(48, below / 4) });
  }

  // Decisions

  /** Accept or refuse the claim that has the focus; the same again takes it back. */
  #decide(value, place = this.#at) {
    if (place < 0) return this.#move(0); // nothing is decided that was not looked at
    const { claim } = this.#cards[place];
    if (value && claim.start === null) return;
    this.#look(place);
    const before = this.#decided.get(claim.number);
    if (before === true) this.#undo(claim);
    this.#decided.set(claim.number, before === value ? null : value);
    if (before !== value && value) this.#apply(claim);
    this.#paint();
    this.change();
  }

  #own() {
    return this.marks.read() ?? [];
  }

  /** Whether the marks are as accepting the claim leaves them. */
  #holds(claim) {
    const there = this.#own().some((one) => (claim.verdict === "wrong" ? same(one, claim) : overlap(one, claim)));
    return there === (claim.verdict === "wrong");
  }

  #apply(claim) {
    const own = this.#own();
    if (claim.verdict === "wrong") {
      if (!own.some((one) => same(one, claim))) this.marks.put([...own, this.#mark(claim)], false);
      return;
    }
    const gone = own.filter((one) => overlap(one, claim));
    this.#takenAway.set(claim.number, gone);
    if (gone.length) this.marks.put(own.filter((one) => !overlap(one, claim)), false);
  }

  #undo(claim) {
    const own = this.#own();
    if (claim.verdict === "wrong") {
      const others = this.#cards.some((one) => one.claim.number !== claim.number && one.claim.verdict === "wrong" && this.#decided.get(one.claim.number) === true && one.claim.start !== null && same(one.claim, claim));
      if (others || this.alone.some((one) => same(one, claim))) return;
      const left = own.filter((one) => !same(one, claim));
      this.marks.put(left, !left.length && !this.alone.length);
      return;
    }
    const gone = this.#takenAway.get(claim.number) ?? this.alone.filter((one) => overlap(one, claim)); // after a reload
    const back = gone.filter((mark) => !own.some((one) => same(one, mark)));
    if (back.length) this.marks.put([...own, ...back], false);
  }

  /** The claim as a mark of the rater's: its type where the question has it, its text as the note. */
  #mark({ start, end, type, text }) {
    const { types, severities, notes } = this.question;
    const other = types.includes("other") ? "other" : types[0];
    return {
      place: 0, start, end, type: types.includes(type) ? type : other, severity: severities[0],
      note: notes === "none" ? "" : text.trim().slice(0, 2000),
    };
  }
}
