// Asks whether figures are there that this page lacks. A page without any is loaded anew; one with older figures, which
// somebody may be reading, gets a link instead.

const FIRST_MS = 1000;
const LONGEST_MS = 10_000;

const { ask, stamp } = JSON.parse(document.getElementById("waiting").textContent);

async function look(pause) {
  try {
    const response = await fetch(ask);
    if (response.ok && (await response.json()).stamp !== stamp) {
      const newer = document.getElementById("newer");
      if (!newer) return location.reload();
      newer.hidden = false;
      return;
    }
  } catch {
    // no connection: look again later
  }
  setTimeout(() => look(Math.min(LONGEST_MS, 1.5 * pause)), pause);
}

setTimeout(() => look(FIRST_MS), FIRST_MS);
