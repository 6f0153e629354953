// Everything that is said to the server.

/** What the server answered instead of a result. */
export class ApiError extends Error {
  constructor(status, body) {
    super(body.message ?? body.error ?? `The server answered ${status}.`);
    this.status = status;
    this.code = body.code ?? "";
    this.hint = body.hint ?? "";
    this.current = body.current ?? null;
  }
}

/** The session of this browser; `start` fills it. */
export const session = {};

const asked = new Map();

/** Ask who is signed in and what the store holds in outline. */
export async function start() {
  Object.assign(session, await get("/api/session"));
}

/** Ask for what will soon be needed and wait for it: the next `get` of the same takes this answer. */
export function ahead(path, parameters) {
  const address = addressOf(path, parameters);
  const answer = ask(address);
  asked.set(address, answer);
  return answer.catch(() => {});
}

/** Return what a path answers; parameters that are null or undefined are left out. */
export function get(path, parameters = {}, signal = undefined) {
  const address = addressOf(path, parameters);
  const answer = asked.get(address);
  asked.delete(address);
  return answer ?? ask(address, { signal });
}

/** Change something; the header proves that the request comes from this page. */
export function send(method, path, body = {}) {
  return ask(path, {
    method,
    headers: { "Content-Type": "application/json", "X-CSRF-Token": session.csrf ?? "" },
    body: JSON.stringify(body),
  });
}

/** Return the path of one memory. */
export const entityPath = (id, ...rest) => ["/api/entities", encodeURIComponent(id), ...rest].join("/");

function addressOf(path, parameters) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== null && value !== undefined) query.set(name, value);
  }
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, { credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, { error: "The server does not answer.", hint: "Is it still running?" });
  }
  if (response.status === 401) {
    location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
    return new Promise(() => {});
  }
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new ApiError(response.status, body);
  return body;
}
