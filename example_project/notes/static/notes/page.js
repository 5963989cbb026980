// What is on the page. The tokens are client.js' business.

import { Refused, SignedOut, Unavailable, accessToken, ask, askAlone, isSignedIn, signIn, signOutHere } from "./client.js";

const POLL_MS = 2000;
const SAID_MS = 7000;
const WORDS = {
  session_ended:
    "This session was ended: from another device, by a new password, or because an old copy of its refresh token came back.",
  session_expired: "This session has run out: it was not used for too long, or it was too old.",
  token_blacklisted: "This token was revoked, or it is a refresh token that was used already.",
  user_revoked: "All of your sessions were revoked.",
  all_revoked: "Everybody was signed out.",
  no_session: "The server knows no such session.",
  store_lost: "The server’s memory of sessions was emptied or set back, so everybody signs in again.",
  token_not_valid: "Your tokens are no longer good.",
};

const $ = (id) => document.getElementById(id);
const ago = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "narrow" });
// By session id, as on the page. null before the first list.
let known = null;
let timer, silence;
// Which poll was the last to begin: an older one that answers later has old news.
let turns = 0;
let inTrouble = false;

// Screens -------------------------------------------------------------------------------------------------------

function show(screen) {
  for (const id of ["waiting", "signin", "out", "inside"]) $(id).hidden = id !== screen;
}

function showSignIn(said = "") {
  show("signin");
  say(said);
  $("username").focus();
}

function showSignedOut(reason) {
  $("out-words").textContent = WORDS[reason] ?? "The server does not accept your tokens any more.";
  $("out-reason").textContent = reason;
  show("out");
  say("");
  $("out-title").focus();
}

function enter() {
  known = null;
  $("devices").replaceChildren();
  $("notes").replaceChildren();
  say("");
  return poll();
}

function say(text) {
  clearTimeout(silence);
  if ($("status").textContent !== text) $("status").textContent = text;
  if (text) silence = setTimeout(() => say(""), SAID_MS);
}

// Does it, and shows what came of it. `form`: where a refusal is shown.
async function attempt(work, form) {
  const field = form?.querySelector(".error");
  if (field) field.textContent = "";
  try {
    await work();
    return true;
  } catch (error) {
    if (error instanceof SignedOut) {
      if (error.reason) showSignedOut(error.reason);
    } else if (error instanceof Refused && field) {
      const texts = Object.entries(error.data).filter(([name]) => name !== "code" && name !== "messages");
      field.textContent = texts.flatMap(([, text]) => text).join(" ");
    } else {
      inTrouble = error instanceof Unavailable;
      say(inTrouble ? error.message : `That did not work: ${error.data?.detail ?? error.message}`);
      if (!inTrouble) console.error(error);
    }
    return false;
  }
}

// Polling -------------------------------------------------------------------------------------------------------

async function poll() {
  clearTimeout(timer);
  const turn = ++turns;
  const isOld = () => turn !== turns || !isSignedIn();
  await attempt(async () => {
    const asked = [ask("GET", "auth/sessions/"), ask("GET", "notes/"), known || ask("GET", "me/")];
    const [devices, notes, me] = await Promise.all(asked);
    if (isOld()) return;
    if (!known) $("me").textContent = $("whose").value = me.username;
    if (inTrouble) say("");
    inTrouble = false;
    show("inside");
    showDevices(devices);
    showNotes(notes);
    showLifetime();
  });
  if (!isOld()) timer = setTimeout(poll, POLL_MS);
}

function showLifetime() {
  if (!isSignedIn()) return;
  const { sid, lifetime, left } = accessToken();
  $("sid").textContent = sid;
  $("lifetime").textContent = `Access token: ${Math.ceil(left)} s left, then a refresh`;
  $("left").style.width = `${(100 * left) / lifetime}%`;
}

// Lists are changed in place: what has the focus keeps it.
function update(list, items, keyOf, make, fill) {
  const hadFocus = list.contains(document.activeElement);
  const there = new Map([...list.children].map((row) => [row.dataset.key, row]));
  items.forEach((item, index) => {
    const key = String(keyOf(item));
    const row = there.get(key) ?? make(item);
    row.dataset.key = key;
    there.delete(key);
    fill(row, item);
    if (list.children[index] !== row) list.insertBefore(row, list.children[index] ?? null);
  });
  for (const row of there.values()) row.remove();
  if (hadFocus && !list.contains(document.activeElement)) list.focus();
}

function element(tag, className, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

const nameOf = (device) => device.label || device.device || device.user_agent || "Unknown device";

function showDevices(devices) {
  // The one at hand first, then by sign-in: rows that keep their place can be clicked.
  devices.sort((a, b) => b.current - a.current || b.created_at.localeCompare(a.created_at));
  update($("devices"), devices, (device) => device.sid, makeDevice, (row, device) => {
    row.querySelector(".times").replaceChildren(
      "Signed in ", time(device.created_at), " · active ", time(device.last_refreshed_at),
    );
  });
  $("others").disabled = devices.length < 2;
  const now = new Map(devices.map((device) => [device.sid, nameOf(device)]));
  if (known) {
    const came = [...now].filter(([sid]) => !known.has(sid)).map(([, name]) => `${name} has signed in.`);
    const went = [...known].filter(([sid]) => !now.has(sid)).map(([, name]) => `${name} is signed out.`);
    if (came.length || went.length) say([...came, ...went].join(" "));
  }
  known = now;
}

function makeDevice(device) {
  const row = element("li", device.current ? "current" : "");
  const facts = element("div", "facts");
  const title = element("p", "name", nameOf(device));
  if (device.current) title.append(" ", element("span", "badge", "This device"));
  facts.append(title, element("p", "quiet", `IP ${device.ip || "unknown"}`), element("p", "quiet times"));
  const button = element("button", "", device.current ? "Sign out here" : "Sign out");
  if (!device.current) button.setAttribute("aria-label", `Sign out ${nameOf(device)}, IP ${device.ip}`);
  button.addEventListener("click", () => (device.current ? leave() : end(device.sid)));
  row.append(facts, button);
  return row;
}

function time(iso) {
  const then = new Date(iso);
  const seconds = Math.round((Date.now() - then) / 1000);
  const [unit, size] = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]].find(
    ([, size]) => seconds >= size) ?? ["second", 1];
  const made = element("time", "", seconds < 5 ? "just now" : ago.format(-Math.floor(seconds / size), unit));
  made.dateTime = iso;
  made.title = then.toLocaleString();
  return made;
}

function showNotes(notes) {
  update($("notes"), notes, (note) => note.id, (note) => {
    const row = element("li", "");
    const button = element("button", "link", "Delete");
    button.setAttribute("aria-label", `Delete the note “${note.text}”`);
    button.addEventListener("click", () => attempt(async () => {
      await ask("DELETE", `notes/${note.id}/`);
      await poll();
    }));
    row.append(element("span", "text", note.text), button);
    return row;
  }, () => {});
  $("no-notes").hidden = notes.length > 0;
}

// What one can do -----------------------------------------------------------------------------------------------

const devicesText = (count) => (count === 1 ? "one device" : `${count} devices`);

const end = (sid) => attempt(async () => {
  await ask("DELETE", `auth/sessions/${sid}/`);
  await poll();
});

const leave = () => attempt(async () => {
  await signOutHere();
  showSignIn("You have signed out here.");
});

$("others").addEventListener("click", () => attempt(async () => {
  const { sessions_ended: count } = await ask("POST", "auth/logout/others/");
  await poll();
  say(`Signed out ${devicesText(count)}.`);
}));

$("everywhere").addEventListener("click", () => attempt(async () => {
  const { sessions_ended: count } = await askAlone("POST", "auth/logout/all/");
  showSignIn(`You have signed out everywhere: ${devicesText(count)}.`);
}));

$("again").addEventListener("click", () => showSignIn());

for (const button of document.querySelectorAll("[data-username]")) {
  button.addEventListener("click", () => {
    $("username").value = button.dataset.username;
    $("password").value = button.dataset.password;
    $("signin-form").querySelector("button").focus();
  });
}

function onSubmit(id, work) {
  const form = $(id);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    const worked = await attempt(() => work(Object.fromEntries(new FormData(form))), form);
    button.disabled = false;
    if (worked) form.reset();
  });
}

onSubmit("signin-form", async (credentials) => {
  await signIn(credentials);
  await enter();
  $("devices-title").focus();
});

onSubmit("note-form", async (note) => {
  await ask("POST", "notes/", note);
  await poll();
});

onSubmit("password-form", async (passwords) => {
  await askAlone("POST", "password/", passwords);
  known = null;
  await poll();
  say("The password is changed. Every other device is signed out.");
});

// A tab in the background polls rarely: it looks at once when it comes to the front.
document.addEventListener("visibilitychange", () => document.hidden || !isSignedIn() || poll());
setInterval(showLifetime, 500);

if (isSignedIn()) {
  show("waiting");
  enter();
} else showSignIn();
