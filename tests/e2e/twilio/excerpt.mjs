// Makes openapi.json, the part of Twilio's OpenAPI document that byocd uses, from the whole ones: spec/json/*.json of
// https://github.com/twilio/twilio-oai.
//
//   node tests/e2e/twilio/excerpt.mjs twilio_api_v2010.json twilio_messaging_v1.json >tests/e2e/twilio/openapi.json

import { readFileSync } from 'node:fs';

const wanted = {
  '/2010-04-01/Accounts/{Sid}.json': ['get'],
  '/2010-04-01/Accounts/{AccountSid}/Messages.json': ['get', 'post'],
  '/2010-04-01/Accounts/{AccountSid}/Messages/{Sid}.json': ['get'],
  '/2010-04-01/Accounts/{AccountSid}/IncomingPhoneNumbers.json': ['get'],
  '/2010-04-01/Accounts/{AccountSid}/OutgoingCallerIds.json': ['get'],
  '/v1/Services/{Sid}': ['get'],
};

const [api, messaging] = process.argv.slice(2).map((file) => JSON.parse(readFileSync(file, 'utf8')));
const documentOf = (path) => (path.startsWith('/v1') ? messaging : api);

// A schema without prose, what it refers to put in its place.
function schemaOf(schema) {
  if (schema.$ref) return schemaOf(schema.$ref.split('/').slice(1).reduce((at, name) => at[name], api));
  const keep = ['type', 'format', 'pattern', 'minLength', 'maxLength', 'minimum', 'maximum', 'enum', 'required'];
  const kept = Object.fromEntries(keep.filter((name) => name in schema).map((name) => [name, schema[name]]));
  if (schema.items) kept.items = schemaOf(schema.items);
  if (schema.properties) kept.properties = Object.fromEntries(Object.entries(schema.properties).map(([name, value]) => [name, schemaOf(value)]));
  return kept;
}

const operationOf = ({ operationId, security, parameters = [], requestBody }) => ({
  operationId,
  security,
  parameters: parameters.map(({ name, in: place, required, schema }) => ({ name, in: place, ...(required && { required }), schema: schemaOf(schema) })),
  ...(requestBody && {
    requestBody: { content: Object.fromEntries(Object.entries(requestBody.content).map(([type, { schema }]) => [type, { schema: schemaOf(schema) }])) },
  }),
});

console.log(JSON.stringify({
  openapi: api.openapi,
  info: {
    title: `${api.info.title} and ${messaging.info.title}, an excerpt`, version: api.info.version,
    license: { name: 'MIT', identifier: 'MIT' }, 'x-copyright': 'Copyright (C) 2023, Twilio, Inc.',
  },
  paths: Object.fromEntries(Object.entries(wanted).map(([path, methods]) => (
    [path, Object.fromEntries(methods.map((method) => [method, operationOf(documentOf(path).paths[path][method])]))]))),
  components: { securitySchemes: api.components.securitySchemes },
}, null, 1));
