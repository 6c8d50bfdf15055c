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
const mark = (canvas, starred = false) => {
  const star = canvas.querySelector("[data-star]");
  Object.assign(star, { ariaPressed: starred, textContent: `${starred ? "\u2605" : "\u2606"} Favourite` });
};
const note = async () => {
  const canvas = element.querySelector(".md-canvas[data-fresh]:has(.md-result)");
  if (!canvas) return;
  delete canvas.dataset.fresh;
  mark(canvas, add(await made(canvas))[0]?.star);
};
// Gradio changes what is there into what comes.
new MutationObserver(note).observe(element, { subtree: true, attributeFilter: ["data-fresh"], childList: true });
element.addEventListener("click", async (event) => {
  const star = event.target.closest("[data-star]");
  if (!star) return;
  const canvas = star.closest(".md-canvas");
  mark(canvas, add({ ...(await made(canvas)), star: star.ariaPressed !== "true" })[0]?.star);
});
