// The page of a sign-out goes on as soon as the other tools have answered. It
// goes on without this file too, a little later.
const next = document.querySelector("[data-next]");
const frames = [...document.querySelectorAll("iframe")];
const done = Promise.all(frames.map((frame) => new Promise((heard) => frame.addEventListener("load", heard, { once: true }))));
// A frame may have loaded before this script did: a moment's wait covers it.
const soon = new Promise((go) => setTimeout(go, 2500));
Promise.race([done, soon]).then(() => location.replace(next.href));
