// Leaving files by link: how far they have come, while they go.
const form = document.querySelector("[data-drop]");
form?.addEventListener("submit", (event) => {
  event.preventDefault();
  const [bar, said] = [form.querySelector("progress"), form.querySelector("[data-drop-said]")];
  const button = form.querySelector("button");
  const sent = new XMLHttpRequest();
  const fail = (text) => {
    bar.hidden = true;
    button.disabled = false;
    said.textContent = text;
    said.className = "notice notice-bad";
  };
  sent.open("POST", form.action);
  sent.setRequestHeader("Accept", "application/json");
  sent.upload.onprogress = ({ loaded, total }) => {
    bar.value = (loaded * 100) / total;
    said.textContent = loaded < total ? Math.floor(bar.value) + " %" : form.dataset.checking;
  };
  sent.onload = () => {
    let answer = {};
    try {
      answer = JSON.parse(sent.responseText);
    } catch {}
    if (answer.next) location.href = answer.next;
    else fail(answer.error ?? form.dataset.failed);
  };
  sent.onerror = () => fail(form.dataset.failed);
  bar.hidden = said.hidden = false;
  said.className = "hint";
  button.disabled = true;
  sent.send(new FormData(form));
});
