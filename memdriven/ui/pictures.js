// The list of past pictures. It lies in the browser alone, under one key that all tabs of it share: what
// another tab has added since this one last looked is kept, and what is forgotten here can be brought back.
const KEY = "memdriven.pictures.1";
const LEFT = { true: 100, false: 50 };  // favourites, and others
const SIDE = 96;
const limited = (list) => {
  const left = { ...LEFT };
  return list.filter((one) => left[Boolean(one.star)]-- > 0);
};
const fewer = (list) => {
  const others = list.filter((one) => !one.star).slice(-5);
  return list.filter((one) => !others.includes(one));
};
const complain = (why) => {
  const line = document.querySelector("#storage") ?? document.createElement("p");
  Object.assign(line, { id: "storage", className: "md-hint", textContent: why });
  line.setAttribute("role", "alert");
  document.querySelector("#status")?.after(line);
};
const parsed = (text) => {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
};
const read = () => {
  let text = null;
  try {
    text = localStorage.getItem(KEY);
  } catch { /* it keeps nothing */ }
  return [parsed(text) ?? []].flat().filter((one) => typeof parsed(one?.recipe)?.caption === "string");
};
const write = (list) => {
  for (let kept = limited(list); ; kept = fewer(kept)) {
    try {
      localStorage.setItem(KEY, JSON.stringify(kept));
    } catch (error) {
      if (error.name === "QuotaExceededError" && fewer(kept).length < kept.length) continue;
      complain("This browser does not let the page keep your pictures: save those you want.");
    }
    window.dispatchEvent(new Event("storage"));  // of which the browser tells its other tabs
    return kept;
  }
};
const add = (made) => {
  const same = read().find((one) => one.recipe === made.recipe);
  return write([{ ...same, ...made }, ...read().filter((one) => one.recipe !== made.recipe)]);
};
Object.assign(window.memdriven ??= {}, { pictures: { read, write, add } });

// A finished picture on screen is listed, small; not one that was there when the page was loaded before.
const made = async (canvas) => {
  const small = document.createElement("canvas");
  small.width = small.height = SIDE;
  const picture = canvas.querySelector(".md-result");
  await picture.decode();
  small.getContext("2d").drawImage(picture, 0, 0, SIDE, SIDE);
  return { recipe: canvas.dataset.recipe, image: small.toDataURL("image/jpeg", 0.9) };
};
// The stars beside pictures on screen say what the list says, whichever tab or page has changed it.
const mark = () => {
  const stars = [...element.querySelectorAll(".md-canvas [data-star]")];
  const loved = new Set(stars.length ? read().filter((one) => one.star).map((one) => one.recipe) : []);
  for (const star of stars) {
    const starred = loved.has(star.closest(".md-canvas").dataset.recipe);
    if (star.ariaPressed !== String(starred))
      Object.assign(star, { ariaPressed: starred, textContent: `${starred ? "\u2605" : "\u2606"} Favourite` });
  }
};
const note = async () => {
  mark();
  const canvas = element.querySelector(".md-canvas[data-fresh]:has(.md-result)");
  if (!canvas) return;
  delete canvas.dataset.fresh;
  add(await made(canvas));
};
window.addEventListener("storage", mark);
// Gradio changes what is there into what comes.
const CHANGED = ["data-fresh", "data-recipe", "aria-pressed"];
new MutationObserver(note).observe(element, { subtree: true, attributeFilter: CHANGED, childList: true });
element.addEventListener("click", async (event) => {
  const star = event.target.closest("[data-star]");
  if (star) add({ ...(await made(star.closest(".md-canvas"))), star: star.ariaPressed !== "true" });
});
mark();
