// The outbox: what was done is written into the browser's own database first and sent then, one after another, until
// the server has said that it has it. A lost connection, a restarted server, a closed tab: it stays and is sent later.

const NAME = "kilter-outbox";
const LONGEST_PAUSE_MS = 15_000;

/** Whether the server could not do it now, and may be asked again. */
export const isLater = (status) => status === 429 || status >= 500;

export class Outbox {
  #database;
  #sending = false;
  #pause = 0;
  #timer = null;
  #state = "saved";

  /**
   * @param {string} scope person and task: several may work in one browser
   * @param {(entry: object) => Promise<{status: number, body: any}>} send posts an entry; throws without a connection
   * @param {(state: string, count: number) => void} onState "saved", "waiting", "offline" or "signed-out"
   * @param {(entry: object, answer: object) => void} onTaken
   * @param {(entry: object, message: string) => void} onRefused it will never be taken; it is kept apart
   */
  constructor(scope, send, onState, onTaken, onRefused) {
    Object.assign(this, { scope, send, onState, onTaken, onRefused });
    addEventListener("online", () => this.flush());
  }

  async open() {
    this.#database = await new Promise((resolve, reject) => {
      const request = indexedDB.open(NAME, 1);
      request.onupgradeneeded = () => {
        request.result.createObjectStore("entries", { keyPath: ["scope", "assignment"] });
        request.result.createObjectStore("drafts", { keyPath: ["scope", "assignment"] });
        request.result.createObjectStore("refused", { keyPath: ["scope", "key"] });
      };
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
    await this.flush(); // what waits here may bring something that is to be shown first
  }

  /** Keep an entry {assignment, key, path, body}; a later one of the same assignment takes its place. */
  async put(entry) {
    this.#tell("waiting", 1); // at once: nothing is called saved that is not
    const order = performance.timeOrigin + performance.now();
    await this.#run("entries", "readwrite", (store) => store.put({ ...entry, scope: this.scope, order }));
    await this.#run("drafts", "readwrite", (store) => store.delete([this.scope, entry.assignment]));
    this.flush();
  }

  /** Assignments that wait here. */
  async waiting() {
    return (await this.#entries()).map((one) => one.assignment);
  }

  /** Keep what is not finished: {answers}, and on a second look {followed, opened} too. */
  async saveDraft(assignment, draft) {
    await this.#run("drafts", "readwrite", (store) => store.put({ ...draft, scope: this.scope, assignment }));
  }

  draft(assignment) {
    return this.#run("drafts", "readonly", (store) => store.get([this.scope, assignment]));
  }

  /** Entries that the server would not take; they stay here until they are sent again or let go. */
  refused() {
    return this.#run("refused", "readonly", (store) => store.getAll(this.#range()));
  }

  async sendRefusedAgain() {
    this.#tell("waiting", 1); // at once, as in `put`
    for (const entry of await this.refused()) {
      const newer = await this.#run("entries", "readonly", (store) => store.get([this.scope, entry.assignment]));
      if (!newer) await this.#run("entries", "readwrite", (store) => store.put(entry));
      await this.#run("refused", "readwrite", (store) => store.delete([this.scope, entry.key]));
    }
    await this.flush();
  }

  letRefusedGo() {
    return this.#run("refused", "readwrite", (store) => store.delete(this.#range()));
  }

  /** Send what waits, in order; safe to call at any time. */
  async flush() {
    if (this.#sending || !this.#database) return;
    this.#sending = true;
    clearTimeout(this.#timer);
    try {
      for (let entries = await this.#entries(); entries.length; entries = await this.#entries()) {
        this.#tell(this.#state === "saved" ? "waiting" : this.#state, entries.length);
        const later = await this.#sendOne(entries[0]);
        if (later) {
          this.#tell(later, entries.length);
          this.#pause = Math.min(LONGEST_PAUSE_MS, Math.max(500, 2 * this.#pause));
          this.#timer = setTimeout(() => this.flush(), this.#pause);
          return;
        }
        this.#pause = 0;
        this.#state = "waiting";
      }
      this.#tell("saved", 0);
    } finally {
      this.#sending = false;
    }
  }

  /** Send one entry; returns why to try again later, or null. */
  async #sendOne(entry) {
    let answer;
    try {
      answer = await this.send(entry);
    } catch {
      return "offline";
    }
    if (answer.status === 401) return "signed-out";
    if (isLater(answer.status)) return "offline";
    await this.#remove(entry);
    if (answer.status < 300) {
      this.onTaken(entry, answer.body);
    } else {
      await this.#run("refused", "readwrite", (store) => store.put(entry));
      this.onRefused(entry, answer.body?.error ?? String(answer.status));
    }
    return null;
  }

  #tell(state, count) {
    this.#state = state;
    this.onState(state, count);
  }

  async #entries() {
    const found = await this.#run("entries", "readonly", (store) => store.getAll(this.#range()));
    return found.sort((a, b) => a.order - b.order);
  }

  #range() {
    return IDBKeyRange.bound([this.scope], [this.scope, []]);
  }

  /** Remove an entry unless a later one has taken its place meanwhile. */
  #remove(entry) {
    return new Promise((resolve, reject) => {
      const transaction = this.#database.transaction("entries", "readwrite");
      const store = transaction.objectStore("entries");
      const place = [this.scope, entry.assignment];
      const request = store.get(place);
      request.onsuccess = () => request.result?.key === entry.key && store.delete(place);
      transaction.oncomplete = () => resolve();
      transaction.onerror = () => reject(transaction.error);
    });
  }

  #run(name, mode, act) {
    return new Promise((resolve, reject) => {
      const transaction = this.#database.transaction(name, mode, { durability: "strict" });
      const request = act(transaction.objectStore(name));
      transaction.oncomplete = () => resolve(request?.result);
      transaction.onerror = () => reject(transaction.error);
    });
  }
}
