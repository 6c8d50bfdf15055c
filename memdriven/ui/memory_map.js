// The memory's pictures as points on a canvas: hover, search, zoom and pan without the server.
let data = null;
let view = { x: 0, y: 0, zoom: 1 };
let current = -1;
let waiting = false;
const css = (name) => getComputedStyle(element).getPropertyValue(name).trim();
const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const root = () => element.querySelector(".md-map");
const canvas = () => element.querySelector("canvas");

const load = () => {
  const holder = root();
  if (!holder) { data = null; return; }
  if (data?.holder === holder) return;
  data = JSON.parse(holder.dataset.map);
  data.holder = holder;
  data.points = new Int16Array(bytes(data.points).buffer);
  const colours = bytes(data.colours);
  data.colours = data.ids.map((_, i) => `rgb(${colours.slice(3 * i, 3 * i + 3).join(",")})`);
  data.place = new Map(data.ids.map((id, place) => [id, place]));
  data.words = data.captions.map((caption) => caption.toLowerCase());
  data.kept = null;
  element.querySelector(".md-map-card i").style.backgroundImage = `url("${data.atlas}")`;
  view = { x: 0, y: 0, zoom: 1 };
  current = -1;
  new ResizeObserver(() => pointAt(current)).observe(canvas());
};

// The shorter side of the canvas is 2 / 0.94 units of the map at zoom 1.
const scale = () => 0.47 * Math.min(canvas().clientWidth, canvas().clientHeight) * view.zoom;
const onScreen = (x, y) => [canvas().clientWidth / 2 + (x - view.x) * scale(),
                            canvas().clientHeight / 2 + (y - view.y) * scale()];
const point = (place) => onScreen(data.points[2 * place] / 32000, data.points[2 * place + 1] / 32000);

const query = () => {
  const holder = document.querySelector("#map-query [data-query]");
  return holder ? JSON.parse(holder.dataset.query) : null;
};

const circle = (pen, place, radius) => {
  pen.beginPath();
  pen.arc(...point(place), radius, 0, 7);
};

const paint = () => {
  waiting = false;
  load();
  const sheet = canvas();
  if (!data || !sheet?.clientWidth) return;
  const dense = window.devicePixelRatio || 1;
  if (sheet.width !== Math.round(sheet.clientWidth * dense)) {
    sheet.width = Math.round(sheet.clientWidth * dense);
    sheet.height = Math.round(sheet.clientHeight * dense);
  }
  const pen = sheet.getContext("2d");
  pen.setTransform(dense, 0, 0, dense, 0, 0);
  pen.clearRect(0, 0, sheet.clientWidth, sheet.clientHeight);
  const radius = Math.min(8, 2.6 * Math.sqrt(view.zoom));
  for (let place = 0; place < data.ids.length; place++) {
    pen.fillStyle = data.colours[place];
    pen.globalAlpha = !data.kept || data.kept.has(place) ? 0.9 : 0.1;
    circle(pen, place, radius);
    pen.fill();
  }
  pen.globalAlpha = 1;
  const asked = query();
  if (asked) star(pen, asked, radius);
  if (current >= 0) {
    pen.strokeStyle = css("--md-ink");
    pen.lineWidth = 2;
    circle(pen, current, radius + 4);
    pen.stroke();
  }
};
const draw = () => {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(paint);
};

const star = (pen, asked, radius) => {
  const [x, y] = onScreen(...asked.at);
  pen.strokeStyle = pen.fillStyle = css("--md-memory");
  pen.lineWidth = 1.5;
  for (const id of asked.ids) {
    const place = data.place.get(id);
    if (place === undefined) continue;
    pen.beginPath();
    pen.moveTo(x, y);
    pen.lineTo(...point(place));
    pen.stroke();
    circle(pen, place, radius + 3);
    pen.stroke();
  }
  pen.fillStyle = css("--md-text");
  pen.strokeStyle = css("--md-paper");
  pen.beginPath();
  for (let spike = 0; spike < 10; spike++) {
    const reach = spike % 2 ? 5 : 12;
    const turn = (spike * Math.PI) / 5 - Math.PI / 2;
    pen.lineTo(x + reach * Math.cos(turn), y + reach * Math.sin(turn));
  }
  pen.closePath();
  pen.fill();
  pen.stroke();
};

// Those that the search leaves.
const places = () => [...data.ids.keys()].filter((place) => !data.kept || data.kept.has(place));
const nearest = (x, y, reach) => {
  let best = -1;
  let least = reach;
  for (const place of places()) {
    const [px, py] = point(place);
    const gap = Math.hypot(px - x, py - y);
    if (gap < least) [best, least] = [place, gap];
  }
  return best;
};

const pointAt = (place) => {
  current = place;
  canvas().dataset.item = place < 0 ? "" : data.ids[place];
  const card = element.querySelector(".md-map-card");
  card.hidden = place < 0;
  draw();
  if (place < 0) return;
  const side = 96;
  const image = card.querySelector("i");
  image.style.backgroundSize = `${data.columns * side}px`;
  image.style.backgroundPosition =
    `${-(place % data.columns) * side}px ${-Math.floor(place / data.columns) * side}px`;
  card.querySelector("span").textContent = data.captions[place];
  const [x, y] = point(place);
  const width = canvas().clientWidth;
  card.style.left = `${Math.max(0, Math.min(width - 248, x + 14))}px`;
  card.style.top = `${y + 124 > canvas().clientHeight ? y - 124 : y + 14}px`;
};

const spot = (event) => {
  const box = canvas().getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
};
let drag = null;
element.addEventListener("pointerdown", (event) => {
  if (!data || event.target !== canvas()) return;
  drag = { at: spot(event), view: { ...view }, far: false };
});
element.addEventListener("pointermove", (event) => {
  if (!data || event.target !== canvas()) return;
  const [x, y] = spot(event);
  if (drag && event.buttons) {
    const [dx, dy] = [x - drag.at[0], y - drag.at[1]];
    drag.far ||= Math.hypot(dx, dy) > 5;
    if (drag.far) {
      view.x = drag.view.x - dx / scale();
      view.y = drag.view.y - dy / scale();
      pointAt(-1);
      return;
    }
  }
  const found = nearest(x, y, 18);
  if (found !== current) pointAt(found);
});
element.addEventListener("pointerout", (event) => {
  if (data && event.target === canvas()) pointAt(-1);
});
element.addEventListener("click", (event) => {
  const zoom = event.target.closest("[data-zoom]");
  if (zoom) {
    const way = zoom.dataset.zoom;
    if (way === "all") view = { x: 0, y: 0, zoom: 1 };
    else magnify(way === "in" ? 1.5 : 1 / 1.5, canvas().clientWidth / 2, canvas().clientHeight / 2);
    pointAt(-1);
    return;
  }
  if (!data || event.target !== canvas() || drag?.far) return;
  const found = nearest(...spot(event), 18);
  if (found >= 0) trigger("click", { item: data.ids[found] });
});
const magnify = (factor, x, y) => {
  const before = [(x - canvas().clientWidth / 2) / scale() + view.x,
                  (y - canvas().clientHeight / 2) / scale() + view.y];
  view.zoom = Math.max(1, Math.min(40, view.zoom * factor));
  view.x = before[0] - (x - canvas().clientWidth / 2) / scale();
  view.y = before[1] - (y - canvas().clientHeight / 2) / scale();
  draw();
};
element.addEventListener("wheel", (event) => {
  // A plain wheel scrolls the page; with Ctrl, or two fingers on a touch pad, it zooms the map.
  if (!data || event.target !== canvas() || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  magnify(Math.exp(-event.deltaY / 400), ...spot(event));
}, { passive: false });

element.addEventListener("keydown", (event) => {
  if (!data || event.target !== canvas()) return;
  const way = window.memdriven.ARROWS[event.key];
  if (way) {
    event.preventDefault();
    const from = current < 0 ? [canvas().clientWidth / 2, canvas().clientHeight / 2] : point(current);
    const found = places()[window.memdriven.towards(way, from, places().map(point))];
    if (found !== undefined) pointAt(found);
  } else if (event.key === "Enter" && current >= 0) {
    trigger("click", { item: data.ids[current] });
  }
});
element.addEventListener("input", (event) => {
  if (!data || !event.target.matches(".md-map-search")) return;
  const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
  const kept = data.words.flatMap((caption, place) =>
    words.every((word) => caption.includes(word)) ? [place] : []);
  data.kept = words.length ? new Set(kept) : null;
  const output = element.querySelector(".md-map-found");
  output.textContent = words.length ? output.dataset.words.replace("{count}", kept.length) : "";
  pointAt(-1);
});

const watched = document.querySelector("#map-query");
if (watched) new MutationObserver(draw).observe(watched, { childList: true, subtree: true });
new MutationObserver(draw).observe(element, { childList: true, subtree: true });
draw();
