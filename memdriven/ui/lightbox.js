// Any picture of the page, large: in one dialog of the browser's own, with the pictures beside it.
const dialog = document.createElement("dialog");
dialog.id = "lightbox";
dialog.setAttribute("aria-labelledby", "lightbox-words");
dialog.innerHTML = `<figure><img alt="The picture, large"><figcaption id="lightbox-words"></figcaption></figure>
  <div class="md-lightbox-tools">
    <button type="button" data-step="-1" aria-label="The picture before">\u2190</button>
    <span class="md-lightbox-place" aria-live="polite"></span>
    <button type="button" data-step="1" aria-label="The next picture">\u2192</button>
    <button type="button" data-copy-picture>Copy picture</button>
    <a class="md-action" download>Download</a>
    <button type="button" data-close>Close</button>
  </div>`;
document.body.append(dialog);
const [large, words, place, save] = ["img", "figcaption", ".md-lightbox-place", "a"].map((one) => dialog.querySelector(one));

// Pictures that say what they show; maps that lie over others do not.
const pictures = () => [...document.querySelectorAll('#page img[alt]:not([alt=""])')].filter(
  (one) => one.offsetParent && one.currentSrc && !one.closest(".md-slide, [hidden]"));
let shown = null;
const show = (picture) => {
  shown = picture;
  const all = pictures();
  Object.assign(large, { src: picture.currentSrc, alt: picture.alt });
  words.textContent = picture.alt;
  place.textContent = `${all.indexOf(picture) + 1} of ${all.length}`;
  const kind = /^data:image\/(\w+)/.exec(picture.currentSrc)?.[1] ?? "png";
  const result = document.querySelector("#result a[download]");
  save.href = picture.currentSrc;
  save.download = picture.matches(".md-result") && result ? result.download : `memdriven-picture.${kind}`;
  if (!dialog.open) dialog.showModal();
};
const step = (by) => {
  const all = pictures();
  if (all.length) show(all[(all.indexOf(shown) + by + all.length) % all.length]);
};
dialog.addEventListener("keydown", (event) => {
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!by) return;
  event.preventDefault();
  step(by);
});
dialog.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button?.dataset.step) step(Number(button.dataset.step));
  else if (button?.matches("[data-copy-picture]")) copy(large, button);
  else if (button || event.target === dialog) dialog.close();
});

// The clipboard takes a PNG; where there is none (plain http, or refused) the download is named instead.
const png = (picture) => new Promise((made) => {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width: picture.naturalWidth, height: picture.naturalHeight });
  canvas.getContext("2d").drawImage(picture, 0, 0);
  canvas.toBlob(made, "image/png");
});
const copy = async (picture, button) => {
  try {
    await navigator.clipboard.write([new ClipboardItem({ "image/png": png(picture) })]);
    window.memdriven.answer(button, "Copied");
  } catch {
    window.memdriven.answer(button, "Not allowed here: download it");
  }
};

// A click on a picture opens it; where the click means something else, a button in its corner does.
const corner = document.createElement("button");
Object.assign(corner, { type: "button", id: "enlarge", textContent: "\u2922", title: "Enlarge", tabIndex: -1 });
document.body.append(corner);
let under = null;
corner.addEventListener("click", () => show(under));
document.addEventListener("pointerover", (event) => {
  if (event.target === corner) return;
  const picture = event.target.closest("button, label")?.querySelector("img") ?? null;
  under = picture && pictures().includes(picture) ? picture : null;
  corner.classList.toggle("md-shown", under !== null);
  if (!under) return;
  const box = under.getBoundingClientRect();
  corner.style.translate = `${box.right + scrollX - 30}px ${box.top + scrollY + 4}px`;
});
document.addEventListener("click", (event) => {
  const target = event.target;
  const result = () => document.querySelector("#result .md-result");
  if (target.closest("[data-large]")) show(result());
  else if (target.closest("#result [data-copy-picture]")) copy(result(), target);
  else if (target.closest("[data-times]")) trigger("submit", { times: target.dataset.times });
  else if (target.matches("#page img") && !target.closest("button, label, a, .md-scrub") && pictures().includes(target))
    show(target);
});

// A picture is sent once: its download takes the address of what is shown.
document.addEventListener("click", (event) => {
  const link = event.target.closest(".md-canvas a[download]");
  if (link) link.href = link.closest(".md-canvas").querySelector(".md-result").src;
}, true);
