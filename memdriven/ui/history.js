// Names the recipes of the pictures that are ticked, or of all, to be saved; and ticks the favourites.
element.addEventListener("click", (event) => {
  const { tick, export: kind } = event.target.closest("button")?.dataset ?? {};
  const items = [...element.querySelectorAll("[data-recipe]")];
  const ticked = items.filter((item) => item.querySelector("input:checked"));
  if (tick) for (const item of items) item.querySelector("input").checked = item.querySelector("[data-star]") !== null;
  else if (kind) trigger("submit", { kind, recipes: (ticked.length ? ticked : items).map((item) => item.dataset.recipe) });
});
