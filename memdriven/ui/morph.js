// Scrubbing and playing pictures that are all here already. Arrow keys move the range input itself.
let playing = 0;

const show = (place) => {
  element.querySelectorAll(".md-film img").forEach((image, number) => {
    image.dataset.shown = String(number === place);
  });
  element.querySelectorAll(".md-morph-steps span").forEach((bar, number) => {
    bar.dataset.near = String(number === place || number === place - 1);
  });
};
const stop = () => {
  clearInterval(playing);
  playing = 0;
  element.querySelector(".md-play")?.setAttribute("aria-pressed", "false");
};

element.addEventListener("input", (event) => {
  if (!event.target.matches(".md-scrub input")) return;
  if (event.isTrusted) stop();
  show(Number(event.target.value));
});
element.addEventListener("click", (event) => {
  const button = event.target.closest(".md-play");
  if (!button) return;
  if (playing) { stop(); return; }
  let step = 1;
  button.setAttribute("aria-pressed", "true");
  playing = setInterval(() => {
    const slider = element.querySelector(".md-scrub input");
    if (!slider) { stop(); return; }
    let place = Number(slider.value);
    if (place + step > Number(slider.max) || place + step < 0) step = -step;
    place += step;
    slider.value = place;
    show(place);
  }, 110);
});
