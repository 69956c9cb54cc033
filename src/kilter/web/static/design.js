// The form of an experiment on help: asks the server what comes of it, and gives the file. Nothing is run from here.

import { fill, make } from "./dom.js";
import { Server } from "./server.js";

const QUIET_MS = 350; // without a change, before the server is asked
const AGAIN_MS = 1000;
const LONGEST_MS = 10_000;

const page = JSON.parse(document.getElementById("page").textContent);
const words = page.texts;
const form = document.getElementById("design");
const at = (id) => document.getElementById(id);

class Designer {
  #asked = 0; // only the last answer counts
  #timer = 0;
  #address = null;

  constructor() {
    this.server = new Server(page);
    form.addEventListener("input", () => this.#change());
    form.addEventListener("submit", (event) => event.preventDefault());
    at("copy").addEventListener("click", () => this.#copy());
    this.#change(0);
  }

  #change(quiet = QUIET_MS) {
    this.#fit();
    this.#ask(quiet, AGAIN_MS);
  }

  /** Show the parts that belong to what is chosen; the others are not sent. */
  #fit() {
    for (const part of form.querySelectorAll("[data-when]")) {
      const [name, values] = part.dataset.when.split("=");
      const chosen = [...form.elements].filter((one) => one.name === name && !one.disabled && (one.type !== "checkbox" || one.checked));
      part.hidden = part.disabled = !chosen.some((one) => values.split(" ").includes(one.value));
    }
  }

  #ask(wait, pause) {
    clearTimeout(this.#timer);
    const asked = ++this.#asked;
    this.#timer = setTimeout(async () => {
      const told = await this.server.post("/design", read()).catch(() => null);
      if (asked !== this.#asked) return;
      if (told?.status === 200) this.#show(told.body);
      else this.#say("failed", told?.body?.error ?? (told ? words.failed : words.no_connection));
      const waits = !told || told.status === 429 || told.body?.state === "computing";
      if (waits) this.#ask(pause, Math.min(LONGEST_MS, 1.5 * pause));
    }, wait);
  }

  #show(design) {
    for (const element of form.querySelectorAll(".problem")) {
      const said = element.closest(":disabled") ? undefined : design.problems[element.dataset.of];
      element.hidden = said === undefined;
      element.textContent = said ?? "";
      const input = at(element.id.replace(/-problem$/, ""));
      if (input) said === undefined ? input.removeAttribute("aria-invalid") : input.setAttribute("aria-invalid", "true");
    }
    this.#say(design.state, design.said);
    at("figures").replaceChildren(...design.figures.map((one) => make("div", {}, make("dt", {}, one.name), make("dd", {}, one.value, one.note ? make("span", { class: "note" }, one.note) : null))));
    this.#give(design.name, design.file);
  }

  #say(state, text) {
    const said = at("said");
    said.dataset.state = state;
    if (said.textContent !== text) said.textContent = text; // or it would be read out again
  }

  #give(name, text) {
    at("given").hidden = text === null;
    if (text === null || text === at("file").textContent) return;
    at("file").textContent = text;
    at("command").textContent = `kilter oversee run ${name}.yaml`;
    at("copied").textContent = "";
    if (this.#address) URL.revokeObjectURL(this.#address);
    this.#address = URL.createObjectURL(new Blob([text], { type: "application/yaml" }));
    Object.assign(at("download"), { href: this.#address, download: `${name}.yaml`, textContent: fill(words.download, { file: `${name}.yaml` }) });
  }

  async #copy() {
    try {
      await navigator.clipboard.writeText(at("file").textContent);
      at("copied").textContent = words.copied;
    } catch { // by http from elsewhere, browsers give no clipboard
      at("file").focus();
      getSelection().selectAllChildren(at("file"));
      at("copied").textContent = words.not_copied;
    }
  }
}

/** The fields as they were typed, without those of parts that are not shown, and the arms. */
function read() {
  const fields = {};
  const arms = [];
  for (const [name, value] of new FormData(form)) name === "arms" ? arms.push(value) : (fields[name] = value);
  return { fields, arms };
}

new Designer();
