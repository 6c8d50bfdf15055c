// One spot shown on all linked figures, with each one's value there. Nothing asks the server.
const all = () => [...element.querySelectorAll(".md-linked")];
let spot = null;

const show = () => {
  for (const figure of all()) {
    const cross = figure.querySelector(".md-spot");
    const output = figure.querySelector(".md-value");
    cross.style.display = spot ? "block" : "none";
    if (!spot) { output.textContent = ""; continue; }
    const side = Number(figure.dataset.side);
    figure.levels ||= Uint8Array.from(atob(figure.dataset.levels), (c) => c.charCodeAt(0));
    const at = (fraction) => Math.min(side - 1, Math.floor(fraction * side));
    const level = figure.levels[at(spot.y) * side + at(spot.x)] / 255;
    cross.style.left = `${spot.x * 100}%`;
    cross.style.top = `${spot.y * 100}%`;
    output.textContent = (level * Number(figure.dataset.largest)).toPrecision(2);
  }
};

element.addEventListener("pointermove", (event) => {
  const frame = event.target.closest(".md-linked-frame");
  if (!frame) return;
  const box = frame.getBoundingClientRect();
  const inside = (value) => Math.min(0.999, Math.max(0, value));
  spot = { x: inside((event.clientX - box.left) / box.width),
           y: inside((event.clientY - box.top) / box.height) };
  show();
});
element.addEventListener("pointerout", (event) => {
  if (event.relatedTarget?.closest?.(".md-linked-frame")) return;
  spot = null;
  show();
});
element.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  if (!event.target.closest(".md-linked") || !step[event.key]) return;
  event.preventDefault();
  const inside = (value) => Math.min(0.999, Math.max(0, value));
  spot ||= { x: 0.5, y: 0.5 };
  spot = { x: inside(spot.x + step[event.key][0] / 32),
           y: inside(spot.y + step[event.key][1] / 32) };
  show();
});
element.addEventListener("input", (event) => {
  if (event.target.matches(".md-wash-strength"))
    element.style.setProperty("--md-wash", event.target.value / 100);
});
