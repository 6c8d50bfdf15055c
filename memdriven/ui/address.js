// What the page's address asks for, and what this browser tab showed before it was loaded again.
// ?lesson=noise&hide=compose,tabs&mode=class and ?r=RECIPE; the rest lies in the tab's own storage.
const address = new URLSearchParams(window.location.search);
const hidden = (address.get("hide") || "").split(",").filter((name) => /^[a-z]{1,20}$/.test(name));
const mode = { design: "picture", paper: "paper", class: "learn" }[address.get("mode")];
const lesson = address.get("lesson");
for (const name of hidden) document.body.classList.add(`md-hide-${name}`);
if (mode) document.body.classList.add(`md-mode-${address.get("mode")}`);

const soon = (find, act, tries = 400) => {
  const found = find();
  if (found) act(found);
  else if (tries) setTimeout(soon, 50, find, act, tries - 1);
};
const open = (tab) =>
  soon(() => document.querySelector(`button[role="tab"][data-tab-id="${tab}"]`), (button) => button.click());

// Each tab that is opened is a step that the browser's back button takes back.
const again = ["reload", "back_forward"].includes(performance.getEntriesByType("navigation")[0]?.type);
const tab = (again && history.state?.tab) || (lesson ? "learn" : mode || "picture");
const key = (again && history.state?.key) || `memdriven.visit.${Math.random()}`;
history.replaceState({ tab, key }, "");
window.addEventListener("popstate", (event) => open(event.state?.tab ?? "picture"));
soon(() => document.querySelector("#tabs"), (tabs) => {
  const chosen = () => tabs.querySelector("[role=tab][aria-selected=true][data-tab-id]");
  // Where the row is narrower than its tabs, the chosen one is moved to its middle; again when a tab gets its width.
  const centre = () => {
    const row = chosen()?.parentElement;
    if (row) row.scrollLeft = chosen().offsetLeft - (row.clientWidth - chosen().offsetWidth) / 2;
    edges();
  };
  // At whichever end there are more of them, the row fades.
  const edges = () => {
    const row = chosen()?.parentElement;
    if (!row) return;
    const [before, behind] = [row.scrollLeft, row.scrollWidth - row.clientWidth - row.scrollLeft];
    row.dataset.more = `${before > 2 ? "left" : ""} ${behind > 2 ? "right" : ""}`;
  };
  tabs.addEventListener("scroll", edges, true);
  const sized = new ResizeObserver(centre);
  new MutationObserver(() => {
    for (const one of tabs.querySelectorAll("[role=tab][data-tab-id]")) sized.observe(one);
    centre();
    const now = chosen()?.dataset.tabId;
    if (now && now !== history.state?.tab) history.pushState({ tab: now, key }, "");
  }).observe(tabs, { subtree: true, attributes: true, attributeFilter: ["aria-selected"] });
});

// Before the page goes, what it shows is noted: a reload, or coming back, finds it.
let noted = null;
try {
  noted = JSON.parse(sessionStorage.getItem(key));
} catch { /* it keeps nothing */ }
let values = null;
const note = () => {
  const link = document.querySelector("#result [data-link]")?.dataset.link ?? null;
  const shown = document.querySelector('#result [data-complete="true"]') !== null;
  const steered = document.querySelector("#memory .md-steered") !== null;
  try {
    if (values) sessionStorage.setItem(key, JSON.stringify({ link, steered, values, lost: shown && !link }));
  } catch { /* it keeps nothing */ }
};

// A line may be full, and an event be refused or lost: what is asked for is asked for until it has come.
const asked = noted ?? (address.get("r") ? { link: address.get("r") } : null);
let arrived = !asked;
const here = () => {
  arrived = true;
  document.body.classList.remove("md-arriving");
  if (line()?.textContent === OPENING) line().textContent = READY;
  window.addEventListener("pagehide", note);
  document.addEventListener("visibilitychange", () => { if (document.hidden) note(); });
  if (tab !== "picture") {
    open(tab);
    document.activeElement.blur();  // the words, which are not what was come for
  }
  if (lesson)
    soon(() => document.querySelector("#lesson-choice input"), () => {
      const choices = [...document.querySelectorAll("#lesson-choice input")];
      const choice = choices.find((one) => one.value === lesson);
      if (choice) choice.click();
      else document.querySelector("#lesson-gone p").hidden = false;
    });
};
Object.assign(window.memdriven ??= {}, {
  arrived: here,
  keep: (names, now) => {
    values = Object.fromEntries(names.map((name, place) => [name, now[place]]));
    window.memdriven.dim?.(); // words that the server writes are no input
  },
});
const READY = "Ready.", OPENING = "Opening your picture\u2026";
const line = () => document.querySelector("#status .md-status");
const ask = (pause = 1000) => {
  if (arrived) return;
  trigger("submit", asked);
  setTimeout(ask, pause, Math.min(1.5 * pause, 15_000));
};
// Over the page's first word alone: an answer that has come is not written over.
if (asked) {
  ask();
  soon(line, (first) => { if (!arrived && first.textContent === READY) first.textContent = OPENING; });
} else here();
