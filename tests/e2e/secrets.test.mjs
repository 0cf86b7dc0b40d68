// A token that came as a bind parameter is found nowhere but in memory and, sealed, in the table.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { Stack, filesWith } from './stack.mjs';

const TOKEN = 'feedfacefeedface00000000cafecafe';
const stack = new Stack('secrets', {
  // As talkative as PostgreSQL gets.
  settings: {
    log_min_messages: 'debug5', log_statement: 'all', log_min_duration_statement: 0, log_parameter_max_length: -1,
    log_parameter_max_length_on_error: -1, log_error_verbosity: 'verbose', debug_print_parse: 'on',
  },
  env: { BYOC_LOG_LEVEL: 'debug' },
});
let a, fields;

after(() => stack.end());
before(async () => {
  await stack.start();
  a = await stack.organization(1);
  await stack.simulator.addAccount({ ...a.account, authToken: TOKEN }, 'with the token to look for');
  fields = { account_sid: a.account.sid, auth_token: TOKEN, phone_number: a.account.number };
  await stack.db.query(`SELECT byoc.set_org($1, 'ada', 'owner', local => false)`, [a.id]);
});

test('every way of giving a credential, and its use and misuse', async () => {
  const { db } = stack;
  await db.query('SELECT byoc.add_credential($1, $2)', ['twilio', fields]);
  const [added] = await db.rows('INSERT INTO byoc.credentials (credential_type, display_name, fields) VALUES ($1, $2, $3) RETURNING *', ['twilio', 'second', fields]);
  assert.equal(added.fields.auth_token, '••••cafe');
  await db.query('UPDATE byoc.credentials SET fields = $1 WHERE id = $2', [fields, a.credential]);
  await db.query('SELECT byoc.update_credential($1, $2)', [a.credential, { auth_token: TOKEN }]);
  await db.query('SELECT byoc.decrypt($1, byoc.encrypt($1, $2))', [a.id, TOKEN]);
  // Wrong in each way that makes PostgreSQL or us complain while holding the token.
  await assert.rejects(db.query('SELECT byoc.add_credential($1, $2)', ['twilio', { ...fields, account_sid: 'AC1' }]), /account_sid must be AC followed by 32/);
  await assert.rejects(db.query('SELECT byoc.add_credential($1, $2)', ['twilio', { ...fields, nick_name: 'x' }]), /has no field "nick_name"/);
  await assert.rejects(db.query('SELECT byoc.add_credential($1, $2)', ['twilio', `{"auth_token": "${TOKEN}`]), /^(?!.*feedface).*not valid JSON/);
  await assert.rejects(db.query('SELECT byoc.add_credential($1, $2::jsonb)', ['twilio', `{"auth_token": "${TOKEN}`]), { code: '22P02' });
  await assert.rejects(db.query('SELECT byoc.add_credential($1, $2, display_name => $3)', ['twilio', fields, 'x'.repeat(201)]), /display_name/);
  await assert.rejects(db.query('SELECT byoc.add_credential($1, $2, 1 / 0)', ['twilio', fields]));
  // Literals, too, are kept out of the log, also behind PREPARE and however the names are written.
  const literal = JSON.stringify(fields);
  await db.query(`SELECT byoc . "add_credential" ('twilio', '${literal}')`);
  await db.query(`PREPARE add (text) AS SELECT byoc.add_credential('twilio', $1)`);
  await db.query(`EXECUTE add ('${literal}')`);
  await db.query(`PREPARE "Add json" (jsonb) AS SELECT byoc.add_credential('twilio', $1)`);
  await assert.rejects(db.query(`EXECUTE "Add json" ('{"auth_token": "${TOKEN}" oops}')`), { code: '22P02' });
  await assert.rejects(db.query(`SELECT byoc.encrypt('${TOKEN} execute x', 'y')`), { code: '22P02' });
  await assert.rejects(db.query(`SELECT byoc.add_credential('${literal}', '{}')`), /unknown credential type/);
  await assert.rejects(db.query(`SET byoc . "token" = '${TOKEN}'`), { code: '28000' });
  // Used: byocd opens it and sends.
  const message = await stack.settled(await stack.send(a, '+15551000001', 'hello'));
  assert.equal(message.status, 'sent');
});

test('the token is neither in the data directory nor in a log', async () => {
  await stack.db.query('CHECKPOINT');
  const log = readFileSync(stack.cluster.log, 'utf8');
  assert.ok(log.includes('withheld by pg_byoc'), 'the statements were logged, without their text');
  assert.match(log, /ERROR: +22023: account_sid must be AC followed by/, 'an error of ours keeps its severity and message');
  assert.ok(readFileSync(stack.byocdLog, 'utf8').includes('debug'), 'byocd logs at debug level');
  assert.deepEqual(filesWith(stack.cluster.env.PGDATA, TOKEN), []);
  for (const log of [stack.cluster.log, stack.byocdLog]) assert.equal(readFileSync(log).includes(TOKEN), false, log);
});

test('the token is in no command line, environment or statement that others can see', async () => {
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    for (const file of ['cmdline', 'environ']) {
      let text = '';
      try { text = readFileSync(`/proc/${pid}/${file}`, 'latin1'); } catch { continue; } // gone, or another user's
      assert.equal(text.includes(TOKEN), false, `/proc/${pid}/${file}`);
    }
  }
  assert.equal(await stack.db.value('SELECT count(*)::int FROM pg_stat_activity WHERE query LIKE $1', [`%${TOKEN}%`]), 0);
});

test('byocd leaves no core dump', async () => {
  const limits = readFileSync(`/proc/${stack.byocd.program.pid}/limits`, 'utf8');
  assert.match(limits, /^Max core file size\s+0\s+0\s/m);
});
