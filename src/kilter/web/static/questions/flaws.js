// Flaws marked in the responses: by selecting text with the mouse, or word by word with the arrow keys.

import { fill, make } from "../dom.js";
import { codePoints, units } from "../spans.js";

/** UTF-16 places of the beginnings and ends of words in a text. */
function wordsOf(text) {
  return [...text.matchAll(/\S+/gu)].map((found) => [found.index, found.index + found[0].length]);
}

export function flaws({ question, item, record, texts, change }) {
  const words = texts.flaws;
  const nodes = record.responses.map((element) => element.firstChild ?? element.appendChild(document.createTextNode("")));
  let marked = [];
  let none = false;
  let selected = null; // {place, start, end} in UTF-16 units
  let cursor = null; // {place, first, last} in words

  const list = make("div", {});
  const editor = make("div", {});
  const noFlaws = make("button", { type: "button", role: "checkbox", "aria-checked": "false", on: { click: () => setNone(!none) } }, words.no_flaws, make("kbd", {}, "N"));
  const element = make("div", {}, make("p", { class: "hint" }, words.mark), list, editor, noFlaws);

  const range = ({ place, start, end }) => new StaticRange({ startContainer: nodes[place], startOffset: start, endContainer: nodes[place], endOffset: end });
  const quote = ({ place, start, end }) => nodes[place].data.slice(start, end);

  function paint() {
    for (const name of ["minor", "major", "critical"]) {
      const grade = ["minor", "major", "critical"].indexOf(name);
      const of = (one) => Math.min(2, Math.floor((question.severities.indexOf(one.severity) * 3) / question.severities.length));
      CSS.highlights?.set(`flaw-${name}`, new Highlight(...marked.filter((one) => of(one) === grade).map(range)));
    }
    CSS.highlights?.set("flaw-cursor", new Highlight(...(selected ? [range(selected)] : [])));
    list.replaceChildren(...marked.map((one, number) =>
      make("div", { class: "flaw" }, make("blockquote", { dir: "auto" }, quote(one)),
        make("span", { class: "hint" }, [one.type, one.severity, one.note].filter(Boolean).join(" · ")), " ",
        make("button", { type: "button", class: "quiet", "aria-label": `${words.remove}: ${quote(one)}`, on: { click: () => remove(number) } }, words.remove))));
    if (!marked.length) list.replaceChildren(make("p", { class: "hint" }, none ? words.confirm_none : words.none));
    noFlaws.setAttribute("aria-checked", String(none));
    noFlaws.hidden = marked.length > 0;
  }

  function edit() {
    if (!selected) return editor.replaceChildren();
    const type = make("select", { "aria-label": words.type }, ...question.types.map((one) => make("option", {}, one)));
    const severity = make("select", { "aria-label": words.severity }, ...question.severities.map((one) => make("option", {}, one)));
    const note = make("textarea", { rows: 2, maxlength: 2000, "aria-label": words.note, placeholder: words.note });
    const add = () => {
      if (question.notes === "required" && !note.value.trim()) return note.focus();
      marked.push({ ...selected, type: type.value, severity: severity.value, note: question.notes === "none" ? "" : note.value.trim() });
      none = false;
      getSelection().removeAllRanges();
      stop();
      change();
    };
    const box = make("div", { class: "flaw" }, make("p", { class: "hint" }, fill(words.selected, { text: quote(selected) })), type, severity,
      question.notes === "none" ? null : note, make("div", { class: "actions" },
        make("button", { type: "button", class: "quiet", on: { click: stop } }, texts.judge.cancel),
        make("button", { type: "button", class: "main", on: { click: add } }, words.add)));
    box.addEventListener("keydown", (event) => {
      if (event.key === "Escape") stop();
      else if (event.key === "Enter" && !event.shiftKey && event.target.tagName !== "BUTTON") add();
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    editor.replaceChildren(box);
  }

  function stop() {
    selected = cursor = null;
    paint();
    edit();
  }

  function remove(number) {
    marked.splice(number, 1);
    paint();
    change();
  }

  function setNone(value) {
    none = value;
    paint();
    change();
  }

  function fromMouse(event) {
    const selection = getSelection();
    if (element.contains(event.target)) return; // a press on the form ends on no text
    if (!selection || selection.isCollapsed || selection.rangeCount === 0) return;
    const found = selection.getRangeAt(0);
    const place = nodes.indexOf(found.startContainer);
    if (place < 0 || found.endContainer !== found.startContainer) return;
    selected = { place, start: found.startOffset, end: found.endOffset };
    cursor = null;
    paint();
    edit();
  }

  function fromCursor() {
    const all = wordsOf(nodes[cursor.place].data);
    const [low, high] = [Math.min(cursor.first, cursor.last), Math.max(cursor.first, cursor.last)];
    selected = { place: cursor.place, start: all[low][0], end: all[high][1] };
    paint();
    edit();
  }

  function step(by, extend) {
    const all = wordsOf(nodes[cursor.place].data);
    let last = cursor.last + by;
    if (!extend && (last < 0 || last >= all.length)) {
      const place = cursor.place + by;
      if (!nodes[place]) return;
      last = by > 0 ? 0 : wordsOf(nodes[place].data).length - 1;
      cursor = { place, first: last, last };
    } else {
      last = Math.min(all.length - 1, Math.max(0, last));
      cursor = { ...cursor, last, first: extend ? cursor.first : last };
    }
    fromCursor();
  }

  function take(given, isNone) {
    marked = given.map((one) => ({ ...one, start: units(nodes[one.place].data, one.start), end: units(nodes[one.place].data, one.end) }));
    none = isNone;
    paint();
  }

  document.addEventListener("mouseup", fromMouse);
  document.addEventListener("touchend", fromMouse);
  paint();
  return {
    element,
    read() {
      if (!marked.length && !none) return null;
      return marked.map(({ place, start, end, type, severity, note }) => {
        const text = nodes[place].data;
        return { place, start: codePoints(text, start), end: codePoints(text, end), type, severity, note };
      });
    },
    missing: () => !marked.length && !none,
    set(given) {
      take(given, given.length === 0);
    },
    /** Other marks in place of these, put by the page for the rater; `none`: the rater has said that there are none. */
    put(given, isNone) {
      take(given, isNone);
      change();
    },
    keys: [["M", words.key_mark], ["← →", words.key_move], ["Shift ← →", words.key_extend], ["Enter", words.key_note], ["N", words.no_flaws]],
    digit: () => false,
    move(name) {
      if (name === "n") setNone(!none && !marked.length);
      else if (name === "m") {
        cursor = { place: 0, first: 0, last: 0 };
        if (wordsOf(nodes[0].data).length) fromCursor();
        document.activeElement?.blur();
      } else if (cursor && name.includes("Arrow")) step(name.endsWith("Right") ? 1 : -1, name.startsWith("Shift"));
      else return false;
      return true;
    },
    enter() {
      if (!cursor) return false;
      editor.querySelector("select")?.focus();
      return true;
    },
    leave() {
      document.removeEventListener("mouseup", fromMouse);
      document.removeEventListener("touchend", fromMouse);
      for (const name of ["flaw-minor", "flaw-major", "flaw-critical", "flaw-cursor"]) CSS.highlights?.delete(name);
    },
  };
}
