// What the page's address asks for: ?lesson=noise&hide=compose,tabs&mode=class. Nothing is sent.
const asked = new URLSearchParams(window.location.search);
const hidden = (asked.get("hide") || "").split(",").filter((name) => /^[a-z]{1,20}$/.test(name));
const mode = { design: "picture", paper: "paper", class: "learn" }[asked.get("mode")];
const lesson = asked.get("lesson");
for (const name of hidden) document.body.classList.add(`md-hide-${name}`);
if (mode) document.body.classList.add(`md-mode-${asked.get("mode")}`);

const soon = (find, act, tries = 200) => {
  const found = find();
  if (found) act(found);
  else if (tries) setTimeout(soon, 50, find, act, tries - 1);
};
const tab = lesson ? "learn" : mode;
if (tab)
  soon(() => document.querySelector(`button[role="tab"][data-tab-id="${tab}"]`),
       (button) => button.click());
if (lesson)
  soon(() => document.querySelector("#lesson-choice input"), () => {
    const choices = [...document.querySelectorAll("#lesson-choice input")];
    const choice = choices.find((one) => one.value === lesson);
    if (choice) choice.click();
    else document.querySelector("#lesson-gone p").hidden = false;
  });
