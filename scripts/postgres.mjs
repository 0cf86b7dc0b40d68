// A small PostgreSQL client for demo and tests: no packages, so nothing to install.
// Unix socket, trusted connections, text format. Parameters travel as bind parameters, never as SQL text.
// Protocol: https://www.postgresql.org/docs/15/protocol-message-formats.html

import { EventEmitter, once } from 'node:events';
import { connect as connectSocket } from 'node:net';

const PROTOCOL_3_0 = 196608;

const asNumber = Number;
const PARSERS = new Map([
  [16, (text) => text === 't'], // boolean
  [20, asNumber], [21, asNumber], [23, asNumber], [26, asNumber], // int8, int2, int4, oid
  [700, asNumber], [701, asNumber], // float4, float8
  [114, JSON.parse], [3802, JSON.parse], // json, jsonb
]);

// What the server reported: message, code (SQLSTATE), detail, hint, where.
export class PostgresError extends Error {
  constructor(fields) {
    super(fields.M);
    this.name = 'PostgresError';
    Object.assign(this, { severity: fields.V, code: fields.C, detail: fields.D, hint: fields.H, where: fields.W });
  }
}

// Emits 'notification' ({ channel, payload, pid }), 'notice' (PostgresError) and 'close'.
// It keeps this process alive only while an answer is outstanding: a test that fails half-way still ends.
export class Connection extends EventEmitter {
  #socket;
  #input = Buffer.alloc(0);
  #waiting = []; // queries whose answers are outstanding, oldest first
  #closed = null;
  pid = null;

  constructor(socket) {
    super();
    this.#socket = socket;
    socket.on('data', (chunk) => this.#read(chunk));
    socket.on('error', (error) => this.#fail(error));
    socket.on('close', () => this.#fail(new Error('the server closed the connection')));
  }

  // Runs SQL; answers { rows, command } of its last statement. With params it must be one statement with $1, $2, ...
  // Objects go as JSON, null and undefined as NULL, everything else as its text.
  query(sql, params) {
    const messages = params === undefined
      ? [message('Q', cstring(sql))]
      : [
        message('P', cstring(''), cstring(sql), int16(0)),
        message('B', cstring(''), cstring(''), int16(0), int16(params.length), ...params.map(bindValue), int16(0)),
        message('D', Buffer.from('P'), cstring('')),
        message('E', cstring(''), int32(0)),
        message('S'),
      ];
    return this.#send(messages);
  }

  // Calls a function by its oid, as PQfn does: no statement at all. Arguments and result as text.
  call(oid, params) {
    return this.#send([message('F', int32(oid), int16(0), int16(params.length), ...params.map(bindValue), int16(0))]);
  }

  // The first column of the first row, undefined without rows.
  async value(sql, params) {
    const { rows } = await this.query(sql, params);
    return rows.length ? Object.values(rows[0])[0] : undefined;
  }

  async rows(sql, params) {
    return (await this.query(sql, params)).rows;
  }

  async end() {
    if (this.#closed) return;
    this.#socket.ref();
    this.#socket.end(message('X'));
    await once(this.#socket, 'close');
  }

  // Gives up on a server that may never answer; what waits for it fails.
  abandon() { this.#fail(new Error('abandoned')); }

  startup(parameters) {
    const body = [int32(PROTOCOL_3_0), ...Object.entries(parameters).flat().map(cstring), Buffer.from([0])];
    return this.#send([frame('', body)]);
  }

  #send(messages) {
    if (this.#closed) return Promise.reject(this.#closed);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject, error: null, columns: [], result: { rows: [], command: null } });
      this.#socket.ref();
      this.#socket.write(Buffer.concat(messages));
    });
  }

  #read(chunk) {
    this.#input = Buffer.concat([this.#input, chunk]);
    while (this.#input.length >= 5) {
      const size = this.#input.readInt32BE(1) + 1;
      if (this.#input.length < size) return;
      const type = String.fromCharCode(this.#input[0]);
      const body = new Reader(this.#input.subarray(5, size));
      this.#input = this.#input.subarray(size);
      this.#handle(type, body);
    }
  }

  #handle(type, body) {
    const query = this.#waiting[0];
    switch (type) {
      case 'R':
        if (body.int32() !== 0) this.#fail(new Error('the server asks for a password; this client has none'));
        break;
      case 'K': this.pid = body.int32(); break;
      case 'T':
        query.columns = body.columns();
        query.result = { rows: [], command: null };
        break;
      case 'D': query.result.rows.push(body.row(query.columns)); break;
      case 'C':
        if (query.result.command !== null) query.result = { rows: [], command: null };
        query.result.command = body.cstring();
        break;
      case 'E': {
        const error = new PostgresError(body.fields());
        if (query) query.error ??= error;
        if (error.severity === 'FATAL') this.#fail(error);
        break;
      }
      case 'N': this.emit('notice', new PostgresError(body.fields())); break;
      case 'A': {
        const [pid, channel, payload] = [body.int32(), body.cstring(), body.cstring()];
        this.emit('notification', { channel, payload, pid });
        break;
      }
      case 'Z':
        this.#waiting.shift();
        if (this.#waiting.length === 0) this.#socket.unref();
        if (query.error) query.reject(query.error);
        else query.resolve(query.result);
        break;
      default: // parse, bind and close complete, parameter status: nothing to do
    }
  }

  #fail(error) {
    if (this.#closed) return;
    this.#closed = error;
    this.#socket.destroy();
    for (const query of this.#waiting.splice(0)) query.reject(query.error ?? error);
    this.emit('close', error);
  }
}

// Options: host (socket folder), port, user, database, and any setting, such as application_name.
export async function connect({ host, port = 5432, ...parameters }) {
  const socket = connectSocket(`${host}/.s.PGSQL.${port}`);
  await once(socket, 'connect');
  const connection = new Connection(socket);
  await connection.startup({ client_encoding: 'UTF8', ...parameters });
  return connection;
}

class Reader {
  #bytes;
  #at = 0;
  constructor(bytes) { this.#bytes = bytes; }

  int16() { this.#at += 2; return this.#bytes.readInt16BE(this.#at - 2); }
  int32() { this.#at += 4; return this.#bytes.readInt32BE(this.#at - 4); }
  text(length) { this.#at += length; return this.#bytes.toString('utf8', this.#at - length, this.#at); }
  cstring() {
    const text = this.text(this.#bytes.indexOf(0, this.#at) - this.#at);
    this.#at += 1;
    return text;
  }

  columns() {
    return Array.from({ length: this.int16() }, () => {
      const name = this.cstring();
      this.int32(); // table
      this.int16(); // its column
      const type = this.int32();
      this.int16(); // size
      this.int32(); // modifier
      this.int16(); // format
      return { name, parse: PARSERS.get(type) ?? String };
    });
  }

  row(columns) {
    this.int16();
    return Object.fromEntries(columns.map(({ name, parse }) => {
      const length = this.int32();
      return [name, length < 0 ? null : parse(this.text(length))];
    }));
  }

  fields() {
    const fields = {};
    while (this.#bytes[this.#at] !== 0) {
      const key = this.text(1);
      fields[key] = this.cstring();
    }
    return fields;
  }
}

function int16(value) { const bytes = Buffer.alloc(2); bytes.writeInt16BE(value); return bytes; }
function int32(value) { const bytes = Buffer.alloc(4); bytes.writeInt32BE(value); return bytes; }
function cstring(text) { return Buffer.from(`${text}\0`, 'utf8'); }

function bindValue(value) {
  if (value === null || value === undefined) return int32(-1);
  const text = typeof value === 'object' && !(value instanceof Date) ? JSON.stringify(value)
    : value instanceof Date ? value.toISOString() : String(value);
  const bytes = Buffer.from(text, 'utf8');
  return Buffer.concat([int32(bytes.length), bytes]);
}

function frame(type, body) {
  const size = body.reduce((sum, part) => sum + part.length, 4);
  return Buffer.concat([Buffer.from(type), int32(size), ...body]);
}
function message(type, ...body) { return frame(type, body); }
