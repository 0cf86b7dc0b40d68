// A database in which there is something of everything, and what of it has to outlive an upgrade, a dump or pg_upgrade.

import { GoogleCalendar } from './google.mjs';

// Fills the stack's database as a tenant's application and its DBA would, and leaves messages in every state.
export async function fill(stack, a) {
  const { db } = stack;
  await GoogleCalendar.connect(stack, a, 'ada');
  await db.query(`
    CREATE TABLE visits (id int PRIMARY KEY, org_id uuid, title text, phone text, starts_at timestamptz, notes bytea);
    SELECT byoc.create_calendar_trigger('visits', '{{title}}', 'starts_at');
    SELECT byoc.create_sms_trigger('visits', '{{phone}}', 'See you: {{title}}', condition => 'NEW.phone IS NOT NULL');
    SELECT byoc.create_webhook_trigger('visits', 'visit.booked');
    INSERT INTO byoc.provider_overrides (name, enabled) VALUES ('stripe', false);
    INSERT INTO byoc.provider_error_overrides VALUES ('twilio', '30007', 'retry_later', 'our own class');
    INSERT INTO byoc.sender_limits (sender, segments_per_second) VALUES ('long_code', NULL)`);
  await db.query(`INSERT INTO byoc.opt_outs (org_id, number, source) VALUES ($1, '+15550130001', 'inbound')`, [a.id]);
  await db.query(`INSERT INTO visits VALUES (1, $1, 'Cleaning', '+15550130002', now(), byoc.encrypt($1, 'allergic to penicillin', 'visits.notes'))`, [a.id]);
  await db.query('SELECT byoc.rotate_organization_key($1)', [a.id]);
  await stack.settled(await stack.send(a, '+15550130003', 'sent'), ['sent']);
  await stack.settled(await stack.send(a, '+15005550001', 'failed'), ['failed']);
  for (const status of ['delivered', 'undelivered', 'expired', 'unknown']) {
    const id = await stack.send(a, '+15550130004', status);
    await stack.settled(id, ['sent']);
    await db.query('UPDATE byoc.messages SET status = $2 WHERE id = $1', [id, status]);
    if (status === 'unknown') await db.query('INSERT INTO byoc.unknown_messages (org_id, message_id) VALUES ($1, $2)', [a.id, id]);
  }
  await db.query(`SELECT byoc.send_sms('+15550130005', 'scheduled', send_at => now() + interval '1 day', org_id => $1)`, [a.id]);
  await db.query(`SELECT byoc.cancel_sms(byoc.send_sms('+15550130005', 'cancelled', send_at => now() + interval '1 day', org_id => $1))`, [a.id]);
  await db.query(`SELECT byoc.send_sms('+15550130005', 'once', send_at => now() + interval '1 day', idempotency_key => 'once', org_id => $1)`, [a.id]);
}

// Every row of the extension's tables that a dump takes along, and what ciphertexts say. `like`: an earlier answer, beside which columns that
// are new do not count. Audit entries come with each change of this database, and are only verified.
export async function data(db, like = {}) {
  const tables = await db.rows(`
    SELECT t.id::regclass::text AS name FROM pg_extension e, unnest(e.extconfig) AS t (id)
    WHERE e.extname = 'pg_byoc' AND t.id::regclass::text !~ '^byoc\.(audit_|installation)' ORDER BY 1`);
  const all = {};
  for (const { name } of tables) {
    const columns = Object.keys(like[name]?.[0] ?? {});
    const rows = (await db.rows(`SELECT to_jsonb(t) AS row FROM ${name} t ORDER BY to_jsonb(t)::text`)).map(({ row }) => row);
    all[name] = columns.length > 0 ? rows.map((row) => Object.fromEntries(columns.map((column) => [column, row[column]]))) : rows;
  }
  all.credentials = await db.rows('SELECT id, byoc.decrypted_fields(org_id, id, version, encrypted_fields) AS fields FROM byoc.organization_api_credentials ORDER BY id');
  all.notes = await db.rows(`SELECT byoc.decrypt(org_id, notes, 'visits.notes') AS notes FROM public.visits`);
  all.broken = await db.rows('SELECT first_broken FROM byoc.verify_audit_log() WHERE first_broken IS NOT NULL');
  return all;
}
