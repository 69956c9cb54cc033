// The items that raters differ about: shown as on the judging page, and decided with the same form and keys.

import { ActiveTime } from "./active_time.js";
import { fill, make, newKey } from "./dom.js";
import { Form } from "./form.js";
import { Keys } from "./keys.js";
import { showRecord } from "./record.js";
import { Server } from "./server.js";

const page = JSON.parse(document.getElementById("page").textContent);
const words = page.texts.disagreements;

const show = (element, shown) => showRecord(element, shown, page.questions, page.texts);

class Deciding {
  #open = null; // {card, item, form, box, started, since, key}

  constructor() {
    this.server = new Server(page);
    this.keys = new Keys();
    this.time = new ActiveTime();
    this.keys.bind("Enter", words.put, () => this.#open && (this.#open.form.enter() || this.#send()));
    this.keys.bind("Ctrl+Enter", words.put, () => this.#send());
    this.keys.bind("Escape", page.texts.judge.cancel, () => this.close());
    this.keys.bind("ArrowDown", page.texts.keys.move, () => this.#open?.form.move(1));
    this.keys.bind("ArrowUp", page.texts.keys.move, () => this.#open?.form.move(-1));
    this.keys.listen();
  }

  /** Put the form under the answers of an item. */
  open(card) {
    this.close();
    const item = page.items[card.dataset.number];
    const record = show(card.querySelector(".record"), item.shown);
    const fields = make("div", { tabindex: "-1", class: "fields" });
    const missing = make("p", { class: "hint", role: "status" });
    const put = make("button", { type: "button", class: "main", on: { click: () => this.#send() } }, words.put, make("kbd", {}, page.texts.judge.submit_key));
    const cancel = make("button", { type: "button", class: "quiet", on: { click: () => this.close() } }, page.texts.judge.cancel, make("kbd", {}, "Esc"));
    const box = card.querySelector(".deciding");
    box.replaceChildren(fields, make("div", { class: "actions" }, cancel, put), missing);
    box.hidden = false;
    card.querySelector(".decide").hidden = true;
    const questions = page.questions.filter((one) => item.asked.includes(one.name));
    const form = new Form(fields, questions, item.shown, record, page.texts, () => (missing.textContent = ""));
    form.bind(this.keys);
    form.set(item.answers);
    this.#open = { card, item, form, box, missing, started: new Date().toISOString(), since: this.time.read(), key: newKey() };
    fields.focus(); // and not the first button: Enter sends, as on the judging page
  }

  /** Take the form away; what was not sent is forgotten. */
  close() {
    if (!this.#open) return;
    const { card, item, form, box } = this.#open;
    this.#open = null;
    form.remove(this.keys);
    box.hidden = true;
    box.replaceChildren();
    show(card.querySelector(".record"), item.shown); // without what the form has put there
    const again = card.querySelector(".decide");
    again.hidden = false;
    again.focus();
  }

  async #send() {
    if (!this.#open || this.#open.sending) return;
    const { card, item, form, missing, started, since, key } = this.#open;
    const open = form.missing();
    if (open.length) return (missing.textContent = fill(page.texts.judge.incomplete, { names: open.join(", ") }));
    const answers = form.read();
    const each = Math.round((this.time.read() - since) / Object.keys(answers).length);
    const active_ms = Object.fromEntries(Object.keys(answers).map((name) => [name, each]));
    this.#open.sending = true;
    const told = await this.server.post("/adjudicate", { artifact: item.artifact, key, answers, started, active_ms }).catch(() => null);
    if (this.#open) this.#open.sending = false;
    if (!told || told.status >= 300) return (missing.textContent = told?.body?.error ?? words.no_connection);
    item.answers = answers;
    this.#decided(card, told.body.decided);
  }

  #decided(card, decided) {
    for (const [name, said] of Object.entries(decided)) {
      const table = card.querySelector(`table[data-question="${name}"]`);
      if (!table) continue;
      table.tFoot.hidden = false;
      table.querySelector(".decision").textContent = said;
    }
    card.querySelector(".decided-chip").hidden = false;
    card.querySelector(".decide").textContent = words.again;
    this.close();
    const next = [...document.querySelectorAll(".contested")].find((one) => one.querySelector(".decided-chip").hidden);
    next?.querySelector(".decide").focus();
  }
}

for (const element of document.querySelectorAll("[data-item]")) show(element, page.items[element.dataset.item].shown);
for (const element of document.querySelectorAll("[data-flag]")) show(element, page.flags[element.dataset.flag].shown);
const deciding = new Deciding();
for (const button of document.querySelectorAll(".decide")) {
  button.addEventListener("click", () => deciding.open(button.closest(".contested")));
}
