// The walk through the method: one step is open, one place of the picture and one part of v are chosen.
// Nothing here asks the server.
let step = "words", place = null, part = null, picked = {}, scale = "common";
const all = (selector) => [...element.querySelectorAll(selector)];
const one = (selector) => element.querySelector(selector);
const BARS = 6;

// The paths between the stations: neighbours by a line, words over the top, memory and noise below.
const wire = () => {
  const flow = one(".md-flow"), sheet = one(".md-wires");
  if (!flow?.offsetWidth) return;
  const origin = flow.getBoundingClientRect();
  const box = (name) => {
    const b = one(`.md-flow [data-step="${name}"]`).getBoundingClientRect();
    return { l: b.left - origin.left, r: b.right - origin.left, t: b.top - origin.top, b: b.bottom - origin.top };
  };
  const paths = JSON.parse(flow.dataset.wires).map(([from, to, kind], number) => {
    const a = box(from), b = box(to), mid = (c) => (c.l + c.r) / 2, high = Math.min(70, (a.b - a.t) / 2);
    const lit = step === from || step === to ? " md-lit" : "";
    let line;
    if (from === "noise") line = a.t - b.b < 60 ? `M ${mid(b)} ${a.t} V ${b.b}` : null;
    else if (Math.abs(a.t - b.t) > 4) line = number < all(".md-station").length - 1
      ? `M ${mid(a)} ${a.b} C ${mid(a)} ${a.b + 14} ${mid(b)} ${b.t - 14} ${mid(b)} ${b.t}` : null;
    else if (b.l - a.r < 40) line = `M ${a.r} ${a.t + high} H ${b.l}`;
    else {
      const up = kind === "text", y = up ? a.t : a.b, bend = (up ? -1 : 1) * Math.min(34, 4 + (b.l - a.r) / 26);
      const x1 = mid(a) + 14, x2 = mid(b) - (up ? 10 : 14);
      line = `M ${x1} ${y} C ${x1} ${y + bend} ${x1 + 8} ${y + bend} ${x1 + 24} ${y + bend} `
        + `H ${x2 - 24} C ${x2 - 8} ${y + bend} ${x2} ${y + bend} ${x2} ${y}`;
    }
    return line && `<path d="${line}" class="md-${kind}${lit}"/>`;
  });
  sheet.setAttribute("viewBox", `0 0 ${origin.width} ${origin.height}`);
  sheet.innerHTML = paths.filter(Boolean).join("");
};

const data = () => {
  const root = one(".md-walk");
  if (!root) return null;
  if (root.read !== root.dataset.walk) {  // what is shown anew may be the same element
    root.read = root.dataset.walk;
    root.numbers = JSON.parse(root.read);
  }
  return root.numbers;
};

const open = (name, focus) => {
  const names = all(".md-station").map((each) => each.dataset.step);
  if (!names.length) return;
  step = names.includes(name) ? name : names[0];
  for (const each of all(".md-station")) {
    const chosen = each.dataset.step === step;
    each.setAttribute("aria-selected", chosen);
    each.tabIndex = chosen ? 0 : -1;
    if (chosen && focus) each.focus();
  }
  for (const each of all(".md-account")) each.hidden = each.dataset.step !== step;
  const at = names.indexOf(step);
  one(".md-step-of").textContent = `${at + 1} of ${names.length}`;
  one('[data-go="-1"]').disabled = at === 0;
  one('[data-go="1"]').disabled = at === names.length - 1;
  wire();
};

const bar = (name, value, largest) => `<li><span>${name}</span><span class="md-bar"><span style="width:${
  (100 * value / largest).toFixed(1)}%"></span></span><span class="md-number">${value.toFixed(2)}</span></li>`;

const signed = (value) => `${value < 0 ? "\u2212" : ""}${Math.abs(value).toFixed(2)}`;

// What v, W and b are at the chosen place: h W + b is worked out here, from the digits shown.
const showPlace = () => {
  const numbers = data();
  place ??= numbers.start;
  const row = Math.floor(place / 16), column = place % 16, here = numbers.v[place];
  for (const output of all(".md-where")) output.textContent = `row ${row + 1}, column ${column + 1}`;
  for (const canvas of all(".md-v-here")) {
    const brush = canvas.getContext("2d");
    brush.clearRect(0, 0, 512, 1);
    for (const [channel, value] of here) {
      brush.fillStyle = `rgba(214, 130, 0, ${Math.max(0.12, value / numbers.largest)})`;
      brush.fillRect(channel, 0, 1, 1);
    }
  }
  const top = [...here].sort((a, b) => b[1] - a[1]);
  for (const list of all(".md-v-top")) {
    const most = list.closest("[data-most]")?.dataset.most ?? BARS;
    list.innerHTML = top.slice(0, most).map(([c, value]) => bar(`channel ${c}`, value, numbers.largest)).join("")
      || "<li>all 512 are 0 here</li>";
  }
  for (const account of all(".md-account")) {
    const table = account.querySelector(".md-sums tbody");
    if (!table) continue;
    const shown = account.querySelector("[data-fusion]:not([hidden])");
    const { channels, h, W, b } = numbers.fusions[shown.dataset.fusion];
    table.innerHTML = channels.map((channel, i) => {
      const [x, w, add] = [h[i][place], W[i][place], b[i][place]];
      return `<tr><th scope="row">${channel}</th><td>${signed(x)}</td><td class="md-v">\u00d7 ${signed(w)}</td>`
        + `<td class="md-v">${add < 0 ? "\u2212" : "+"} ${Math.abs(add).toFixed(2)}</td><td><b>= ${signed(x * w + add)}</b></td></tr>`;
    }).join("");
  }
  mark();
};

// One part of v is hidden; its picture came with the page.
const showPart = () => {
  const numbers = data();
  const gaps = numbers.effects;
  part ??= gaps.length ? gaps.indexOf(Math.max(...gaps)) : null;
  if (part === null) return mark();
  // Gradio calls while it still exchanges what is inside.
  if (!one(".md-without") || !one(".md-effect")) return requestAnimationFrame(showPart);
  one(".md-without").src = numbers.without[part];
  one(".md-gone").src = numbers.gone[part];
  one(".md-effect").textContent = `Without row ${Math.floor(part / 4) + 1}, column ${part % 4 + 1} of v the picture `
    + `changes by ${numbers.effects[part]} % on average.`;
  mark();
};

const mark = () => {
  for (const picker of all(".md-picker")) {
    const cells = Number(picker.dataset.cells), at = cells === 16 ? place : part;
    if (at === null) continue;
    picker.style.setProperty("--x", at % cells);
    picker.style.setProperty("--y", Math.floor(at / cells));
  }
};

const choose = (picker, x, y) => {
  const cells = Number(picker.dataset.cells), inside = (n) => Math.min(cells - 1, Math.max(0, n));
  const at = inside(y) * cells + inside(x);
  if (cells === 16) { place = at; showPlace(); } else { part = at; showPart(); }
};

const point = (event) => {
  const picker = event.target.closest(".md-picker");
  if (!picker || (event.type === "pointermove" && !event.buttons)) return;
  const box = picker.getBoundingClientRect(), cells = picker.dataset.cells;
  choose(picker, Math.floor((event.clientX - box.left) / box.width * cells),
    Math.floor((event.clientY - box.top) / box.height * cells));
};
element.addEventListener("pointerdown", point);
element.addEventListener("pointermove", point);
element.addEventListener("click", (event) => {
  const station = event.target.closest(".md-station"), go = event.target.closest("[data-go]");
  const gate = event.target.closest("[data-choose]"), other = event.target.closest("[data-by-scale]");
  if (station) open(station.dataset.step);
  if (go) {
    const stations = all(".md-station"), at = stations.findIndex((each) => each.dataset.step === step);
    open(stations[at + Number(go.dataset.go)]?.dataset.step ?? step);
  }
  // On a narrow screen what was opened begins below it.
  if (station || go) one(".md-account:not([hidden]) .md-account-head").scrollIntoView({ block: "nearest" });
  if (gate) {
    picked[step] = gate.dataset.choose;
    gates();
    showPlace();
  }
  if (other) {
    scale = other.dataset.byScale;
    gates();
  }
});
const gates = () => {
  for (const map of all("[data-scale]")) map.hidden = map.dataset.scale !== scale;
  for (const chip of all("[data-by-scale]")) chip.setAttribute("aria-pressed", chip.dataset.byScale === scale);
  for (const account of all(".md-account")) {
    const name = account.dataset.step, choices = [...account.querySelectorAll("[data-choose]")];
    if (!choices.length) continue;
    const chosen = choices.find((each) => each.dataset.choose === picked[name]) ?? choices[0];
    for (const each of choices) each.setAttribute("aria-pressed", each === chosen);
    for (const each of account.querySelectorAll("[data-fusion]"))
      each.hidden = each.dataset.fusion !== chosen.dataset.choose;
  }
};
element.addEventListener("keydown", (event) => {
  const arrow = window.memdriven.ARROWS[event.key], picker = event.target.closest(".md-picker");
  if (!arrow) return;
  if (picker) {
    const cells = Number(picker.dataset.cells), at = cells === 16 ? place : part;
    choose(picker, at % cells + arrow[0], Math.floor(at / cells) + arrow[1]);
    event.preventDefault();
  } else if (event.target.closest(".md-station") && !arrow[1]) {
    const stations = all(".md-station"), at = stations.findIndex((each) => each.dataset.step === step);
    open(stations[(at + arrow[0] + stations.length) % stations.length].dataset.step, true);
    event.preventDefault();
    event.stopPropagation();
  }
});

const fresh = () => {
  if (!data()) return;
  if (place !== null && place >= data().v.length) place = null;
  open(step);
  gates();
  showPlace();
  showPart();
};
new ResizeObserver(wire).observe(element);
watch("value", fresh);
fresh();
