// Passkeys: <form data-passkey="get|create" data-options="ADDRESS"> asks the
// browser, puts its answer into the field "answer" and sends the form. With
// data-wait a request stands in the name field as well (conditional UI).
const able = "credentials" in navigator && "PublicKeyCredential" in window;

for (const form of document.querySelectorAll("form[data-passkey]")) {
  const said = form.querySelector("[data-passkey-said]");
  const button = form.querySelector("[data-passkey-start]");
  const say = (word) => {
    said.textContent = word ? said.dataset[word] : "";
    said.hidden = !word;
  };
  if (!able || !window.isSecureContext) {
    if (form.hasAttribute("data-wait")) form.remove();
    else {
      button?.remove();
      say("unable");
    }
    continue;
  }
  let waiting = null;
  button?.addEventListener("click", async () => {
    waiting?.abort();
    button.disabled = true;
    button.setAttribute("aria-busy", "true");
    say("");
    try {
      send(form, await ask(form));
    } catch (error) {
      say(word(error));
      button.disabled = false;
      button.removeAttribute("aria-busy");
      button.focus();
      if (form.hasAttribute("data-wait")) wait();
    }
  });
  async function wait() {
    waiting = new AbortController();
    const { signal } = waiting;
    if (!(await window.PublicKeyCredential.isConditionalMediationAvailable?.())) return;
    try {
      send(form, await ask(form, signal));
    } catch {
      // nobody chose a passkey in the name field, or another request took its place
    }
  }
  if (form.hasAttribute("data-wait")) wait();
}

// Tells the browser which passkeys still stand, so that it stops offering those
// that were removed (WebAuthn Level 3 §5.1.10.2).
const accepted = document.querySelector("[data-passkey-accepted]");
if (able && accepted) {
  window.PublicKeyCredential.signalAllAcceptedCredentials?.(JSON.parse(accepted.dataset.passkeyAccepted)).catch(() => {});
}

// ask fetches the options and hands them to the browser.
async function ask(form, signal) {
  const address = new URL(form.dataset.options, location.href);
  if (signal) address.searchParams.set("wait", "1");
  const response = await fetch(address, { credentials: "same-origin", headers: { Accept: "application/json" }, signal });
  if (!response.ok) throw new Error(response.status === 410 ? "expired" : "refused");
  const publicKey = read(await response.json());
  return form.dataset.passkey === "create"
    ? navigator.credentials.create({ publicKey })
    : navigator.credentials.get({ publicKey, ...(signal ? { mediation: "conditional", signal } : {}) });
}

function word(error) {
  if (error.name === "NotAllowedError" || error.name === "AbortError") return "cancelled";
  if (error.name === "InvalidStateError") return "known";
  if (error.name === "NotSupportedError" || error.name === "SecurityError") return "unable";
  return error.message === "expired" ? "expired" : "failed";
}

function send(form, credential) {
  form.elements.answer.value = JSON.stringify(written(credential));
  form.requestSubmit();
}

const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

// read makes the options of their JSON (WebAuthn Level 3 §5.1.8 and §5.1.9), for browsers that cannot.
function read(options) {
  const ids = (list) => list?.map((one) => ({ ...one, id: bytes(one.id) }));
  const made = { ...options, challenge: bytes(options.challenge) };
  if (options.user) made.user = { ...options.user, id: bytes(options.user.id) };
  if (options.excludeCredentials) made.excludeCredentials = ids(options.excludeCredentials);
  if (options.allowCredentials) made.allowCredentials = ids(options.allowCredentials);
  return made;
}

// written is the answer as JSON (WebAuthn Level 3 §5.1.7): by hand, for not
// every browser that has passkeys has toJSON, and some extensions break it.
function written(credential) {
  const { response } = credential;
  const answer = {
    id: credential.id, rawId: text(credential.rawId), type: credential.type,
    authenticatorAttachment: credential.authenticatorAttachment ?? undefined,
    clientExtensionResults: credential.getClientExtensionResults?.() ?? {},
    response: { clientDataJSON: text(response.clientDataJSON) },
  };
  if (response.attestationObject) {
    answer.response.attestationObject = text(response.attestationObject);
    answer.response.transports = response.getTransports?.() ?? [];
  } else {
    answer.response.authenticatorData = text(response.authenticatorData);
    answer.response.signature = text(response.signature);
    if (response.userHandle) answer.response.userHandle = text(response.userHandle);
  }
  return answer;
}
