// Draws the browser's list of past pictures (pictures.js), and changes it.
const { pictures } = window.memdriven;
const one = (selector) => element.querySelector(selector);
const rows = () => [...element.querySelectorAll(".md-moment")];
const controls = () => [...element.querySelectorAll("button, input")];
let forgotten = [];

const row = ({ recipe, image, star = false }, place) => {
  const { caption, seed, variations } = JSON.parse(recipe);
  const made = one("template").content.firstElementChild.cloneNode(true);
  made.dataset.recipe = recipe;
  for (const each of made.querySelectorAll("[aria-label]")) each.ariaLabel += `: ${caption}`;
  Object.assign(made.querySelector("img"), { src: image, alt: `Generated picture for the caption: ${caption}` });
  made.querySelector(".md-history-words").textContent = caption;
  made.querySelector(".md-history-number").textContent = `No. ${place + 1}`;
  made.querySelector(".md-seed").textContent =
    `seed ${seed}${variations?.length ? `, step ${variations.length} away` : ""}`;
  const favourite = made.querySelector("[data-edit=star]");
  favourite.ariaPressed = star;
  favourite.textContent = `${star ? "\u2605" : "\u2606"} Favourite`;
  return made;
};

// What is ticked stays so, and the focus where it is, or on what has taken its place.
const draw = () => {
  const list = pictures.read();
  const ticked = rows().filter((each) => each.querySelector("input").checked).map((each) => each.dataset.recipe);
  const at = controls().indexOf(document.activeElement);
  one(".md-note").hidden = list.length > 0;
  one(".md-exports").hidden = !list.length;
  one("[data-tick]").hidden = !list.some((each) => each.star);
  one("[data-edit=undo]").hidden = !forgotten.length;
  one(".md-history").replaceChildren(...list.map(row));
  for (const each of rows()) each.querySelector("input").checked = ticked.includes(each.dataset.recipe);
  if (at >= 0) controls()[at]?.focus();
};
const edit = (act, recipe) => {
  const list = pictures.read();
  const shown = rows().map((each) => each.dataset.recipe);
  const here = new Set(list.map((each) => each.recipe));
  if (act === "star") return list.map((each) => (each.recipe === recipe ? { ...each, star: !each.star } : each));
  if (act === "forget") return list.filter((each) => each.recipe !== recipe);
  const back = forgotten.filter((each) => !here.has(each.recipe));
  forgotten = act === "clear" ? list.filter((each) => shown.includes(each.recipe)) : [];
  return act === "clear" ? list.filter((each) => !forgotten.includes(each)) : [...list, ...back];
};
element.addEventListener("click", (event) => {
  const { edit: act, tick } = event.target.closest("button")?.dataset ?? {};
  if (act) pictures.write(edit(act, event.target.closest("li")?.dataset.recipe));
  if (act === "clear") one("[data-edit=undo]").focus();
  if (tick !== undefined) for (const each of rows())
    each.querySelector("input").checked = each.querySelector("[data-edit=star]").ariaPressed === "true";
});
window.addEventListener("storage", draw);
draw();
