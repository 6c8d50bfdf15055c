// Asks for the place in line where a press has not been heard of after 0.4 s. The browser runs what listens
// to one press one after the other, so that what must run beside the painting needs a listener of its own.
document.addEventListener("click", (event) => {
  const presses =
    "#generate, #make-grid, #make-near, .md-run, [data-times], [data-export], [data-act]";
  if (!event.target.closest(presses)) return;
  const line = document.querySelector("#status .html-container");
  const before = line.innerHTML;
  setTimeout(() => {
    if (line.innerHTML === before && !line.querySelector('[data-busy="true"]')) trigger("submit");
  }, 400);
});
