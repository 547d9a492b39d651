// Comfort for the forms of contacts: when the last line is filled, another
// empty one appears below it. Without script the form offers one at a time.

for (const lines of document.querySelectorAll("[data-lines]")) {
  lines.addEventListener("input", () => {
    const last = lines.lastElementChild;
    if (!last?.querySelector("input")?.value || lines.children.length >= 20) return;
    const next = last.cloneNode(true);
    next.querySelector("input").value = "";
    lines.append(next);
  });
}
