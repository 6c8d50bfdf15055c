// Whether the page opens with what its picture of itself shows; else nothing is shown before what was asked for.
const still = document.currentScript.parentElement;
const from = performance.getEntriesByType("navigation")[0]?.type;
let noted = null;
try {
  noted = ["reload", "back_forward"].includes(from) && sessionStorage.getItem(history.state?.key);
} catch { /* it keeps nothing */ }
still.classList.toggle("dark", matchMedia("(prefers-color-scheme: dark)").matches);
if (location.search || noted) still.remove(); else still.hidden = false;
if (noted || new URLSearchParams(location.search).has("r")) {
  document.body.classList.add("md-arriving");
  setTimeout(() => document.body.classList.remove("md-arriving"), 15000);
}

// Gradio's "Loading..." counts its seconds at every frame, for ever, also when it is gone: a page at rest would be
// drawn sixty times a second. Nobody sees them here.
const nextFrame = window.requestAnimationFrame.bind(window);
window.requestAnimationFrame = (draw) => (/performance\.now\(\).*\/ ?1e3/.test(draw) ? 0 : nextFrame(draw));
