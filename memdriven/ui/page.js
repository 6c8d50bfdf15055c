// What the page does without asking the server: example chips, offered words, copying, shortcuts.
() => {
  const caption = () => document.querySelector("#caption textarea");

  // Gradio listens to the DOM's own input event, as if the words had been typed.
  const write = (words) => {
    const box = caption();
    box.value = words;
    box.dispatchEvent(new Event("input", { bubbles: true }));
    box.focus();
  };

  const replaceWord = (unknown, known) => {
    const words = caption().value.normalize("NFKC").split(/([\p{L}\p{N}_]+)/u);
    write(words.map((word) => (word.toLowerCase() === unknown ? known : word)).join(""));
  };

  const copy = async (button) => {
    await navigator.clipboard.writeText(button.dataset.copy);
    const before = button.textContent;
    button.textContent = button.dataset.copied;
    setTimeout(() => { button.textContent = before; }, 1500);
  };

  document.addEventListener("click", (event) => {
    const target = event.target.closest("[data-caption], [data-unknown], [data-copy]");
    if (!target) return;
    if (target.dataset.caption) write(target.dataset.caption);
    else if (target.dataset.unknown) replaceWord(target.dataset.unknown, target.dataset.known);
    else copy(target);
  });

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    const grid = document.querySelector("#make-grid");
    const open = grid && grid.offsetParent !== null;
    (open ? grid : document.querySelector("#generate")).click();
  });

  // A seed that somebody wrote or pasted is meant to be kept.
  document.addEventListener("input", (event) => {
    const keep = document.querySelector("#keep input");
    if (!event.target.closest("#seed") || !keep) return;
    if (keep.checked !== (event.target.value.trim() !== "")) keep.click();
  });

  // On a narrow page the picture lies far below the button that asks for it.
  const generate = document.querySelector("#generate");
  generate?.addEventListener("click", () => {
    if (window.innerWidth > 760) return;
    const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    const column = document.querySelector("#picture-column");
    column?.scrollIntoView({ behavior: calm ? "auto" : "smooth", block: "start" });
  });

  const line = document.querySelector("#status");
  if (line) {
    line.setAttribute("role", "status");
    line.setAttribute("aria-live", "polite");
  }
}
