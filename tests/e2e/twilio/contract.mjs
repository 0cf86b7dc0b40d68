// Compares requests with openapi.json, and a proxy that does so with whatever passes through it.

import { readFileSync } from 'node:fs';
import http from 'node:http';

const document = JSON.parse(readFileSync(new URL('openapi.json', import.meta.url), 'utf8'));
const FORM = 'application/x-www-form-urlencoded';

const formats = {
  'phone-number': (value) => /^\+[1-9]\d{6,14}$/.test(value), // or a short code, which byocd's tests do not have
  uri: (value) => URL.canParse(value),
  'date-time': (value) => /^\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\dZ)?$/.test(value) && !Number.isNaN(Date.parse(value)),
  int64: () => true,
};
// What the document says in words only, by operation and parameter.
const words = {
  CreateMessage: {
    Body: (value) => [...value].length <= 1600,
    ValidityPeriod: (value) => Number(value) >= 1 && Number(value) <= 36_000,
  },
};

// What is wrong with a value, as a list.
function problemsOf(name, value, schema) {
  const problems = [];
  const check = (good, text) => { if (!good) problems.push(`${name} ${text}`); };
  if (schema.type === 'integer') check(/^-?\d+$/.test(value), 'is no integer');
  if (schema.type === 'number') check(value !== '' && !Number.isNaN(Number(value)), 'is no number');
  if (schema.type === 'boolean') check(value === 'true' || value === 'false', 'is no boolean');
  if (schema.minimum !== undefined) check(Number(value) >= schema.minimum, `is less than ${schema.minimum}`);
  if (schema.maximum !== undefined) check(Number(value) <= schema.maximum, `is more than ${schema.maximum}`);
  if (schema.minLength !== undefined) check(value.length >= schema.minLength, `has less than ${schema.minLength} characters`);
  if (schema.maxLength !== undefined) check(value.length <= schema.maxLength, `has more than ${schema.maxLength} characters`);
  if (schema.pattern) check(new RegExp(schema.pattern).test(value), `does not match ${schema.pattern}`);
  if (schema.enum) check(schema.enum.includes(value), `is none of ${schema.enum}`);
  if (schema.format) check(formats[schema.format](value), `has not the format ${schema.format}`);
  return problems;
}

// Pairs of a query or form; what is not UTF-8 or not percent-encoded as it should be throws.
function pairsOf(text) {
  if (text === '') return [];
  const decoded = (part) => decodeURIComponent(part.replaceAll('+', '%20'));
  return text.split('&').map((pair) => {
    if (/[^\w.~*%+=-]/.test(pair) || pair.split('=').length !== 2) throw new Error(`'${pair}' is not encoded as a form`);
    return pair.split('=').map(decoded);
  });
}

function problemsOfPairs(text, schemas, required, where) {
  let pairs;
  try {
    pairs = pairsOf(text);
  } catch (error) {
    return [`${where}: ${error.message}`];
  }
  const problems = required.filter((name) => !pairs.some(([given]) => given === name)).map((name) => `${name} is missing`);
  for (const [name, value] of pairs) {
    const schema = schemas[name];
    if (!schema) problems.push(`${name} is unknown in the ${where}`);
    else problems.push(...problemsOf(name, value, schema.type === 'array' ? schema.items : schema));
    if (schema?.type !== 'array' && pairs.filter(([other]) => other === name).length > 1) problems.push(`${name} comes twice`);
  }
  return problems;
}

// The operation that a method and path belong to, and the values in the path.
function find(method, path) {
  for (const [template, operations] of Object.entries(document.paths)) {
    const names = [...template.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
    const match = new RegExp(`^${template.replaceAll('.', '\\.').replaceAll(/\{\w+\}/g, '([^/]+)')}$`).exec(path);
    const operation = match && operations[method.toLowerCase()];
    if (operation) return { operation, values: Object.fromEntries(names.map((name, i) => [name, decodeURIComponent(match[i + 1])])) };
  }
  return null;
}

// { operation: its id, problems: [...] } of a request as Node has it.
export function judge({ method, url, headers, body }) {
  const [path, query = ''] = url.split('?');
  const found = find(method, path);
  if (!found) return { operation: null, problems: [`${method} ${path} is not in the document`] };
  const { operation, values } = found;
  const inPlace = (place) => operation.parameters.filter((parameter) => parameter.in === place);
  const problems = inPlace('path').flatMap(({ name, schema }) => problemsOf(name, values[name], schema));
  problems.push(...problemsOfPairs(query, Object.fromEntries(inPlace('query').map(({ name, schema }) => [name, schema])),
    inPlace('query').filter(({ required }) => required).map(({ name }) => name), 'query'));
  if (operation.security.length > 0) {
    const [, encoded] = /^Basic ([\w+/]+={0,2})$/.exec(headers.authorization ?? '') ?? [];
    if (!/^(AC|SK)[0-9a-fA-F]{32}:.+$/.test(Buffer.from(encoded ?? '', 'base64').toString())) problems.push('no Basic authentication by account or key');
  }
  const type = headers['content-type']?.split(';')[0].trim();
  if (operation.requestBody) {
    const { schema } = operation.requestBody.content[FORM];
    if (type !== FORM) problems.push(`the body is ${type}, not ${FORM}`);
    problems.push(...problemsOfPairs(body, schema.properties, schema.required ?? [], 'form'));
    const form = Object.fromEntries(new URLSearchParams(body));
    for (const [name, good] of Object.entries(words[operation.operationId] ?? {}))
      if (form[name] !== undefined && !good(form[name])) problems.push(`${name} is not what the document describes`);
    if (operation.operationId === 'CreateMessage') {
      if ((form.From === undefined) === (form.MessagingServiceSid === undefined)) problems.push('not one of From and MessagingServiceSid');
      if (!form.Body) problems.push('Body is missing');
    }
  } else if (body !== '') {
    problems.push(`${method} has a body`);
  }
  return { operation: operation.operationId, problems };
}

// Hands requests on to `target` and keeps what judge() says of each, with the parameters that it had.
export class ContractProxy {
  requests = [];

  async start(target) {
    this.server = http.createServer((incoming, outgoing) => {
      const chunks = [];
      incoming.on('data', (chunk) => chunks.push(chunk)).on('end', () => {
        const body = Buffer.concat(chunks);
        const { method, url, headers } = incoming;
        const text = body.toString('latin1'); // a form is ASCII; anything else shows as what it is
        this.requests.push({
          method, url, ...judge({ method, url, headers, body: text }),
          parameters: [...new URLSearchParams(url.split('?')[1]).keys(), ...new URLSearchParams(text).keys()],
        });
        const request = http.request(target + url, { method, headers }, (response) => {
          outgoing.writeHead(response.statusCode, response.headers);
          response.pipe(outgoing);
        });
        request.on('error', () => outgoing.destroy());
        request.end(body);
      });
    });
    await new Promise((resolve) => { this.server.listen(0, '127.0.0.1', resolve); });
    this.url = `http://127.0.0.1:${this.server.address().port}`;
  }

  // Requests of an operation; of all when it is not named.
  of(operation) { return this.requests.filter((request) => !operation || request.operation === operation); }

  stop() {
    this.server?.closeAllConnections();
    this.server?.close();
  }
}
