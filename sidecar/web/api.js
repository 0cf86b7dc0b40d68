// Requests to the REST API, by the session's cookie.

const BASE = new URL('../api/', document.baseURI);

let csrfToken = '';
export const useCsrfToken = (token) => { csrfToken = token; };

export const apiUrl = (path) => new URL(path, BASE);

// What the server refused, or that it could not be reached (status 0). `errors` names fields.
class ApiError extends Error {
  constructor(status, detail, errors = []) {
    super(detail);
    Object.assign(this, { status, errors });
  }
}

async function problemOf(response) {
  const problem = await response.json().catch(() => null);
  return new ApiError(response.status, problem?.detail ?? 'The server gave no reason.', problem?.errors);
}

// Answers { body, etag }. Throws ApiError.
export async function call(method, path, { body, headers = {} } = {}) {
  let response;
  try {
    response = await fetch(apiUrl(path), {
      method, cache: 'no-store', credentials: 'same-origin',
      headers: {
        ...(body === undefined ? {} : { 'Content-Type': 'application/json' }), ...(method === 'GET' ? {} : { 'X-CSRF-Token': csrfToken }), ...headers,
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new ApiError(0, 'The server cannot be reached. Nothing is lost; try again in a moment.');
  }
  if (!response.ok) {
    const problem = await problemOf(response);
    if (problem.status === 401) dispatchEvent(new Event('session-ended'));
    throw problem;
  }
  return { body: response.status === 204 ? null : await response.json(), etag: response.headers.get('ETag') };
}

export const get = async (path) => (await call('GET', path)).body;

// Sends POST requests that are not done twice when they are sent again because an answer was lost: until one went well, the
// same body gets the same key.
export function onceOnly() {
  let sent;
  let key;
  return async (path, body) => {
    const text = JSON.stringify(body);
    if (text !== sent) key = crypto.getRandomValues(new Uint32Array(4)).join('-');
    sent = text;
    const answer = await call('POST', path, { body, headers: { 'Idempotency-Key': key } });
    sent = undefined;
    return answer.body;
  };
}
