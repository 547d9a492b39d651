// Comfort, never function: every page works without this file.
// What it adds is listed in COMPONENTS.md, one section each.

const root = document.documentElement;
root.classList.add("js");
function arrive(part) {
  for (const el of part.querySelectorAll("[data-js][hidden]")) el.hidden = false;
  // After an answer with errors, reading starts at the errors.
  part.querySelector("[data-focus]")?.focus();
}
arrive(document);

// ── one live region, for what sight would notice ────────────────────────────
const live = document.getElementById("live");
let fade;
function say(text, seconds = 6) {
  if (!live || !text) return;
  live.textContent = text;
  clearTimeout(fade);
  if (seconds) fade = setTimeout(() => (live.textContent = ""), seconds * 1000);
}

// ── a form is sent once ─────────────────────────────────────────────────────
// A second click while the first answer is on its way would send a message or
// use a code twice. An answer that is a download leaves the page in place, so
// the guard lifts by itself.
const sending = new Map();
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || form.method !== "post") return;
  if (sending.has(form)) {
    event.preventDefault();
    return;
  }
  form.setAttribute("aria-busy", "true");
  event.submitter?.setAttribute("aria-disabled", "true");
  const slow = setTimeout(() => say(live?.dataset.working, 0), 700);
  const lift = setTimeout(() => release(form), 10000);
  sending.set(form, { slow, lift, button: event.submitter });
});
function release(form) {
  const { slow, lift, button } = sending.get(form);
  clearTimeout(slow);
  clearTimeout(lift);
  form.removeAttribute("aria-busy");
  button?.removeAttribute("aria-disabled");
  sending.delete(form);
  if (live?.textContent === live?.dataset.working) live.textContent = "";
}
// Back from the next page: the form is alive again.
addEventListener("pageshow", () => [...sending.keys()].forEach(release));

// ── copy: <button data-copy="#id" data-js hidden> ───────────────────────────
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const source = document.querySelector(button.dataset.copy);
  const text = source?.value ?? source?.textContent?.trim() ?? "";
  try {
    await navigator.clipboard.writeText(text);
    say(live?.dataset.copied, 3);
  } catch {
    if (source) getSelection()?.selectAllChildren(source);
  }
});

// ── menus: <details class="menu"> ───────────────────────────────────────────
const openMenus = () => document.querySelectorAll("details.menu[open]");
document.addEventListener("click", (event) => {
  for (const menu of openMenus()) if (!menu.contains(event.target)) menu.open = false;
});
document.addEventListener("focusin", (event) => {
  for (const menu of openMenus()) if (!menu.contains(event.target)) menu.open = false;
});

// ── keys ────────────────────────────────────────────────────────────────────
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    for (const menu of openMenus()) {
      const inside = menu.contains(document.activeElement);
      menu.open = false;
      if (inside) menu.querySelector("summary")?.focus();
    }
  }
  if (event.key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey) {
    // The page's own search comes before the bar's.
    const fields = [...document.querySelectorAll("main [data-search], main [type=search], [data-search]")];
    const search = fields.filter((field) => field.checkVisibility()).sort((a, b) => !!b.closest("main") - !!a.closest("main"))[0];
    if (!search) return;
    event.preventDefault();
    search.focus();
    search.select?.();
  }
});

// ── print: <button data-print data-js hidden> ───────────────────────────────
document.addEventListener("click", (event) => {
  if (event.target.closest?.("[data-print]")) window.print();
});

// ── choices that apply at once: <select data-submit> ────────────────────────
document.addEventListener("change", (event) => {
  if (event.target.matches?.("[data-submit]")) event.target.form?.requestSubmit();
});

// ── htmx: parts arrive as pages do; say when an exchange fails; what was written stays ────────────────
document.addEventListener("htmx:load", (event) => {
  if (event.detail.elt !== document.body) arrive(event.detail.elt);
});
document.addEventListener("htmx:responseError", () => say(live?.dataset.failed, 0));
document.addEventListener("htmx:sendError", () => say(live?.dataset.offline, 0));
document.addEventListener("htmx:timeout", () => say(live?.dataset.offline, 0));
document.addEventListener("htmx:beforeRequest", () => {
  if (live && (live.textContent === live.dataset.failed || live.textContent === live.dataset.offline)) live.textContent = "";
});

// ── a computer that several people use: the page signs out when nobody is there ──
const lock = Number(document.body.dataset.lock ?? 0) * 1000;
if (lock) {
  const others = new BroadcastChannel("beffroi-present"); // the other tabs of this person
  let left = Date.now();
  const here = () => {
    if (Date.now() - left > 1000) others.postMessage("here");
    left = Date.now();
  };
  others.onmessage = () => (left = Date.now());
  for (const sign of ["pointerdown", "pointermove", "keydown", "wheel", "touchstart"]) addEventListener(sign, here, { passive: true, capture: true });
  setInterval(() => {
    if (Date.now() - left < lock) return;
    root.classList.add("locked"); // whatever comes next, nothing is seen any more
    document.querySelector('form[action="/logout"]')?.submit();
  }, 1000);
  navigator.serviceWorker?.getRegistrations().then((all) => all.forEach((one) => one.unregister()));
  globalThis.caches?.keys().then((names) => names.forEach((name) => caches.delete(name)));
}

// ── the portal can be installed: without a network it says so (sw.js) ─────────
else if (document.querySelector('link[rel="manifest"]') && document.querySelector("details.person") && "serviceWorker" in navigator) navigator.serviceWorker.register("/sw.js").catch(() => {});
