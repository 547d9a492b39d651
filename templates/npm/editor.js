// The editor of messages: Squire on the text of the form, with a toolbar that the
// page holds ready. What it makes goes along as the field "html"; the server
// decides again what is kept of it. Without this script the textarea is there.
import DOMPurify from "dompurify";
import Squire from "squire-rte";

const form = document.querySelector("[data-mail-compose]");
const source = form?.querySelector("[data-mail-html]");
const area = form?.querySelector("textarea[name=text]");
const bar = form?.querySelector("[data-mail-bar]");
const root = form?.querySelector("[data-mail-rich]");
const TAGS = "a b blockquote br code div em h1 h2 h3 hr i img li ol p pre s strong u ul".split(" ");
const WIDEST = 1600; // pixels of a picture that is put into a message

function clean(html) {
  return DOMPurify.sanitize(html, { ALLOWED_TAGS: TAGS, ALLOWED_ATTR: ["href", "src", "alt"], ALLOW_DATA_ATTR: false, ALLOW_ARIA_ATTR: false, RETURN_DOM_FRAGMENT: true });
}

if (form && source && root && source.dataset.mailHtml !== "plain") start();
else if (bar) bar.querySelector("[data-edit=rich]")?.addEventListener("click", () => switchTo("0"));

// switchTo goes over to plain text or back: the form goes to the server, which has
// both forms of the text, and comes back as a draft.
function switchTo(plain) {
  const choice = form.querySelector("[name=plain]");
  choice.value = plain;
  choice.disabled = false;
  form.requestSubmit(form.querySelector('button[name=action][value=draft]:not([aria-hidden])'));
}

function start() {
  const editor = new Squire(root, { blockTag: "DIV", sanitizeToDOMFragment: clean, addLinks: true });
  editor.setHTML(source.value);
  editor.moveCursorToStart();
  form.classList.add("mail-is-rich");
  root.hidden = false;
  area.closest(".field").hidden = true;
  if (area.hasAttribute("autofocus")) editor.focus();
  editor.addEventListener("input", () => form.dispatchEvent(new Event("input", { bubbles: true })));
  form.addEventListener("formdata", (event) => {
    event.formData.set("html", editor.getHTML());
    event.formData.set("text", "");
  });

  // ── toolbar ────────────────────────────────────────────────────────────────
  const toggles = { bold: ["B", "bold", "removeBold"], italic: ["I", "italic", "removeItalic"], underline: ["U", "underline", "removeUnderline"],
    list: ["UL", "makeUnorderedList", "removeList"], ordered: ["OL", "makeOrderedList", "removeList"], quote: ["BLOCKQUOTE", "increaseQuoteLevel", "decreaseQuoteLevel"] };
  const paint = () => {
    for (const [name, [tag]] of Object.entries(toggles)) bar.querySelector(`[data-edit=${name}]`)?.setAttribute("aria-pressed", String(editor.hasFormat(tag)));
  };
  editor.addEventListener("pathChange", paint);
  editor.addEventListener("select", paint);
  editor.addEventListener("cursor", paint);
  const dialog = form.parentElement.querySelector("[data-mail-link]");
  const images = bar.querySelector("[data-mail-images]");
  bar.addEventListener("click", (event) => {
    const what = event.target.closest("[data-edit]")?.dataset.edit;
    if (!what) return;
    if (toggles[what]) {
      const [tag, on, off] = toggles[what];
      editor[editor.hasFormat(tag) ? off : on]();
    } else if (what === "clear") editor.removeAllFormatting();
    else if (what === "image") return images.click();
    else if (what === "plain") return switchTo("1");
    else if (what === "link") {
      dialog.querySelector("input").value = editor.getSelection().startContainer.parentElement?.closest("a")?.href ?? "https://";
      return dialog.showModal();
    }
    editor.focus();
    paint();
  });
  dialog.addEventListener("close", () => {
    const address = dialog.querySelector("input").value.trim();
    if (dialog.returnValue === "ok" && /^(https?:\/\/|mailto:)\S+$/i.test(address)) editor.makeLink(address);
    if (dialog.returnValue === "remove") editor.removeLink();
    editor.focus();
  });

  for (const button of form.querySelectorAll("[data-mail-insert]"))
    button.addEventListener("click", () => {
      editor.focus();
      editor.insertHTML(button.dataset.html);
    });

  // ── pictures: chosen, pasted or dropped; other files are attached ────────────
  async function shrink(file) {
    const picture = await createImageBitmap(file);
    const scale = Math.min(1, WIDEST / Math.max(picture.width, picture.height));
    if (scale === 1 && file.size < 400_000 && /^image\/(png|jpeg|gif|webp)$/.test(file.type))
      return new Promise((done, failed) => {
        const reader = new FileReader();
        reader.onload = () => done(reader.result);
        reader.onerror = () => failed(reader.error);
        reader.readAsDataURL(file);
      });
    const canvas = document.createElement("canvas");
    canvas.width = Math.round(picture.width * scale);
    canvas.height = Math.round(picture.height * scale);
    const pen = canvas.getContext("2d");
    pen.fillStyle = "#fff";
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
    return canvas.toDataURL("image/jpeg", 0.85);
  }
  async function take(files) {
    const others = [];
    for (const file of files) {
      if (!file.type.startsWith("image/") || file.type === "image/svg+xml") {
        others.push(file);
        continue;
      }
      try {
        editor.insertImage(await shrink(file), { alt: file.name });
      } catch {
        others.push(file); // no picture that this browser can read
      }
    }
    if (!others.length) return;
    const field = form.querySelector("input[type=file][name=files]");
    const all = new DataTransfer();
    for (const file of [...field.files, ...others]) all.items.add(file);
    field.files = all.files;
    field.dispatchEvent(new Event("change", { bubbles: true }));
  }
  images.addEventListener("change", async () => {
    await take([...images.files]);
    images.value = "";
    editor.focus();
  });
  editor.addEventListener("pasteImage", (event) => {
    event.preventDefault();
    take([...(event.detail?.clipboardData?.files ?? [])]);
  });
  root.addEventListener("drop", (event) => {
    if (!event.dataTransfer?.files.length) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    take([...event.dataTransfer.files]);
  }, true);
  root.addEventListener("dragover", (event) => event.preventDefault());
}
