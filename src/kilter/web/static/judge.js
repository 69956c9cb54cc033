// The judging page: shows an item, reads the answers, puts them into the outbox and goes on at once. In an experiment on
// help it waits after the first answer to an item, until the server has it and sends the item again, with help.

import { ActiveTime } from "./active_time.js";
import { fill, make, newKey } from "./dom.js";
import { Keys, printed } from "./keys.js";
import { isLater, Outbox } from "./outbox.js";
import { showRecord } from "./record.js";
import { Form } from "./form.js";
import { SecondLook } from "./second_look.js";
import { Server } from "./server.js";

const LOW = 2; // fewer items than this in hand: ask for more
const SEEN_MS = 350; // a choice stays visible so long, and a second press of its key does nothing
const DRAFT_MS = 1500;

const page = JSON.parse(document.getElementById("page").textContent);
const words = page.texts.judge;
const at = (id) => document.getElementById(id);

class Judging {
  #items = []; // in hand, the first one on screen
  #done = new Set(); // assignments that went into the outbox here
  #history = []; // items done here, the newest last
  #current = null;
  #form = null;
  #look = null; // the second look at the item on screen
  #awaited = null; // answered alone, and on its way: the second look at it comes next
  #learning = null; // a training item answered: what there is to learn from it comes next
  #judged = 0;
  #loading = null; // the request for more items under way
  #reloading = null; // and the one after it: what is under way was asked before the last answer
  #quietUntil = 0;
  #revising = null; // the item on screen before going back

  constructor() {
    this.server = new Server(page);
    this.keys = new Keys();
    this.time = new ActiveTime();
    this.outbox = new Outbox(
      `${page.person}/${page.task}`,
      (entry) => this.server.post(entry.path, entry.body),
      (state, count) => this.#showOutbox(state, count),
      (entry, answer) => this.#taken(entry, answer),
      (entry, message) => this.#refused(entry, message),
    );
  }

  async start() {
    this.#bindKeys();
    this.keys.listen();
    await this.outbox.open();
    for (const assignment of await this.outbox.waiting()) this.#done.add(assignment);
    await this.#load();
    this.#filled(); // unless what the outbox brought was faster
    const left = await this.outbox.refused();
    if (left.length) this.#offerRefused(fill(words.refused_before, { count: left.length }));
  }

  // Items

  #load() {
    if (!this.#loading) return (this.#loading = this.#fetchItems().finally(() => (this.#loading = null)));
    return (this.#reloading ??= this.#loading.then(() => {
      this.#reloading = null;
      return this.#load();
    }));
  }

  /** Items are in hand, or there are none: show so, unless the rater is at something. */
  #filled() {
    if (this.#current || this.#awaited || this.#learning) return;
    if (this.#items.length) this.#next();
    else this.#showEmpty();
  }

  async #fetchItems() {
    try {
      const { status, body } = await this.server.post("/next", {});
      if (status === 401) return this.#showOutbox("signed-out", 0);
      if (isLater(status)) throw new Error(`the next items: ${status}`);
      if (status >= 300) return this.#notice(body?.error ?? String(status));
      this.#judged = Math.max(this.#judged, body.judged);
      this.stage = body.stage;
      const known = new Set([...this.#items, ...(this.#current ? [this.#current] : [])].map((one) => one.assignment));
      this.#items.push(...body.items.filter((one) => !known.has(one.assignment) && !this.#done.has(one.assignment)));
    } catch {
      this.#showOutbox("offline", 0);
      setTimeout(() => this.#load().then(() => this.#filled()), 3000);
    }
  }

  #next() {
    this.#revising = this.#learning = null;
    const item = this.#items.shift() ?? null;
    const more = this.#items.length < LOW ? this.#load() : null;
    if (item) this.#show(item);
    else this.#showEmpty();
    more?.then(() => this.#filled());
  }

  async #show(item) {
    this.#current = item;
    this.shown = { at: new Date().toISOString(), active: this.time.read(), by: {} };
    this.#form?.remove(this.keys);
    const record = (this.record = showRecord(at("record"), item, page.questions, page.texts));
    this.#form = new Form(at("questions"), page.questions, item, record, page.texts, () => this.#changed());
    this.#form.bind(this.keys);
    for (const id of ["skip", "flag"]) at(id).hidden = false;
    this.#form.set(item.answers ?? {});
    at("form").inert = false;
    this.#showLook(item, record);
    at("submit").hidden = this.#form.isQuick;
    this.#showStanding();
    at("missing").textContent = "";
    scrollTo(0, 0);
    document.dispatchEvent(new CustomEvent("kilter:shown", { detail: item.assignment }));
    const draft = await this.outbox.draft(item.assignment);
    if (!draft || this.#current !== item || Boolean(draft.followed) !== Boolean(item.again)) return;
    this.#form.set(draft.answers);
    this.#look?.set(draft);
  }

  #showLook(item, record) {
    this.#look?.remove(this.keys);
    this.#look = null;
    if (!item.again) return;
    this.#look = new SecondLook(at("second-look"), item, this.#form.first, page.questions[0], record.responses[0], page.texts, () => this.#changed());
    this.#look.bind(this.keys);
    this.#quietUntil = performance.now() + SEEN_MS; // the key that sent the first answer is not to send the second
    this.#look.focus();
  }

  #showEmpty() {
    this.#current = null;
    this.#form?.remove(this.keys);
    this.#form = null;
    this.#look?.remove(this.keys);
    this.#look = null;
    at("form").inert = false;
    const text = this.stage === "refused" ? words.refused : words.empty;
    at("record").replaceChildren(make("p", { class: "card" }, this.#loading ? words.loading : text));
    for (const id of ["submit", "skip", "flag"]) at(id).hidden = true;
    this.#showStanding();
  }

  #showStanding() {
    at("count").textContent = fill(words.done, { count: this.#judged });
    const look = this.#current?.again ? (this.#current.again.claims.length ? words.helped : words.once_more) : words.alone;
    const stage = this.#current?.training ? words.training : this.#current && page.twice ? look : "";
    at("stage").hidden = !stage;
    at("stage").textContent = stage;
  }

  // Answers

  #changed() {
    if (!this.#current) return; // it is on its way
    if (this.#form.isQuick && performance.now() < this.#quietUntil) return this.#show(this.#current); // it was for the last
    this.#look?.marksChanged();
    const now = this.time.read();
    const name = this.#form.active;
    this.shown.by[name] = (this.shown.by[name] ?? 0) + now - this.shown.active;
    this.shown.active = now;
    if (this.#form.isQuick && this.#form.isComplete) return this.submit();
    at("missing").textContent = "";
    clearTimeout(this.drafting);
    const { assignment } = this.#current;
    this.drafting = setTimeout(() => this.#saveDraft(assignment), DRAFT_MS);
  }

  async #saveDraft(assignment, said = false) {
    if (this.#current?.assignment !== assignment) return;
    const draft = { answers: this.#form.draft(), ...this.#look?.read() };
    const { done } = this.#current;
    await this.outbox.saveDraft(assignment, draft);
    if (!done) this.server.post("/draft", { assignment, ...draft }).catch(() => {});
    if (said) at("missing").textContent = words.draft;
  }

  async submit() {
    if (!this.#current || performance.now() < this.#quietUntil) return;
    const missing = this.#form.missing();
    if (missing.length) {
      at("missing").textContent = fill(words.incomplete, { names: missing.join(", ") });
      return;
    }
    const answers = this.#form.read();
    const body = { ...this.#entry(), answers, active_ms: this.#times(answers), ...this.#look?.read() };
    await this.#hand("/submit", body, answers);
  }

  async aside(state) {
    if (!this.#current) return;
    const reason = await this.#ask(state === "skipped" ? words.why_skip : words.why_flag);
    if (reason) await this.#hand("/aside", { ...this.#entry(), state, reason }, null);
  }

  #entry() {
    return { assignment: this.#current.assignment, key: newKey(), started: this.shown.at };
  }

  /** Put it into the outbox and show the next item; a training item waits for what there is to learn. */
  async #hand(path, body, answers) {
    clearTimeout(this.drafting);
    const item = { ...this.#current, answers, done: true };
    if (item.again && answers) item.again = { ...item.again, followed: body.followed, opened: body.opened };
    this.#quietUntil = performance.now() + SEEN_MS;
    this.#form.flash();
    this.#done.add(item.assignment);
    if (page.twice && answers && !item.again && !item.training) return this.#await(item, { path, body });
    if (!this.#current.done) this.#judged += 1;
    this.#history = [...this.#history.filter((one) => one.assignment !== item.assignment), item];
    const kept = this.outbox.put({ assignment: item.assignment, key: body.key, path, body });
    if (item.training && answers) {
      this.#current = null;
      this.#learning = item.assignment;
      await kept;
      return; // `#taken` shows the explanation
    }
    if (this.#revising) this.#items.unshift(this.#revising);
    this.#hideNotice();
    this.#next();
    await kept;
  }

  /** An answer without help goes out; what it brings is awaited, so that no other item comes between the two looks. */
  async #await(item, { path, body }) {
    if (this.#revising) this.#items.unshift(this.#revising);
    this.#revising = this.#current = null;
    this.#awaited = item.assignment;
    this.#form.remove(this.keys);
    at("form").inert = true;
    at("missing").textContent = words.on_its_way;
    this.#hideNotice();
    await this.outbox.put({ assignment: item.assignment, key: body.key, path, body });
  }

  /** The server has an unaided answer and sends the item again: next, or after the one that is being changed. */
  #again(item) {
    this.#done.delete(item.assignment);
    this.#awaited = null;
    this.#items = [item, ...this.#items.filter((one) => one.assignment !== item.assignment)];
    if (!this.#current) this.#next();
  }

  #refused(entry, message) {
    this.#offerRefused(fill(words.refused_entry, { message }));
    if (this.#awaited !== entry.assignment && this.#learning !== entry.assignment) return;
    this.#done.delete(entry.assignment); // it may be in hand still, as another browser has left it
    this.#awaited = this.#learning = null;
    this.#load().then(() => this.#filled());
  }

  /** What was not taken is not thrown away: the rater says what becomes of it. */
  #offerRefused(text) {
    const button = (label, act) => make("button", { type: "button", on: { click: () => (this.#hideNotice(), act()) } }, label);
    this.#notice(text, button(words.send_again, () => this.outbox.sendRefusedAgain()), button(words.let_go, () => this.outbox.letRefusedGo()));
  }

  #taken(entry, answer) {
    if (answer?.second) return this.#again(answer.second);
    if (answer?.state === "surplus") this.#notice(words.surplus);
    if (this.#awaited === entry.assignment) {
      this.#awaited = null;
      this.#judged += 1;
      if (!this.#current) this.#next();
    }
    if (this.#learning === entry.assignment) return answer?.right ? this.#explain(answer) : this.#next();
    if (!this.#current) this.#load().then(() => this.#filled()); // it may have opened the next stage
  }

  #explain({ right, explanation, known }) {
    const good = Object.values(right).every(Boolean);
    const go = make("button", { class: "main", type: "button", on: { click: () => this.#next() } }, words.go_on);
    const text = make("div", { class: "prose", html: explanation });
    const answers = known.map((one) => make("li", { class: one.right ? "met" : "missed" },
      known.length > 1 ? `${one.ask} ` : null, fill(one.right ? words.known_met : words.known_missed, one)));
    for (const { place } of known) if (place !== null) this.#crown(place);
    at("record").append(make("div", { class: "card good", role: "status" },
      make("p", {}, make("strong", {}, good ? words.training_right : words.training_wrong)),
      answers.length ? make("ul", { class: "known" }, ...answers) : null, text, go));
    go.focus();
    go.scrollIntoView({ block: "nearest" });
  }

  /** Show on the response itself that it is the better one. */
  #crown(place) {
    const card = this.record.cards[place];
    card.classList.add("lit");
    card.querySelector(".who").append(" ", make("span", { class: "chip" }, words.known_better));
  }

  /** Active milliseconds by question; what came after the last answer belongs to the question that was open. */
  #times(answers) {
    const now = this.time.read();
    const name = this.#form.active;
    this.shown.by[name] = (this.shown.by[name] ?? 0) + now - this.shown.active;
    this.shown.active = now;
    return Object.fromEntries(Object.keys(answers).map((one) => [one, Math.max(0, Math.round(this.shown.by[one] ?? 0))]));
  }

  // Going back

  async back() {
    const from = this.#current;
    const place = this.#history.findIndex((one) => one.assignment === from?.assignment);
    let earlier = this.#history.at(place < 0 ? -1 : place - 1);
    if (place === 0 || !earlier) earlier = await this.#earlier(this.#history[0]?.assignment);
    if (!earlier) return this.#notice(words.nothing_before);
    if (from && !from.done) this.#revising = this.#asItStands(from);
    this.#history = this.#history.some((one) => one.assignment === earlier.assignment) ? this.#history : [earlier, ...this.#history];
    this.#show(earlier);
    this.#notice(words.changing, make("button", { type: "button", on: { click: () => this.#leave() } }, words.leave));
  }

  /** An item on screen with what was answered so far. */
  #asItStands(item) {
    const again = item.again ? { again: { ...item.again, ...this.#look.read() } } : {};
    return { ...item, ...again, answers: this.#form.draft() };
  }

  async #earlier(before) {
    try {
      const { status, body } = await this.server.post("/back", { before: before ?? null });
      return status < 300 ? body : null;
    } catch {
      return null;
    }
  }

  #leave() {
    if (!this.#current?.done) return;
    if (this.#revising) this.#items.unshift(this.#revising);
    this.#hideNotice();
    this.#next();
  }

  // Around it

  #bindKeys() {
    const bindings = [
      ["Enter", words.submit, () => this.#form?.enter() || this.submit()],
      ["Ctrl+Enter", words.submit, () => this.submit()],
      ["z", words.undo, () => this.back(), "undo"],
      ["s", words.skip, () => this.aside("skipped"), "skip"],
      ["f", words.flag, () => this.aside("flagged"), "flag"],
      ["g", words.guidelines, () => at("guidelines").showModal(), "show-guidelines"],
      ["?", words.help, () => this.#showKeys(), "show-keys"],
      ["Ctrl+s", page.texts.keys.draft, () => this.#current && this.#saveDraft(this.#current.assignment, true)],
      ["Escape", words.leave, () => this.#leave()],
      ["ArrowDown", page.texts.keys.move, () => this.#look?.arrow(1) || this.#form?.move(1)],
      ["ArrowUp", page.texts.keys.move, () => this.#look?.arrow(-1) || this.#form?.move(-1)],
    ];
    at("submit").addEventListener("click", () => this.submit());
    for (const [key, label, run, button] of bindings) {
      this.keys.bind(key, label, run);
      if (button) at(button).addEventListener("click", run);
    }
  }

  #showKeys() {
    const keysOf = new Map(); // by what they do
    for (const [key, label] of [...(this.#form?.keys() ?? []), ...this.keys.list()]) {
      keysOf.set(label, [...(keysOf.get(label) ?? []), make("kbd", {}, printed(key)), " "]);
    }
    const rows = [...keysOf].flatMap(([label, keys]) => [make("dt", {}, ...keys), make("dd", {}, label)]);
    at("key-list").replaceChildren(...rows);
    at("keys").showModal();
  }

  #ask(title) {
    const dialog = at("why");
    at("why-title").textContent = title;
    at("reason").value = "";
    dialog.returnValue = "";
    dialog.showModal();
    return new Promise((resolve) => {
      dialog.addEventListener("close", () => resolve(dialog.returnValue === "send" ? at("reason").value.trim() : ""), { once: true });
    });
  }

  #notice(text, ...more) {
    at("notice").replaceChildren(text, ...more);
    at("notice").hidden = false;
  }

  #hideNotice() {
    at("notice").hidden = true;
  }

  #showOutbox(state, count) {
    const chip = at("outbox");
    chip.dataset.state = state;
    chip.textContent = count ? fill(words.waiting, { count }) : state === "saved" ? words.saved : words.waiting.replace("{count}", "0");
    const offline = this.#awaited ? words.offline_between : words.offline;
    if (state === "offline" || state === "signed-out") this.#notice(state === "offline" ? offline : words.signed_out);
    else if ([words.offline, words.offline_between, words.signed_out].includes(at("notice").textContent)) this.#hideNotice();
  }
}

/** One tab at a time: two would show the same items. The second waits, or takes over. */
function inOneTab(run) {
  if (!navigator.locks) return run(); // only where the page is not served securely
  const name = `kilter ${page.person} ${page.task}`;
  const hold = () => new Promise(() => run());
  navigator.locks.request(name, { ifAvailable: true }, (lock) => {
    if (lock) return hold();
    const take = make("button", { type: "button", on: { click: () => navigator.locks.request(name, { steal: true }, hold) } }, words.take_over);
    take.addEventListener("click", () => (at("notice").hidden = true));
    at("notice").replaceChildren(words.other_tab, take);
    at("notice").hidden = false;
    at("record").replaceChildren();
  }).catch(() => location.reload()); // another tab took over
}

inOneTab(() => new Judging().start());
