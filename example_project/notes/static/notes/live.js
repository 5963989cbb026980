// Asks every two seconds whether this device is still signed in, and which others are. Without it a page finds out at
// its next click. With the switch on it is told at once, over an event stream.

const PAUSE = 2000;
const SHOWN = 8000;
// How long "you were signed out" is there before the page says why.
const FAREWELL = 1500;
const KEPT = "demo-at-once";

const news = document.getElementById("news");
// The devices and notes that the page is known to show.
let seen = null;
let hiding;
// Something was asked of the server by a click, and what comes of it is for its answer to say.
let isBusy = false;
// How often something was changed from this page: an answer to what was asked before that knows nothing of it.
let changes = 0;

async function look() {
  const before = changes;
  let now;
  try {
    const answer = await fetch(news.dataset.live, { headers: { Accept: "application/json" } });
    if (!answer.ok) return;
    now = await answer.json();
  } catch {
    // The server is away; it may come back.
    return;
  }
  if (isBusy || before !== changes) return;
  if (!now.is_signed_in) {
    // A GET, whatever made this page: its answer says why.
    location.replace(location.pathname + location.search);
    return;
  }
  if (seen) tell(seen, now);
  seen = now;
}

function tell(before, now) {
  const names = (some, others) => Object.keys(some).filter((sid) => !(sid in others)).map((sid) => some[sid]);
  const came = names(now.devices, before.devices).map((name) => `${name} has signed in.`);
  const went = names(before.devices, now.devices).map((name) => `${name} was signed out.`);
  const isOther = JSON.stringify(now.devices) !== JSON.stringify(before.devices);
  if (isOther) renew("#jwt-sessions");
  if (String(now.notes) !== String(before.notes)) renew("#notes");
  if (came.length || went.length) say([...came, ...went].join(" "));
}

function renew(selector) {
  const part = document.querySelector(selector);
  // Not under the hands of somebody who fills in a name.
  if (!part || part.querySelector("details[open]") || part.contains(document.activeElement)) return;
  htmx.ajax("GET", location.pathname + location.search, { target: selector, select: selector, swap: "outerHTML" });
}

function say(text) {
  news.textContent = text;
  clearTimeout(hiding);
  hiding = setTimeout(() => { news.textContent = ""; }, SHOWN);
}

let stream;

function listen(isOn) {
  stream?.close();
  stream = isOn ? new EventSource(news.dataset.events) : undefined;
  stream?.addEventListener("session-ended", () => {
    listen(false);
    if (isBusy) return;
    isBusy = true;
    clearTimeout(hiding);
    news.textContent = "You were signed out.";
    setTimeout(() => location.replace(location.pathname + location.search), FAREWELL);
  });
  // "token-expired" needs no answer: the browser comes again, and is refreshed in passing.
}

if (news) {
  const atOnce = document.getElementById("at-once");
  atOnce.closest("[hidden]").hidden = false;
  atOnce.checked = localStorage.getItem(KEPT) === "yes";
  atOnce.addEventListener("change", () => {
    localStorage.setItem(KEPT, atOnce.checked ? "yes" : "no");
    listen(atOnce.checked);
  });
  listen(atOnce.checked);
  // A page that the browser keeps in memory keeps no stream.
  addEventListener("pagehide", () => listen(false));
  addEventListener("pageshow", ({ persisted }) => { if (persisted) listen(atOnce.checked); });
  addEventListener("beforeunload", () => { isBusy = true; });
  // Back again, from the browser's own memory of the page.
  addEventListener("pageshow", () => { isBusy = false; });
  document.body.addEventListener("htmx:beforeRequest", ({ detail }) => {
    if (detail.requestConfig.verb !== "post") return;
    isBusy = true;
    // What was changed from this page is no news.
    seen = null;
    changes += 1;
  });
  document.body.addEventListener("htmx:afterRequest", () => { isBusy = false; });
  (async function keepLooking() {
    await look();
    setTimeout(keepLooking, PAUSE);
  })();
}
