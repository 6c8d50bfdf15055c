// Sends a pressed button's or slider's data, with the recipe that it stands beside, and a chosen or dropped
// file's bytes, to Python.
element.addEventListener("click", (event) => {
  const target = event.target.closest("button[data-act]");
  const recipe = target?.closest("[data-recipe]")?.dataset.recipe;
  if (target) trigger(target.dataset.event ?? "click", { ...target.dataset, recipe });
});
// Names the recipes of the pictures that are ticked, or of all, to be saved.
element.addEventListener("click", (event) => {
  const target = event.target.closest("button[data-export]");
  if (!target) return;
  const items = [...target.closest(".md-exports").querySelectorAll("[data-recipe]")];
  const ticked = items.filter((item) => item.querySelector("input:checked"));
  const recipes = (ticked.length ? ticked : items).map((item) => item.dataset.recipe);
  trigger("download", { kind: target.dataset.export, recipes });
});
element.addEventListener("change", (event) => {
  const target = event.target;
  if (target.matches("input[type=range][data-act]")) {
    trigger("click", { ...target.dataset, value: target.value });
  } else if (target.matches("input[type=file]") && target.files.length) {
    window.memdriven.send(target.files[0], trigger);
    target.value = "";
  }
});
for (const kind of ["dragover", "drop"])
  element.addEventListener(kind, (event) => {
    const input = element.querySelector("input[type=file]:not(:disabled)");
    if (!input || !event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    if (kind === "drop" && event.dataTransfer.files.length)
      window.memdriven.send(event.dataTransfer.files[0], trigger);
  });
