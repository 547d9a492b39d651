// The application of docs/integration/spa.md. The test reads what it writes into #state.
import { UserManager, WebStorageStateStore } from "oidc-client-ts";

const state = document.querySelector("#state");
const manager = new UserManager({
  authority: document.body.dataset.issuer,
  client_id: "spa",
  redirect_uri: location.origin + "/callback",
  post_logout_redirect_uri: location.origin + "/",
  scope: "openid profile",
  loadUserInfo: true,
  automaticSilentRenew: false,
  userStore: new WebStorageStateStore({ store: sessionStorage }),
});

document.querySelector("#in").addEventListener("click", () => manager.signinRedirect());
document.querySelector("#out").addEventListener("click", () => manager.signoutRedirect());
document.querySelector("#renew").addEventListener("click", async () => {
  const before = await manager.getUser();
  const after = await manager.signinSilent();
  state.textContent = after.access_token !== before.access_token && after.profile.sub === before.profile.sub ? "renewed" : "the same token";
});

try {
  if (location.pathname === "/callback") {
    await manager.signinRedirectCallback();
    history.replaceState({}, "", "/");
  }
  const user = await manager.getUser();
  state.textContent = user ? "in as " + user.profile.preferred_username + " " + user.profile.name : "out";
} catch (e) {
  state.textContent = "failed: " + e;
}
