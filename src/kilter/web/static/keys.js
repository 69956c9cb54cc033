// Keys: every one is registered with what it does, so that none is taken twice and the key sheet is complete.

export class Keys {
  #bindings = new Map();

  /**
   * Let `key` (as KeyboardEvent.key, lower case; "Ctrl+s") do something; a key that is taken is a fault in the page.
   * A label of null leaves it to others to say on the key sheet what it does.
   */
  bind(key, label, run) {
    if (this.#bindings.has(key)) throw new Error(`The key ${key} is bound twice: ${label}, ${this.#bindings.get(key).label}`);
    this.#bindings.set(key, { label, run });
  }

  /** Free the keys of a former item. */
  release(keys) {
    for (const key of keys) this.#bindings.delete(key);
  }

  /** Key and meaning of each, for the key sheet. */
  list() {
    return [...this.#bindings].map(([key, { label }]) => [key, label]).filter(([, label]) => label !== null);
  }

  listen(target = document) {
    target.addEventListener("keydown", (event) => {
      if (event.isComposing || document.querySelector("dialog[open]")) return;
      const name = keyName(event);
      const typing = event.target.closest?.("textarea, input:not([type=radio], [type=checkbox]), select");
      if (typing && !name.startsWith("Ctrl+") && name !== "Escape") return;
      const bound = this.#bindings.get(name);
      if (!bound) return;
      const onButton = event.target.closest?.("button, a");
      if (onButton && (name === "Enter" || name === " ")) return; // the button does what it says
      event.preventDefault();
      if (!event.repeat) bound.run(event);
    });
  }
}

const PRINTED = { ArrowUp: "↑", ArrowDown: "↓", ArrowLeft: "←", ArrowRight: "→", Escape: "Esc" };

/** A key as keyboards have it printed on. */
export const printed = (name) => name.split("+").map((part) => PRINTED[part] ?? (part.length === 1 ? part.toUpperCase() : part)).join("+");

function keyName(event) {
  if (event.altKey) return "";
  const plain = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (event.ctrlKey || event.metaKey) return `Ctrl+${plain}`;
  return event.shiftKey && event.key.length > 1 ? `Shift+${plain}` : plain;
}
