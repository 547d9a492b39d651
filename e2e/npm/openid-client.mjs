// A relying party made with openid-client, the library that ProConnect uses. It
// is given a browser by whoever runs it: each line {"open": ADDRESS} on standard
// output asks for one visit, a line on standard input brings back where it ended
// ({"at": ADDRESS}). The last line tells what was learnt, or which step failed.
//
//   node openid-client.mjs proconnect|ordinary '{"issuer": …, "id": …, "secret": …, "redirect": …, "after": …, "mail": …}'
import "./node18.mjs"; // before what needs it
import { createInterface } from "node:readline/promises";
import * as client from "openid-client";

const [mode, settings] = process.argv.slice(2);
const c = JSON.parse(settings);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

async function visit(address) {
  process.stdout.write(JSON.stringify({ open: address }) + "\n");
  const { value, done } = await lines.next();
  if (done) throw new Error("nobody answers");
  return JSON.parse(value).at;
}

// As ProConnect's OidcClientService does.
const parameters = (o) =>
  new URLSearchParams(
    Object.entries(o)
      .filter(([, v]) => v !== undefined && v !== null && v !== "")
      .map(([k, v]) => [k, typeof v === "object" ? JSON.stringify(v) : String(v)]),
  );

async function proconnect() {
  const configuration = await client.discovery(
    new URL(c.issuer + "/.well-known/openid-configuration"),
    c.id,
    {
      client_secret: c.secret,
      response_types: ["code"],
      id_token_signed_response_alg: "ES256",
      userinfo_signed_response_alg: "ES256",
      token_endpoint_auth_method: "client_secret_post",
      revocation_endpoint_auth_method: "client_secret_post",
    },
    client.ClientSecretPost(c.secret),
    {
      timeout: 20,
      execute: [client.allowInsecureRequests], // the provider of the tests is on this machine
      [client.customFetch]: (url, options) => fetch(url, { ...options, headers: { ...options.headers, "accept-encoding": "identity" } }),
    },
  );

  async function signIn(acr) {
    const nonce = client.randomNonce();
    const state = client.randomState();
    const params = {
      scope: "openid uid given_name usual_name email siren siret organizational_unit belonging_population phone chorusdt",
      nonce,
      state,
      redirect_uri: c.redirect,
      acr_values: acr ? null : "eidas1",
      claims: { id_token: { amr: null, acr: acr ?? null } },
      login_hint: c.mail,
      siret_hint: "13002526500013",
      sp_id: "a-service",
      sp_name: "Un service",
      remember_me: false,
    };
    const at = await visit(client.buildAuthorizationUrl(configuration, parameters(params)).href);
    const tokens = await client.authorizationCodeGrant(
      configuration,
      new URL(at),
      { expectedNonce: nonce, expectedState: state },
      { sp_id: "a-service", sp_name: "Un service" },
    );
    const claims = tokens.claims();
    const userinfo = await client.fetchUserInfo(configuration, tokens.access_token, claims.sub);
    return { idToken: tokens.id_token, claims, userinfo };
  }

  // buildEndSessionUrl adds client_id; ProConnect takes it out again.
  const signOut = (idToken) =>
    visit(
      client
        .buildEndSessionUrl(configuration, parameters({ id_token_hint: idToken, post_logout_redirect_uri: c.after }))
        .href.replace(/(&|\?)client_id=[^&]+/, ""),
    );

  const plain = await signIn();
  const strong = await signIn({ essential: true, values: ["eidas0-mfa", "eidas1-mfa", "eidas2", "eidas3"] });
  const least = await signIn({ essential: true, value: "eidas1" });
  let beyond = "a code";
  try {
    await signIn({ essential: true, value: "eidas3" });
  } catch (e) {
    beyond = e instanceof client.AuthorizationResponseError ? e.error : String(e);
  }
  const out = await signOut(plain.idToken);
  return { plain, strong, least, beyond, out };
}

async function ordinary() {
  const configuration = await client.discovery(new URL(c.issuer), c.id, c.secret, undefined, { execute: [client.allowInsecureRequests] });
  const verifier = client.randomPKCECodeVerifier();
  const state = client.randomState();
  const nonce = client.randomNonce();
  const at = await visit(
    client.buildAuthorizationUrl(configuration, {
      redirect_uri: c.redirect,
      scope: "openid profile email groups",
      code_challenge: await client.calculatePKCECodeChallenge(verifier),
      code_challenge_method: "S256",
      state,
      nonce,
    }).href,
  );
  const tokens = await client.authorizationCodeGrant(configuration, new URL(at), {
    pkceCodeVerifier: verifier,
    expectedState: state,
    expectedNonce: nonce,
    idTokenExpected: true,
  });
  const claims = tokens.claims();
  const refreshed = await client.refreshTokenGrant(configuration, tokens.refresh_token);
  const userinfo = await client.fetchUserInfo(configuration, refreshed.access_token, claims.sub);
  const out = await visit(client.buildEndSessionUrl(configuration, { id_token_hint: refreshed.id_token ?? tokens.id_token }).href);
  let after = "tokens";
  try {
    await client.refreshTokenGrant(configuration, refreshed.refresh_token);
  } catch (e) {
    after = e instanceof client.ResponseBodyError ? e.error : String(e);
  }
  return { claims, userinfo, rotated: refreshed.refresh_token !== tokens.refresh_token, out, after };
}

try {
  const learnt = await { proconnect, ordinary }[mode]();
  process.stdout.write(JSON.stringify({ done: learnt }) + "\n");
} catch (e) {
  const cause = e.cause instanceof Response ? `${e.cause.status} ${e.cause.url}` : e.cause && JSON.stringify(e.cause);
  process.stdout.write(JSON.stringify({ failed: [e.code, e.message, cause].filter(Boolean).join(": ") }) + "\n");
}
process.exit(0);
