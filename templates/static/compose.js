// The pages to write on work without this file. It adds: completing who gets the
// message, a draft that saves itself, a word before what was written is lost, and
// files that go ahead in pieces.

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
