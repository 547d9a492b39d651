// The mail pages work without this file. It adds: ticking all, stars and
// opening a message without leaving the list, keys, and a word before what was
// written is lost.

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
async function open(link, push) {
  opening?.abort();
  opening = new AbortController();
  const row = link.closest(".mail-row");
  let answer;
  try {
    answer = await fetch(link.href, { headers: { "X-Pane": "reading" }, signal: opening.signal, redirect: "manual" });
    if (!answer.ok) throw new Error(String(answer.status));
    reading.innerHTML = await answer.text();
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

// ── recipients: what is typed is completed from the directory (ARIA combobox) ─
for (const field of document.querySelectorAll("[data-mail-recipients]")) {
  const box = document.createElement("ul");
  box.className = "mail-suggest";
  box.id = field.id + "-list";
  box.hidden = true;
  box.setAttribute("role", "listbox");
  box.setAttribute("aria-label", field.form.dataset.suggestions);
  field.after(box);
  field.setAttribute("role", "combobox");
  field.setAttribute("aria-autocomplete", "list");
  field.setAttribute("aria-expanded", "false");
  field.setAttribute("aria-controls", box.id);
  let people = [];
  let chosen = -1;
  let timer = 0;
  let asked = "";
  // last is where the address being typed begins: after the last comma that is not between quotes.
  const last = () => {
    let quoted = false;
    let at = 0;
    [...field.value].forEach((c, i) => {
      if (c === '"') quoted = !quoted;
      if (!quoted && (c === "," || c === ";")) at = i + 1;
    });
    return at;
  };
  const close = () => {
    box.hidden = true;
    chosen = -1;
    field.setAttribute("aria-expanded", "false");
    field.removeAttribute("aria-activedescendant");
  };
  const mark = (index) => {
    chosen = (index + people.length) % people.length;
    [...box.children].forEach((li, i) => li.setAttribute("aria-selected", String(i === chosen)));
    field.setAttribute("aria-activedescendant", box.children[chosen].id);
  };
  const take = (index) => {
    const before = field.value.slice(0, last());
    field.value = (before ? before + " " : "") + people[index].value + ", ";
    close();
    field.dispatchEvent(new Event("input", { bubbles: true }));
    field.focus();
  };
  const show = () => {
    box.replaceChildren(
      ...people.map((p, i) => {
        const li = document.createElement("li");
        li.id = `${box.id}-${i}`;
        li.setAttribute("role", "option");
        li.setAttribute("aria-selected", "false");
        li.textContent = p.name;
        const about = document.createElement("span");
        about.textContent = [p.mail, p.about].filter(Boolean).join(" · ");
        li.append(about);
        li.addEventListener("mousedown", (event) => {
          event.preventDefault();
          take(i);
        });
        return li;
      }),
    );
    box.hidden = people.length === 0;
    field.setAttribute("aria-expanded", String(!box.hidden));
    chosen = -1;
    field.removeAttribute("aria-activedescendant");
  };
  field.addEventListener("input", () => {
    clearTimeout(timer);
    const words = field.value.slice(last()).trim();
    if (words.length < 2 || words.includes("<")) return close();
    timer = setTimeout(async () => {
      asked = words;
      try {
        const answer = await fetch("/mail/recipients?q=" + encodeURIComponent(words), { redirect: "manual" });
        if (!answer.ok) return;
        people = await answer.json();
      } catch {
        return;
      }
      if (asked === words && document.activeElement === field) show();
    }, 180);
  });
  field.addEventListener("keydown", (event) => {
    if (box.hidden) return;
    if (event.key === "ArrowDown") mark(chosen + 1);
    else if (event.key === "ArrowUp") mark(chosen - 1);
    else if (event.key === "Escape") close();
    else if ((event.key === "Enter" || event.key === "Tab") && chosen >= 0) take(chosen);
    else return;
    event.preventDefault();
  });
  field.addEventListener("keypress", (event) => {
    if (event.key === "Enter") event.preventDefault(); // an address is done, not the message
  });
  field.addEventListener("blur", close);
}

// ── what is written is saved by itself, and not lost by a wrong click ────────
const form = document.querySelector("[data-mail-compose]");
if (form) {
  const text = form.querySelector("textarea");
  text.setSelectionRange(0, 0);
  text.scrollTop = 0;
  const said = form.querySelector("[data-mail-saved]");
  const state = () => JSON.stringify([...new FormData(form)].filter(([k]) => k !== "draft" && k !== "keep").map(([k, v]) => [k, v.name ?? v]));
  let before = state();
  let leaving = false;
  let timer = 0;
  let saving = null;
  const later = (after) => {
    clearTimeout(timer);
    timer = setTimeout(() => (saving ??= save().finally(() => (saving = null))), after);
  };
  async function save() {
    const now = state();
    if (leaving || now === before) return;
    const kept = [...form.querySelectorAll('input[name="keep"]')];
    const body = new FormData(form);
    body.delete("files"); // they go with the message; what is saved here is the text
    body.delete("keep");
    kept.forEach((k) => body.append("keep", k.value));
    body.set("action", "autosave");
    try {
      const answer = await fetch(form.getAttribute("action"), { method: "POST", body, redirect: "manual" });
      if (!answer.ok) throw new Error(String(answer.status));
      const { draft, keep, time } = await answer.json();
      form.elements.draft.value = draft;
      kept.forEach((k, i) => (k.value = keep[i] ?? k.value));
      before = now;
      tell(said.dataset.saved.replace("{time}", time));
      if (state() !== now) later(4000);
    } catch {
      tell(said.dataset.unsaved);
      later(10000);
    }
  }
  function tell(words) {
    said.textContent = words;
    said.hidden = false;
  }
  form.addEventListener("input", () => later(4000));
  form.addEventListener(
    "submit",
    (event) => {
      clearTimeout(timer);
      if (saving) {
        // What is being saved has a new name in a moment: the message must know it.
        event.preventDefault();
        event.stopImmediatePropagation();
        saving.finally(() => form.requestSubmit(event.submitter ?? undefined));
        return;
      }
      leaving = true;
    },
    true,
  );
  form.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    form.requestSubmit(form.querySelector('button[name="action"][value="send"]'));
  });
  addEventListener("pageshow", () => (leaving = false));
  addEventListener("beforeunload", (event) => {
    if (!leaving && state() !== before) event.preventDefault();
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) later(0); // the laptop is being closed
  });
}

// ── templates and signatures: into the text, the subject where there is none ───
for (const button of document.querySelectorAll("[data-mail-insert]"))
  button.addEventListener("click", () => {
    const { subject, text } = form.elements;
    if (!subject.value) subject.value = button.dataset.subject;
    if (!form.classList.contains("mail-is-rich")) {
      text.setRangeText(button.dataset.text, text.selectionStart, text.selectionEnd, "end");
      text.focus();
    }
    button.closest("details").open = false;
    form.dispatchEvent(new Event("input", { bubbles: true }));
  });

// ── a file too large for a message goes ahead in pieces, and becomes a link ────
const links = document.querySelector("[data-mail-links]");
if (links && form) {
  const PIECE = 4 << 20;
  const field = form.querySelector('input[type="file"][name="files"]');
  const list = links.querySelector("ul");
  const threshold = Number(links.dataset.threshold);
  const most = Number(links.dataset.most);
  const running = new Set();
  const icon = form.querySelector(".mail-send use")?.getAttribute("href").replace(/#.*/, "");
  async function ask(address, options) {
    const answer = await fetch(address, { redirect: "manual", ...options });
    if (answer.type === "opaqueredirect" || answer.status === 401) throw new Error("signed out");
    const said = answer.status === 204 ? {} : await answer.json().catch(() => ({}));
    if (!answer.ok) throw Object.assign(new Error(said.error ?? String(answer.status)), { said: said.error, status: answer.status });
    return said;
  }
  function row(name) {
    const li = document.createElement("li");
    li.className = "mail-link";
    li.innerHTML = '<svg class="icon" aria-hidden="true"><use></use></svg><span class="clip"></span> <progress max="100" value="0"></progress> <span class="hint" role="status"></span><button type="button" class="btn btn-s" hidden></button><button type="button" class="btn btn-s btn-quiet" data-take-off></button>';
    li.querySelector("use").setAttribute("href", icon + "#link");
    li.querySelector(".clip").textContent = name;
    li.querySelector("progress").setAttribute("aria-label", name);
    li.querySelector("[data-take-off]").textContent = links.dataset.remove;
    list.append(li);
    links.querySelector(".mail-linkset").hidden = false;
    return li;
  }
  async function upload(file, li) {
    const [bar, said, again] = [li.querySelector("progress"), li.querySelector(".hint"), li.querySelector("button[hidden], button:not([data-take-off])")];
    again.hidden = true;
    bar.hidden = false;
    running.add(li);
    try {
      let at;
      if (li.dataset.id) at = await ask("/mail-files/" + li.dataset.id);
      else {
        at = await ask("/mail-files", { method: "POST", body: new URLSearchParams({ name: file.name, type: file.type, size: String(file.size) }) });
        li.dataset.id = at.id;
        const hidden = document.createElement("input");
        hidden.type = "hidden";
        hidden.name = "link";
        hidden.value = at.id;
        li.prepend(hidden);
        form.dispatchEvent(new Event("input", { bubbles: true }));
      }
      for (let failures = 0; at.state === "receiving" && li.isConnected; ) {
        try {
          if (at.offset + PIECE >= file.size) said.textContent = links.dataset.checking;
          at = await ask("/mail-files/" + at.id, { method: "PATCH", headers: { "Upload-Offset": String(at.offset), "Content-Type": "application/offset+octet-stream" }, body: file.slice(at.offset, at.offset + PIECE) });
          failures = 0;
        } catch (error) {
          if (error.said && error.status !== 409 || ++failures > 5) throw error;
          await new Promise((done) => setTimeout(done, 1000 * failures)); // the line may come back
          at = await ask("/mail-files/" + at.id);
        }
        bar.value = (at.offset * 100) / file.size;
        if (at.state === "receiving") said.textContent = Math.floor(bar.value) + " %";
      }
      while (at.state === "checking" && li.isConnected) {
        at = await ask(`/mail-files/${at.id}/check`, { method: "POST" });
        if (at.state === "checking") await new Promise((again) => setTimeout(again, 2000));
      }
      bar.hidden = true;
      said.textContent = Math.ceil(file.size / 1e6).toLocaleString(document.documentElement.lang) + (document.documentElement.lang === "fr" ? " Mo" : " MB");
    } catch (error) {
      said.textContent = error.said ?? links.dataset.failed;
      again.textContent = links.dataset.resume;
      again.hidden = error.status === 413 || error.status === 422 || error.status === 507;
      again.onclick = () => upload(file, li);
      if (again.hidden) li.querySelector("input")?.remove();
    } finally {
      running.delete(li);
    }
  }
  field.addEventListener("change", () => {
    const stay = new DataTransfer();
    let sum = 0;
    const large = [];
    for (const file of field.files) {
      if (file.size > threshold || sum + file.size > most) large.push(file);
      else {
        sum += file.size;
        stay.items.add(file);
      }
    }
    if (!large.length) return;
    field.files = stay.files;
    large.reduce((before, file) => {
      const li = row(file.name);
      return before.then(() => li.isConnected && upload(file, li));
    }, Promise.resolve());
  });
  list.addEventListener("click", (event) => {
    const li = event.target.closest("[data-take-off]")?.closest("li");
    if (!li) return;
    if (li.dataset.id) fetch("/mail-files/" + li.dataset.id, { method: "DELETE" });
    li.remove();
    form.dispatchEvent(new Event("input", { bubbles: true }));
  });
  document.addEventListener("submit", (event) => {
    if (event.target !== form) return;
    const action = event.submitter?.value ?? "";
    if (!running.size || !(action === "send" || action.startsWith("later"))) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    const live = document.getElementById("live");
    if (live) live.textContent = links.dataset.waiting;
  }, true);
}
