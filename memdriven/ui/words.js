// The caption box: words of the model's vocabulary that begin like the one being typed, and lists of captions.
const caption = () => document.querySelector("#caption textarea");

// ------------------------------------------------------------------------------------------ completion
// A line of buttons after the box, and so the next stop of the Tab key. It takes no key of the box itself.
const MOST = 6;
const offers = document.createElement("div");
Object.assign(offers, { id: "completion", hidden: true });
offers.setAttribute("role", "group");
offers.setAttribute("aria-label", "Words that begin like this");
const begun = () => {
  const box = caption();
  const before = box.value.slice(0, box.selectionStart);
  const inside = /^\p{L}/u.test(box.value.slice(box.selectionStart));
  return inside ? "" : /\p{L}{2,}$/u.exec(before)?.[0] ?? "";
};
const offer = () => {
  const start = begun().toLowerCase();
  const known = [...document.querySelectorAll("#vocabulary [data-word]")].map((one) => one.dataset.word);
  const found = start ? known.filter((word) => word.startsWith(start) && word !== start).slice(0, MOST) : [];
  offers.replaceChildren(...found.map((word) => {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", className: "md-word", textContent: word });
    return button;
  }));
  offers.hidden = !found.length;
  if (found.length) document.querySelector("#caption").append(offers);
};
const hide = () => { offers.hidden = true; };
offers.addEventListener("pointerdown", (event) => event.preventDefault());
offers.addEventListener("click", (event) => {
  const word = event.target.closest("button")?.textContent;
  if (!word) return;
  const box = caption();
  const end = box.selectionStart;
  const rest = box.value.slice(end).replace(/^ /, "");
  const words = `${box.value.slice(0, end - begun().length)}${word} `;
  window.memdriven.write(words + rest, words.length);
  hide();
  box.focus();
});
document.addEventListener("input", (event) => {
  if (event.target === caption() && event.isTrusted) offer();
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || offers.hidden) return;
  hide();
  caption().focus();
});
document.addEventListener("focusin", (event) => {
  if (event.target !== caption() && !offers.contains(event.target)) hide();
});

// ------------------------------------------------------------------------------------------- the list
// Each line is written into the box and painted as if by hand, so that all settings and Stop hold for it.
const LONGEST = 50;
let running = false;
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const busy = () => document.querySelector('#status [data-busy="true"], #place p') !== null;
const kept = (words) => window.memdriven.pictures.read().some((one) => JSON.parse(one.recipe).caption === words);
const paint = async (words) => {
  const shown = () => document.querySelector('#result .md-result[data-complete="true"]');
  const wrong = () => document.querySelector("#status .md-error");
  const before = [shown(), wrong()];
  window.memdriven.write(words);
  await pause(100);
  for (let idle = 0; running && idle < 100; idle += busy() ? -idle : 1) {
    // Nothing is heard of a press that the full line refused.
    if (idle % 40 === 0 && !busy()) document.querySelector("#generate").click();
    await pause(100);
    if (wrong() && wrong() !== before[1]) return false;
    if (!shown() || shown() === before[0]) continue;
    for (let tries = 0; tries < 30 && !kept(words); tries++) await pause(100);
    return true;
  }
  return false;
};
const paintAll = async () => {
  const lines = document.querySelector("#batch textarea").value.split("\n").map((line) => line.trim());
  const captions = lines.filter(Boolean).slice(0, LONGEST);
  const told = document.querySelector("#batch [role=status]");
  const missed = [];
  running = true;
  let done = 0;
  for (const words of captions) {
    told.textContent = `Painting ${done + missed.length + 1} of ${captions.length}: ${words}`;
    if (await paint(words)) done += 1;
    else if (running) missed.push(words);
    else break;
  }
  running = false;
  told.textContent = `Painted ${done} of ${captions.length}; they are in the History.`
    + (missed.length ? ` Not understood: ${missed.join("; ")}.` : "");
};
document.addEventListener("click", (event) => {
  if (event.target.closest("#batch-run") && !running) paintAll();
  else if (event.target.closest("#stop")) running = false;
});
