// What the page does without asking the server: example chips, offered words, copying, shortcuts.
() => {
  const caption = () => document.querySelector("#caption textarea");

  // Gradio listens to the DOM's own input event, as if the words had been typed.
  const write = (words, place = words.length) => {
    const box = caption();
    box.value = words;
    box.setSelectionRange(place, place);
    box.dispatchEvent(new Event("input", { bubbles: true }));
  };
  const take = (words) => { write(words); caption().focus(); };

  // What a button has done stands on it for a while.
  const answer = (button, words) => {
    button.dataset.label ??= button.textContent;
    button.textContent = words;
    setTimeout(() => { button.textContent = button.dataset.label; }, 2000);
  };
  Object.assign(window.memdriven ??= {}, { write, answer });

  const replaceWord = (unknown, known) => {
    const words = caption().value.normalize("NFKC").split(/([\p{L}\p{N}_]+)/u);
    take(words.map((word) => (word.toLowerCase() === unknown ? known : word)).join(""));
  };

  // Without a clipboard (plain http, or refused) the words lie selected beside the button.
  const offer = (button, words) => {
    const label = document.createElement("label");
    const box = document.createElement("input");
    label.className = "md-by-hand";
    Object.assign(box, { readOnly: true, value: words });
    label.append("Selected for you to copy:", box);
    if (button.nextElementSibling?.matches(".md-by-hand")) button.nextElementSibling.remove();
    button.after(label);
    box.select();
  };

  const copy = async (button, words) => {
    try {
      await navigator.clipboard.writeText(words);
    } catch {
      offer(button, words);
      return;
    }
    answer(button, "Copied");
  };

  // The recipe becomes part of the page's address, which can be copied, kept or sent.
  const link = (button) => {
    const address = new URL(location.href);
    address.search = `?r=${button.dataset.link}`;
    history.replaceState(history.state, "", address);
    copy(button, address.href);
  };

  // A tab's content is made when the tab is first opened, so its button may not be there at once.
  const reach = (selector, tab, act) => {
    document.querySelector(`button[role="tab"][data-tab-id="${tab}"]`)?.click();
    const began = performance.now();
    const look = () => {
      const found = document.querySelector(selector);
      if (found?.offsetParent) act(found);
      else if (performance.now() - began < 5000) requestAnimationFrame(look);
    };
    look();
  };

  // A choice that is made already would do nothing: the button beside it does it again.
  const press = (found) => {
    const place = found.closest(".md-tools");
    (found.checked ? place.querySelector(".md-run") : found).click();
    stay(place);
  };

  // What comes below a place makes the page long enough to bring it to the top; then the visitor scrolls.
  const stay = (place) => {
    const follow = new ResizeObserver(() => place?.scrollIntoView({ block: "start" }));
    const stop = () => follow.disconnect();
    follow.observe(document.body);
    for (const act of ["wheel", "touchstart", "keydown"]) addEventListener(act, stop, { once: true, passive: true });
    setTimeout(stop, 5000);
  };

  // A double click is one press, and so is a key that is held down.
  let pressed = -Infinity;
  document.addEventListener("click", (event) => {
    if (!event.target.closest("#generate, #make-grid, #make-near, .md-run")) return;
    if (event.detail > 1 && event.timeStamp - pressed < 400) event.stopImmediatePropagation();
    else pressed = event.timeStamp;
  }, true);
  document.addEventListener("keydown", (event) => {
    if (event.repeat && event.key === "Enter" && event.target.matches("button")) event.preventDefault();
  });

  document.addEventListener("click", (event) => {
    const target = event.target.closest(
      "[data-caption], [data-words], [data-word], [data-unknown], [data-copy], [data-link], [data-press]",
    );
    if (!target) return;
    const data = target.dataset;
    if (data.caption) { take(data.caption); setTimeout(() => document.querySelector("#generate").click(), 60); }
    else if (data.words && target.matches("button")) take(data.words);
    else if (data.word) take(`${caption().value.trimEnd()} ${data.word}`.trimStart());
    else if (data.unknown) replaceWord(data.unknown, data.known);
    else if (data.link) link(target);
    else if (data.press) reach(data.press, data.tab, press);
    else copy(target, data.copy);
  });

  // A chosen file goes to Python as text inside an event, and never becomes a file there.
  const LONGEST = 8_000_000;
  window.memdriven.send = (file, trigger) => {
    const reader = new FileReader();
    reader.onload = () => trigger("upload", { content: reader.result.split(",")[1] ?? "" });
    if (file.size > LONGEST) trigger("upload", { content: null });
    else reader.readAsDataURL(file);
  };

  // A file dropped beside a drop zone would replace the page; a PNG may carry a recipe, others are own images.
  for (const kind of ["dragover", "drop"]) document.addEventListener(kind, (event) => {
    if (event.defaultPrevented || !event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    const file = event.dataTransfer.files[0];
    if (kind === "dragover" || !file?.type.startsWith("image/")) return;
    const files = new DataTransfer();
    files.items.add(file);
    const [zone, tab] = file.type === "image/png" ? ["#recipe-drop", "history"] : ["#own", "picture"];
    reach(`${zone} input[type=file]`, tab, (found) => {
      found.files = files.files;
      found.dispatchEvent(new Event("change", { bubbles: true }));
    });
  });

  // Python answers a press on a card with a new panel: the focus goes back to where it was.
  let focused = null;
  document.addEventListener("focusin", (event) => { focused = event.target.dataset?.focus ?? null; });
  const memory = document.querySelector("#memory");
  if (memory) new MutationObserver((changes) => {
    if (changes.every((one) => one.target.matches("output"))) return;  // of a knob that is being moved
    // A knob that was moved keeps its place where the panel has the number of before.
    for (const knob of memory.querySelectorAll("input[type=range]")) knob.value = knob.getAttribute("value");
    if (!focused || document.activeElement !== document.body) return;
    memory.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus();
  }).observe(memory, { childList: true, subtree: true });

  document.addEventListener("input", (event) => {
    const output = event.target.closest(".md-weight")?.querySelector("output");
    if (output) output.textContent = `\u00d7${event.target.value}`;
  });

  // What a lesson's panel is to show, whether what it shows can be revealed, and the status: the result of another
  // lesson than that on screen is put away.
  window.memdriven.ofThisLesson = (made, lesson, empty, ready) => {
    const of = (html, name) => new RegExp(`data-${name}="([^"]*)"`).exec(html || "")?.[1];
    const late = of(made, "of") !== undefined && of(made, "of") !== of(lesson, "lesson");
    const open = { __type__: "update", visible: !late && of(made, "done") === "true" };
    return late ? [empty, open, ready] : [undefined, open, undefined];
  };

  // Ctrl + Enter: the button beside the box that is written in, else the open tab's first.
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    if (event.repeat) return;
    const beside = event.target.closest(".md-tools")?.querySelector(".md-run");
    const runs = [...document.querySelectorAll("#make-grid, .md-run")];
    const open = beside ?? runs.find((button) => button.offsetParent !== null);
    (open ?? document.querySelector("#generate")).click();
  });

  // Arrow keys go to the nearest picture or button in that direction, as they lie on the page. What lies aside counts
  // more, so that a row or a column is followed to its end.
  const towards = ([x, y], [left, top], points) => {
    const gaps = points.map(([right, down]) => {
      const along = (right - left) * x + (down - top) * y;
      const aside = Math.abs((right - left) * y) + Math.abs((down - top) * x);
      return along < 1 ? Infinity : along + 4 * aside;
    });
    const least = gaps.reduce((one, other) => Math.min(one, other), Infinity);
    return least < Infinity ? gaps.indexOf(least) : -1;
  };
  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  Object.assign(window.memdriven, { towards, ARROWS });
  const middle = (one) => {
    const box = one.getBoundingClientRect();
    return [box.x + box.width / 2, box.y + box.height / 2];
  };
  document.addEventListener("keydown", (event) => {
    const way = ARROWS[event.key];
    const place = event.target.closest(".md-grid, .md-rows, .md-history");
    if (!place || !way || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const all = [...place.querySelectorAll("button, input")];
    all[towards(way, middle(event.target), all.map(middle))]?.focus();
  });

  // A seed that somebody wrote or pasted is meant to be kept.
  document.addEventListener("input", (event) => {
    const keep = document.querySelector("#keep input");
    if (!event.target.closest("#seed") || !keep) return;
    if (keep.checked !== (event.target.value.trim() !== "")) keep.click();
  });

  // Folded settings open and close here; they are on the page all the time.
  document.addEventListener("click", (event) => {
    const title = event.target.closest(".md-fold-title button");
    if (!title) return;
    const open = title.closest(".md-fold").classList.toggle("md-open");
    title.setAttribute("aria-expanded", String(open));
  });

  // Generate shows where its picture is: on its tab, and in sight.
  document.querySelector("#generate")?.addEventListener("click", () => {
    reach("#picture-column", "picture", (column) => {
      const box = column.getBoundingClientRect();
      if (box.top >= 0 && box.top < window.innerHeight / 2) return;
      const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
      column.scrollIntoView({ behavior: calm ? "auto" : "smooth", block: "start" });
    });
  });

  document.addEventListener("click", (event) => {
    window.memdriven.taken = event.target.closest('#result [data-act="take"]') !== null;
  }, true);

  // A picture whose words are no longer those in the box is dimmed.
  const result = document.querySelector("#result");
  const dim = () => {
    const of = result?.querySelector("[data-of]")?.dataset.of;
    result?.classList.toggle("md-stale", of !== undefined && of.trim() !== caption().value.trim());
  };
  Object.assign(window.memdriven, { dim });
  document.addEventListener("input", (event) => { if (event.target === caption()) dim(); });
  if (result) new MutationObserver(dim).observe(result, { childList: true, subtree: true });

  // Arrow keys go from tab to tab.
  document.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || !event.target.matches("#tabs [data-tab-id]")) return;
    const tabs = [...document.querySelectorAll("#tabs [data-tab-id]")].filter((one) => one.offsetParent);
    const next = tabs[(tabs.indexOf(event.target) + step + tabs.length) % tabs.length];
    event.preventDefault();
    next.click();
    next.focus();
  });

  // The page's picture of itself goes when all that it shows is there, and at rest.
  const there = async () => {
    const still = document.querySelector("#md-still");
    const parts = ["#memory .html-container *", "#result .md-canvas", "#tabs [aria-selected=true]"];
    const image = document.querySelector("#result img");
    if (!still) return;
    if (!parts.every((one) => document.querySelector(one)) || (image && !image.complete)) {
      requestAnimationFrame(there);
      return;
    }
    const moving = document.querySelector("#result").getAnimations({ subtree: true });
    await Promise.allSettled(moving.map((one) => one.finished));
    still.remove();
  };
  there();

  // The words that the page opens with give way to the first that are typed.
  if (document.activeElement === caption()) caption().select();

  for (const line of document.querySelectorAll("#status, #place")) {
    line.setAttribute("role", "status");
    line.setAttribute("aria-live", "polite");
  }

  // What was told on one tab is not shown on another, and again on coming back; what is under way is told everywhere.
  const chosen = () => document.querySelector("#tabs [data-tab-id][aria-selected=true]")?.dataset.tabId;
  let toldOn = null;
  const elsewhere = () => document.body.classList.toggle("md-elsewhere", ![null, chosen()].includes(toldOn));
  document.addEventListener("click", (event) => {
    if (event.target.closest("#tabs [data-tab-id]")) toldOn ??= chosen();
  }, true);
  const told = () => { toldOn = null; elsewhere(); };
  // Of an error after another Gradio changes the words alone; a number tells one from the other (`html.py`).
  new MutationObserver(told).observe(document.querySelector("#status"),
    { childList: true, subtree: true, attributeFilter: ["data-said"] });
  new MutationObserver(elsewhere).observe(document.querySelector("#tabs"),
    { subtree: true, attributes: true, attributeFilter: ["aria-selected"] });
}
