// The tokens of this tab, and requests that bear them.

const KEY = "jwt_redis demo";

// In the session storage, so that each tab is a device of its own. (A real page would rather have the refresh token
// in a cookie that scripts cannot read.)
let tokens = JSON.parse(sessionStorage.getItem(KEY) || "null");
// What is about to change the tokens: requests wait for it, and one change for the other.
let changing = Promise.resolve();

/** There are no tokens any more. `reason` is null where this tab has signed itself out. */
export class SignedOut extends Error {
  constructor(reason) {
    super("Signed out");
    this.reason = reason;
  }
}

/** Nobody can say now; the tokens are kept. */
export class Unavailable extends Error {}

/** The server does not want this. `data` says why. */
export class Refused extends Error {
  constructor(data) {
    super("Refused");
    this.data = data ?? {};
  }
}

export const isSignedIn = () => tokens !== null;

/** What the access token says, and how many of its seconds are left. */
export function accessToken() {
  const base64 = tokens.access.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
  const claims = JSON.parse(atob(base64));
  return { sid: claims.sid, lifetime: claims.exp - claims.iat, left: Math.max(0, claims.exp - Date.now() / 1000) };
}

export async function signIn(credentials) {
  const { status, data } = await send("POST", "auth/token/", credentials);
  if (status !== 200) throw new Refused(data);
  keep(data);
}

/** A request with the access token; with a new one where the old has run out. */
export async function ask(method, path, body) {
  for (;;) {
    await settled();
    if (!tokens) throw new SignedOut(null);
    const used = tokens;
    const { status, data } = await send(method, path, body, used.access);
    if (status < 400) return data;
    if (status !== 401) throw new Refused(data);
    await settled();
    // While this was under way, the tokens became others.
    if (tokens !== used) continue;
    // With a reason it was revoked: a refresh would not help.
    if (data?.reason) throw ended(data.reason);
    await change(async () => tokens === used && renew());
  }
}

/** As `ask`, for what ends this session: no request shall find it ended before the answer is here. */
export function askAlone(method, path, body) {
  return change(async () => {
    let { status, data } = await send(method, path, body, tokens?.access);
    if (status === 401 && !data?.reason) {
      await renew();
      ({ status, data } = await send(method, path, body, tokens.access));
    }
    if (status === 401) throw ended(data?.reason);
    if (status >= 400) throw new Refused(data);
    keep(data?.access ? data : null);
    return data;
  });
}

export const signOutHere = () => askAlone("POST", "auth/logout/", { refresh: tokens.refresh });

async function renew() {
  const { status, data } = await send("POST", "auth/token/refresh/", { refresh: tokens.refresh });
  if (status !== 200) throw ended(data?.reason);
  keep(data);
}

function keep(pair) {
  tokens = pair && { access: pair.access, refresh: pair.refresh };
  if (tokens) sessionStorage.setItem(KEY, JSON.stringify(tokens));
  else sessionStorage.removeItem(KEY);
}

function ended(reason) {
  keep(null);
  return new SignedOut(reason ?? "token_not_valid");
}

const settled = () => changing.catch(() => {});

function change(work) {
  const done = settled().then(work);
  changing = done;
  return done;
}

async function send(method, path, body, access) {
  const headers = { Accept: "application/json" };
  if (body) headers["Content-Type"] = "application/json";
  if (access) headers.Authorization = `Bearer ${access}`;
  let response;
  try {
    response = await fetch(`/api/${path}`, { method, headers, body: body && JSON.stringify(body) });
  } catch {
    throw new Unavailable("The server does not answer. Trying again …");
  }
  const data = await response.json().catch(() => null);
  // jwt_redis' answer while Redis cannot be asked.
  if (response.status === 503) {
    throw new Unavailable("Unavailable: Redis does not answer. Nobody is signed out by that.");
  }
  if (response.status >= 500) throw new Unavailable("The server has a problem: its terminal shows which.");
  return { status: response.status, data };
}
