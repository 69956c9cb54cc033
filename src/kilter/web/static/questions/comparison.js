// Which of two is better, and with grades by how much: one key each.

import { choices } from "./choices.js";

export function comparison({ question, texts, change }) {
  const words = texts.comparison;
  const grades = words.grades[question.strength - 1];
  const left = grades.map((grade, number) => [{ choice: 0, strength: number + 1 }, question.strength > 1 ? `${words.left}: ${grade}` : words.left]).reverse();
  const right = grades.map((grade, number) => [{ choice: 1, strength: number + 1 }, question.strength > 1 ? `${words.right}: ${grade}` : words.right]);
  const middle = question.tie ? [["tie", words.tie]] : [];
  const plain = question.strength === 1;
  const order = plain ? [...left, ...right] : [...left, ...middle, ...right];
  const options = order.map(([value, text], place) => [value, text, String(place + 1)]);
  if (plain && question.tie) options.push(["tie", words.tie, "3", "both"]);
  if (question.both_bad) options.push(["both bad", words.both_bad, "0", "both"]);
  let answer = null;
  const same = (one) => JSON.stringify(one) === JSON.stringify(answer);
  const pick = (value) => {
    answer = value;
    buttons.show(same);
    change();
  };
  const buttons = choices(options, pick, { layout: plain ? "choices sides" : "choices" });
  return {
    element: buttons.element,
    quick: true,
    keys: plain ? [...buttons.keys, ["←", words.left], ["→", words.right]] : buttons.keys,
    read: () => (answer === null || typeof answer === "string" ? answer : question.strength > 1 ? answer : { choice: answer.choice }),
    set(given) {
      const value = typeof given === "object" && given !== null ? given : { choice: given };
      answer = typeof value.choice === "string" ? value.choice : { choice: value.choice, strength: value.strength ?? 1 };
      buttons.show(same);
    },
    digit(digit) {
      const value = buttons.byKey(String(digit));
      if (value === undefined) return false;
      pick(value);
      return true;
    },
    move(name) {
      if (!plain || !name.startsWith("Arrow")) return false;
      pick({ choice: name === "ArrowLeft" ? 0 : 1, strength: 1 });
      return true;
    },
  };
}
