// The code of an enrolment letter stands behind the # of its address. It is kept
// in this tab until the step that asks for it, and taken out of the address, so
// that neither the history nor a server ever has it.
const name = "letter";

if (document.querySelector("[data-letter-keep]")) {
  const code = decodeURIComponent(location.hash.slice(1)).trim();
  if (/^[0-9A-Za-z -]{4,32}$/.test(code)) {
    sessionStorage.setItem(name, code);
    history.replaceState(null, "", location.pathname);
  }
  const shown = document.querySelector("[data-letter-shown]");
  shown.textContent = sessionStorage.getItem(name) ?? "";
  shown.hidden = shown.textContent === "";
}

const field = document.querySelector("form input.code-paper");
if (field && sessionStorage.getItem(name)) {
  field.value = sessionStorage.getItem(name);
  field.form.addEventListener("submit", () => sessionStorage.removeItem(name));
}
