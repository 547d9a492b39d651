// The service worker of the installed portal: without a network, a page that says
// so. It keeps that page and its style, and nothing of anybody's.
const KEPT = "beffroi-offline-1";

async function keep() {
  const cache = await caches.open(KEPT);
  const page = await fetch("/offline", { cache: "reload", credentials: "same-origin" });
  if (!page.ok) throw new Error(String(page.status));
  const text = await page.clone().text();
  await cache.put("/offline", page);
  const styles = [...text.matchAll(/<link rel="(?:stylesheet|icon)" href="([^"]+)"/g)].map((m) => m[1]);
  await cache.addAll(styles);
}
self.addEventListener("install", (event) => event.waitUntil(keep().then(() => self.skipWaiting())));
self.addEventListener("activate", (event) =>
  event.waitUntil(
    caches
      .keys()
      .then((names) => Promise.all(names.filter((n) => n.startsWith("beffroi-") && n !== KEPT).map((n) => caches.delete(n))))
      .then(() => self.clients.claim()),
  ),
);
self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET") return;
  if (request.mode === "navigate") event.respondWith(fetch(request).catch(async () => (await caches.match("/offline")) ?? Response.error()));
  else if (request.destination === "style") event.respondWith(fetch(request).catch(async () => (await caches.match(request)) ?? Response.error()));
});
