// A slider between two pictures, and a table in which two pictures can be picked for it.
element.addEventListener("input", (event) => {
  const slide = event.target.closest(".md-slide");
  if (slide) slide.style.setProperty("--md-cut", `${event.target.value}%`);
});

let picked = [];
element.addEventListener("click", (event) => {
  const button = event.target.closest(".md-pick");
  if (!button) return;
  picked = picked.filter((other) => other.isConnected);
  if (picked.includes(button)) picked = picked.filter((other) => other !== button);
  else picked = [...picked, button].slice(-2);
  for (const each of element.querySelectorAll(".md-pick"))
    each.setAttribute("aria-pressed", String(picked.includes(each)));
  const place = element.querySelector(".md-slide-place");
  place.hidden = picked.length < 2;
  if (place.hidden) return;
  const [top, bottom] = picked;
  const images = place.querySelectorAll("img");
  const labels = place.querySelectorAll(".md-slide-labels span");
  [bottom, top].forEach((button, place) => {
    images[place].src = button.querySelector("img").src;
    images[place].alt = button.dataset.label;
  });
  labels[0].textContent = top.dataset.label;
  labels[1].textContent = bottom.dataset.label;
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  const shown = [...images].map((image) => image.decode());  // before, they have no height
  Promise.allSettled(shown).then(() => place.scrollIntoView({ behavior: calm ? "auto" : "smooth", block: "nearest" }));
});
