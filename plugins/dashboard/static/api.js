// Talking to the appliance's own API: JSON both ways, failures as one kind of error, and 401 leads to the login page.

const SIGNED_IN = "appliance.signed-in";
const CLOCK_TOLERANCE_SECONDS = 2; // of the Date header, which has whole seconds and is late by the way here

let clockAheadSeconds = 0;

/** A refused or failed request: `status` 0 means that the appliance could not be reached. */
export class ApiError extends Error {
  constructor(status, message, hint = "", field = "", retryAfterSeconds = null) {
    super(message);
    Object.assign(this, { status, hint, field, retryAfterSeconds });
  }
}

/** The appliance's time, as far as its answers have told it: ages are right on a browser whose clock is not. */
export function applianceNow() {
  return Date.now() / 1000 + clockAheadSeconds;
}

function noteClock(date) {
  const ahead = Date.parse(date) / 1000 - Date.now() / 1000;
  if (Number.isFinite(ahead)) clockAheadSeconds = Math.abs(ahead) > CLOCK_TOLERANCE_SECONDS ? ahead : 0;
}

function csrfToken() {
  for (const pair of document.cookie.split("; ")) {
    if (pair.startsWith("csrftoken=")) return decodeURIComponent(pair.slice("csrftoken=".length));
  }
  return "";
}

/** Remember whether this browser has a session, to tell "expired" from "never logged in". */
export function rememberSignedIn(signedIn) {
  try {
    if (signedIn) localStorage.setItem(SIGNED_IN, "1");
    else localStorage.removeItem(SIGNED_IN);
  } catch { /* storage may be forbidden; then the login page says less */ }
}

/** Whether this browser had a session when it last looked. */
export function wasSignedIn() {
  try {
    return localStorage.getItem(SIGNED_IN) === "1";
  } catch {
    return false;
  }
}

/** A path of this origin to return to after login; anything else becomes the overview. */
export function safeNext(value) {
  if (!value || !value.startsWith("/")) return "/";
  const url = new URL(value, location.origin);
  return url.origin === location.origin && !url.pathname.startsWith("//") && url.pathname !== "/login" ? url.pathname + url.search + url.hash : "/";
}

/** Go to the login page and come back here afterwards. */
export function toLogin() {
  location.replace(`/login?${new URLSearchParams({ next: location.pathname + location.search })}`);
}

/**
 * Ask the API; returns the decoded answer (null for an empty one). Options: `method`, `body` (a Blob is sent as it is),
 * `stay` (401 raises).
 */
export async function ask(path, { method = "GET", body, stay = false, signal } = {}) {
  const headers = { Accept: "application/json" };
  const isRaw = body instanceof Blob;
  if (body !== undefined) headers["Content-Type"] = isRaw ? "application/octet-stream" : "application/json";
  if (method !== "GET") {
    const token = csrfToken();
    if (token) headers["X-CSRFToken"] = token;
  }
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: body === undefined || isRaw ? body : JSON.stringify(body), cache: "no-store", credentials: "same-origin", signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The appliance does not answer.", "Is it still running, and is the network or tunnel to it still up?");
  }
  noteClock(answer.headers.get("Date") ?? "");
  if (answer.status === 401 && !stay) {
    toLogin();
    return new Promise(() => {}); // the page is going away
  }
  const read = await answer.text();
  let decoded = null;
  try {
    decoded = read ? JSON.parse(read) : null;
  } catch {
    if (answer.ok) throw new ApiError(answer.status, "The answer could not be read.", "Is something else listening on this address?");
  }
  if (!answer.ok) {
    const retry = Number(answer.headers.get("Retry-After"));
    const message = decoded?.error || decoded?.message || `The appliance answered ${answer.status}.`;
    throw new ApiError(answer.status, String(message), String(decoded?.hint ?? ""), String(decoded?.field ?? ""), retry > 0 ? retry : null);
  }
  return decoded;
}
