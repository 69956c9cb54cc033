// How long somebody is really at it: the page is visible and something was done within the last half minute.

const IDLE_MS = 30_000;

export class ActiveTime {
  #total = 0;
  #since = null;
  #last = performance.now();

  constructor() {
    for (const event of ["keydown", "pointerdown", "pointermove", "scroll", "wheel"]) {
      addEventListener(event, () => this.#touch(), { passive: true, capture: true });
    }
    document.addEventListener("visibilitychange", () => (document.hidden ? this.#stop() : this.#touch()));
    this.#touch();
  }

  /** Active milliseconds so far. */
  read() {
    this.#settle();
    return Math.round(this.#total);
  }

  #touch() {
    this.#settle();
    this.#last = performance.now();
    if (!document.hidden) this.#since ??= this.#last;
  }

  #stop() {
    this.#settle();
    this.#since = null;
  }

  #settle() {
    if (this.#since === null) return;
    const now = performance.now();
    const until = Math.min(now, this.#last + IDLE_MS);
    this.#total += Math.max(0, until - this.#since);
    this.#since = until < now ? null : now;
  }
}
