// Compares requests' answers with an OpenAPI document. Knows the part of JSON Schema that ours uses, and refuses the rest.

import assert from 'node:assert/strict';

const FORMATS = {
  uuid: /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/,
  'date-time': /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/,
  date: /^\d{4}-\d\d-\d\d$/,
  'uri-reference': /^\S*$/,
};
const TYPES = {
  string: (v) => typeof v === 'string', boolean: (v) => typeof v === 'boolean', null: (v) => v === null, array: Array.isArray,
  integer: Number.isInteger, number: (v) => typeof v === 'number', object: (v) => typeof v === 'object' && v !== null && !Array.isArray(v),
};
const ANNOTATIONS = ['description', 'default'];

export class OpenApi {
  constructor(document) {
    this.document = document;
    this.operations = Object.entries(document.paths).flatMap(([path, item]) => Object.entries(item)
      .filter(([method]) => method !== 'parameters')
      .map(([method, operation]) => ({
        method: method.toUpperCase(), path, operation,
        parameters: [...item.parameters ?? [], ...operation.parameters ?? []].map((parameter) => this.resolve(parameter)),
        pattern: new RegExp(`^${path.replaceAll('.', '\\.').replaceAll(/\{\w+\}/g, '[^/]+')}$`), literal: !path.includes('{'),
      })));
  }

  resolve(node) {
    if (!node?.$ref) return node;
    return this.resolve(node.$ref.slice(2).split('/').reduce((at, key) => at[key], this.document));
  }

  // What is served by that method at that address, undefined for what is not described.
  operation(method, target) {
    const path = target.split('?')[0];
    const there = this.operations.filter((each) => each.pattern.test(path));
    // Literal paths go before those with parameters.
    const literal = there.some((each) => each.literal);
    return there.find((each) => each.literal === literal && each.method === (method === 'HEAD' ? 'GET' : method));
  }

  // Fails unless the answer { status, headers, text } is one that the document promises.
  check(method, target, answer) {
    const found = this.operation(method, target);
    const what = `${method} ${target} -> ${answer.status} ${answer.text.slice(0, 300)}`;
    if (!found) {
      assert.ok([400, 404, 405, 413].includes(answer.status), `${what}: nothing is described there`);
      if (method === 'HEAD') return assert.equal(answer.text, '', what);
      return this.conforms(JSON.parse(answer.text), { $ref: '#/components/schemas/Problem' }, what);
    }
    const response = this.resolve(found.operation.responses[answer.status]);
    assert.ok(response, `${what}: no such status is described`);
    for (const name of Object.keys(response.headers ?? {})) {
      if (name !== 'Link') assert.ok(answer.headers[name.toLowerCase()], `${what}: no header ${name}`);
    }
    const [type, media] = Object.entries(response.content ?? {})[0] ?? [];
    if (!type) return assert.equal(answer.text, '', what);
    assert.equal(answer.headers['content-type'], type, what);
    if (method === 'HEAD') return assert.equal(answer.text, '', what);
    if (type.endsWith('json')) this.conforms(JSON.parse(answer.text), media.schema, what);
  }

  conforms(value, schema, where) {
    const { $ref, type, properties = {}, required = [], additionalProperties, propertyNames, minProperties, items, enum: values, const: constant,
      pattern, format, minLength, maxLength, minimum, maximum, ...others } = this.resolve(schema);
    assert.equal($ref, undefined);
    assert.deepEqual(Object.keys(others).filter((key) => !ANNOTATIONS.includes(key)), [], `${where}: this validator does not know them`);
    const says = (good, rule) => assert.ok(good, `${where}: ${JSON.stringify(value)?.slice(0, 200)} is not ${rule}`);
    if (type) says([type].flat().some((each) => TYPES[each](value)), type);
    if (values) says(values.includes(value), values);
    if (constant !== undefined) says(value === constant, constant);
    if (typeof value === 'string') {
      if (pattern) says(new RegExp(pattern).test(value), pattern);
      if (format) says(FORMATS[format].test(value), format);
      says([...value].length >= (minLength ?? 0) && [...value].length <= (maxLength ?? Infinity), `${minLength} to ${maxLength} characters`);
    }
    if (typeof value === 'number') says(value >= (minimum ?? -Infinity) && value <= (maximum ?? Infinity), `${minimum} to ${maximum}`);
    if (Array.isArray(value) && items) for (const [i, each] of value.entries()) this.conforms(each, items, `${where} [${i}]`);
    if (TYPES.object(value)) {
      for (const name of required) assert.ok(name in value, `${where}: ${name} is missing`);
      says(Object.keys(value).length >= (minProperties ?? 0), `of ${minProperties} properties`);
      for (const [name, each] of Object.entries(value)) {
        if (propertyNames) this.conforms(name, propertyNames, `${where} name ${name}`);
        const rule = properties[name] ?? additionalProperties;
        assert.notEqual(rule, false, `${where}: ${name} is not described`);
        if (typeof rule === 'object') this.conforms(each, rule, `${where} .${name}`);
      }
    }
  }
}
