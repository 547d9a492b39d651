// The mail pages work without this file. It adds: ticking all, stars, opening a
// message without leaving the list, keys, and new mail that comes by itself.

const list = document.querySelector("[data-mail-list]");
const reading = document.getElementById("reading");

// ── tick all ────────────────────────────────────────────────────────────────
const all = document.querySelector("[data-mail-all]");
const ticks = () => [...document.querySelectorAll('[data-mail-list] input[name="m"]')];
all?.addEventListener("change", () => ticks().forEach((t) => (t.checked = all.checked)));
list?.addEventListener("change", () => {
  if (all) all.checked = ticks().every((t) => t.checked);
});

// ── stars: shown at once, taken back when the server refuses ────────────────
async function send(action, fields) {
  const body = new URLSearchParams(fields);
  const answer = await fetch(action, { method: "POST", body, headers: { "X-Pane": "list" }, redirect: "manual" });
  if (!answer.ok) throw new Error(String(answer.status));
}
list?.addEventListener("click", async (event) => {
  const star = event.target.closest(".mail-star");
  if (!star) return;
  event.preventDefault();
  const [what, key] = star.value.split(":");
  const paint = (on) => {
    star.setAttribute("aria-pressed", String(on));
    const use = star.querySelector("use");
    use.setAttribute("href", use.getAttribute("href").replace(/#.*/, on ? "#star-full" : "#star"));
    star.value = (on ? "unflag:" : "flag:") + key;
  };
  paint(what === "flag");
  try {
    await send(list.getAttribute("action"), { do: what, m: key });
  } catch {
    paint(what !== "flag");
    const live = document.getElementById("live");
    if (live) live.textContent = live.dataset.failed ?? "";
  }
});

// ── a message opens beside its list ─────────────────────────────────────────
const three = matchMedia("(min-width: 75.01rem)");
let opening;
// What the pointer rests on is read ahead, and is no less unread for it.
const ahead = { href: "", text: null, timer: 0 };
list?.addEventListener("pointerover", (event) => {
  const link = event.target.closest(".mail-row")?.querySelector(".mail-row-link");
  if (!three.matches || !reading || !link || link.hasAttribute("data-plain") || ahead.href === link.href) return;
  clearTimeout(ahead.timer);
  ahead.timer = setTimeout(() => {
    ahead.href = link.href;
    ahead.text = fetch(link.href, { headers: { "X-Pane": "reading", "X-Preload": "1", "X-Background": "1" }, redirect: "manual" }).then((a) => (a.ok ? a.text() : null), () => null);
    setTimeout(() => ahead.href === link.href && (ahead.href = ""), 15000); // then it may have changed
  }, 80);
});
async function open(link, push) {
  opening?.abort();
  opening = new AbortController();
  const row = link.closest(".mail-row");
  clearTimeout(ahead.timer);
  try {
    let text = ahead.href === link.href ? await ahead.text : null;
    ahead.href = "";
    if (text !== null) {
      if (row?.classList.contains("unread")) send(list.getAttribute("action"), { do: "read", m: row.dataset.key }).catch(() => {});
    } else {
      const answer = await fetch(link.href, { headers: { "X-Pane": "reading" }, signal: opening.signal, redirect: "manual" });
      if (!answer.ok) throw new Error(String(answer.status));
      text = await answer.text();
    }
    reading.innerHTML = text;
    window.htmx?.process(reading);
  } catch (error) {
    if (error.name !== "AbortError") location.href = link.href; // the page itself says what is wrong
    return;
  }
  document.querySelectorAll(".mail-row[aria-current]").forEach((r) => r.removeAttribute("aria-current"));
  row?.setAttribute("aria-current", "true");
  if (row?.classList.contains("unread")) {
    row.classList.remove("unread");
    row.querySelector(".dot")?.nextElementSibling?.remove();
    row.querySelector(".dot")?.remove();
  }
  document.querySelector(".mail").classList.add("mail-open");
  reading.scrollTop = 0;
  if (push) history.pushState({ mail: link.href }, "", link.href);
}
const rowLink = (href) => [...document.querySelectorAll(".mail-row-link")].find((a) => a.href === new URL(href, location).href);
document.addEventListener("click", (event) => {
  if (event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey || !three.matches || !reading) return;
  const link = event.target.closest(".mail-row-link, [data-mail-newer], [data-mail-older]");
  if (!link || link.hasAttribute("data-plain")) return;
  const target = rowLink(link.href);
  if (!target) return;
  event.preventDefault();
  open(target, true);
});
addEventListener("popstate", () => location.reload());

// ── before an audience: one key hides the starts of messages, and what arrives ───
const hushed = () => sessionStorage.getItem("beffroi-mail-hush") === "1";
function hush(on) {
  if (on) sessionStorage.setItem("beffroi-mail-hush", "1");
  else sessionStorage.removeItem("beffroi-mail-hush");
  document.documentElement.classList.toggle("mail-hush", on);
  const sign = document.querySelector("[data-mail-hush]");
  if (sign) sign.hidden = !on;
}
hush(hushed());
document.querySelector("[data-mail-hush]")?.addEventListener("click", () => hush(false));

// ── may this browser show notifications? ─────────────────────────────────────
const permission = document.querySelector("[data-mail-permission]");
if (permission && "Notification" in window) {
  const show = () => {
    permission.hidden = false;
    permission.querySelector("span").textContent = permission.dataset[Notification.permission];
    permission.querySelector("button").hidden = Notification.permission !== "default";
  };
  permission.querySelector("button").addEventListener("click", () => Notification.requestPermission().then(show));
  show();
}

// ── keys: "?" shows them ─────────────────────────────────────────────────────
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, dialog, [contenteditable]")) return;
  const press = (selector) => {
    const el = document.querySelector(selector);
    if (el) event.preventDefault();
    el?.click();
  };
  const walk = (step) => {
    const links = [...document.querySelectorAll(".mail-row-link")];
    const at = links.findIndex((a) => a === document.activeElement || a.closest(".mail-row").hasAttribute("aria-current"));
    const next = links[at < 0 ? 0 : at + step];
    if (!next) return;
    event.preventDefault();
    next.focus();
    next.click();
  };
  switch (event.key) {
    case "j": return walk(1);
    case "k": return walk(-1);
    case "r": return press("[data-key-r]");
    case "a": return press("[data-key-a]");
    case "f": return press("[data-key-f]");
    case "e": return press("[data-key-e]");
    case "u": return press("[data-key-u]");
    case "s": return press("[data-key-s]");
    case "h": return hush(!hushed());
    case "?": return document.querySelector("[data-mail-keys]")?.showModal();
    case "b": {
      press("[data-key-b]");
      return document.querySelector("[data-key-b]")?.parentElement.querySelector(".menu-item")?.focus();
    }
    case "l": {
      press("[data-key-l]");
      return document.querySelector("[data-key-l]")?.parentElement.querySelector(".menu-item")?.focus();
    }
    case "#": return press("[data-key-trash]");
    case "c": return press(".mail-write");
    case "/": {
      const search = document.querySelector("[data-mail-search]");
      if (search) event.preventDefault();
      return search?.focus();
    }
  }
});

document.querySelector("[data-mail-keys-open]")?.addEventListener("click", () => document.querySelector("[data-mail-keys]").showModal());

// ── a message that may be taken back, and what becomes of it ────────────────
const outbox = document.getElementById("outbox");
function watch() {
  const pending = outbox?.querySelector(".notice:not(.notice-bad)");
  if (!pending) return;
  const held = [...outbox.querySelectorAll("[data-held]")].map((n) => Number(n.dataset.held));
  setTimeout(async () => {
    try {
      const answer = await fetch("/mail/outbox", { redirect: "manual", headers: { "X-Background": "1" } });
      if (!answer.ok) return;
      outbox.innerHTML = await answer.text();
    } catch {
      return; // the next page tells
    }
    if (!outbox.firstElementChild) {
      const live = document.getElementById("live");
      if (live) live.textContent = outbox.dataset.sent;
    }
    watch();
  }, (held.length ? Math.min(...held) : 0) + 1500);
}
watch();

// ── new mail comes by itself: one stream for all tabs of a browser ───────────
const folders = document.querySelector("[data-mail-live]");
if (folders) {
  const channel = "BroadcastChannel" in window ? new BroadcastChannel("beffroi-mail") : null;
  let due = 0;
  let unread = null;
  // refresh takes what stands around the message from a fresh page: counts, and the list where nothing is ticked.
  async function refresh() {
    due = 0;
    const at = folders.querySelector("a[aria-current]")?.href ?? "/mail/";
    let fresh;
    try {
      const answer = await fetch(at, { redirect: "manual", headers: { "X-Background": "1" } }); // nobody asked: it keeps no session alive
      if (!answer.ok) return;
      fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    } catch {
      return;
    }
    const take = (selector) => {
      const [old, now] = [document.querySelector(selector), fresh.querySelector(selector)];
      if (old && now && old.innerHTML !== now.innerHTML) old.replaceChildren(...now.childNodes);
    };
    take('.modules a[href="/mail/"]');
    if (!folders.contains(document.activeElement)) take(".mail-folder-list");
    const count = /\(\d+\)|· \d+/;
    if (location.pathname === new URL(at, location).pathname) document.title = fresh.title;
    else if (count.test(document.title) && count.test(fresh.title)) document.title = document.title.replace(count, fresh.title.match(count)[0]);
    const rows = list?.querySelector(".mail-rows");
    const firstPage = !new URLSearchParams(location.search).get("page");
    if (rows && firstPage && !ticks().some((t) => t.checked) && !rows.contains(document.activeElement)) {
      const open = rows.querySelector("[aria-current]")?.dataset.key;
      const now = fresh.querySelector(".mail-rows");
      if (now) {
        rows.replaceChildren(...now.childNodes);
        if (open) rows.querySelector(`[data-key="${CSS.escape(open)}"]`)?.setAttribute("aria-current", "true");
      }
    } else if (!rows && fresh.querySelector(".mail-rows") && document.querySelector(".mail-list > .empty")) {
      location.reload(); // the first message of an empty folder
    }
  }
  function arrived(news) {
    for (const { from, subject } of hushed() ? [] : (news.new ?? [])) {
      const toast = document.getElementById("live");
      if (toast) toast.textContent = folders.dataset.new.replace("{from}", from).replace("{subject}", subject || "–");
    }
    if (unread !== null && unread === news.unread && !news.new) return;
    const changed = unread !== null || news.new;
    unread = news.unread;
    if (changed && !due) due = setTimeout(refresh, 200);
  }
  // announce shows notifications of the desktop, from the one tab that listens for all.
  async function announce(news) {
    if (!news.new || !("Notification" in window) || Notification.permission !== "granted" || hushed()) return;
    let rules;
    try {
      rules = await (await fetch("/mail/notifications", { headers: { Accept: "application/json", "X-Background": "1" }, redirect: "manual" })).json();
    } catch {
      return;
    }
    const now = new Date().toTimeString().slice(0, 5);
    const quiet = rules.quiet && (rules.from <= rules.until ? rules.from <= now && now < rules.until : rules.from <= now || now < rules.until);
    if (!rules.on || quiet) return;
    for (const { from, mail, subject, href } of news.new) {
      if (rules.only.length && !rules.only.some((o) => (o.startsWith("@") ? mail.endsWith(o) : mail === o))) continue;
      const shown = new Notification(from, { body: subject, tag: href, icon: document.querySelector('link[rel="icon"]')?.href });
      shown.addEventListener("click", () => {
        window.focus();
        location.href = href;
      });
    }
  }
  channel?.addEventListener("message", (event) => arrived(event.data));
  const listen = () =>
    new Promise((done) => {
      const stream = new EventSource(folders.dataset.mailLive);
      stream.addEventListener("mail", (event) => {
        const news = JSON.parse(event.data);
        channel?.postMessage(news);
        arrived(news);
        announce(news);
      });
      stream.addEventListener("over", () => {
        stream.close();
        done();
      });
      addEventListener("pagehide", () => stream.close());
    });
  if (channel && navigator.locks) navigator.locks.request("beffroi-mail-stream", listen);
  else if ("EventSource" in window) listen();
}
