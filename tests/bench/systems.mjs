// The systems that are compared. Each turns rows into requests to the same provider:
//
//   template                     the database that runs copy (Bed.fresh)
//   prepare(bed)                 makes it: with table `leads`, whose trigger queues a message for each row
//   organizations(db)            what may go into leads.org_id; peers know no organizations
//   fill(db, count, only)        queues messages, committed; only: of that organization
//   left                         SQL: how many messages are not done yet, cheaply: it is asked while time runs
//   check(db, count)             optional: raises unless all of them are recorded as accepted
//   start(bed, database, inFlight)   a worker, loaded but idle: { pids, begin(), stop() }

import { readFileSync, rmSync } from 'node:fs';
import { until } from '../../scripts/run.mjs';
import { Byocd } from '../../scripts/stack.mjs';
import { account } from './bed.mjs';
import { setUpPeer, startPeer } from './peers.mjs';

const LEADS = 'CREATE TABLE leads (id bigserial PRIMARY KEY, org_id uuid, phone text NOT NULL, body text NOT NULL)';
// In INSERT INTO leads ... SELECT FROM generate_series(1, n) AS g.
export const PHONE = `'+1555' || (1000000 + g)`;
export const BODY = `'Hello from the bench, this is message ' || g || ' and as long as they usually are.'`;

// What the peers' documentation has for queuing from SQL, as a row trigger on leads.
const peerTrigger = (statements) => `
  CREATE FUNCTION queue_lead() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ${statements} RETURN NULL; END $$;
  CREATE TRIGGER queue_lead AFTER INSERT ON leads FOR EACH ROW EXECUTE FUNCTION queue_lead()`;

// pg_byoc with so many organizations, each with an account of its own: messages go around among them.
export function byoc(organizations) {
  return {
    name: organizations === 1 ? 'pg_byoc' : `pg_byoc, ${organizations.toLocaleString('en-US')} organizations`,
    template: `byoc_${organizations}`,
    left: 'SELECT ((SELECT count(*) FROM byoc.queue) + (SELECT coalesce(sum(unsettled), 0) FROM byoc.claims))::int',

    prepare(bed) {
      return bed.template(this.template, async (db, database) => {
        await db.query(`CREATE EXTENSION pg_byoc; ${LEADS}`);
        await db.query(`DO $$ BEGIN IF to_regrole('byocd') IS NULL THEN CREATE ROLE byocd LOGIN; END IF; END $$`);
        await db.query(`SELECT byoc.grant_dispatcher('byocd')`);
        await db.query(`SELECT byoc.create_sms_trigger('leads', '{{phone}}', '{{body}}')`);
        for (let number = 1; number <= organizations; ++number) await addOrganization(db, number);
        await verifyCredentials(bed, db, database);
      });
    },
    adopt: (db) => db.query('SELECT byoc.adopt_installation()'),
    async check(db, count) {
      const accepted = await db.value('SELECT count(provider_sid)::int FROM byoc.sms_messages');
      if (accepted !== count) throw new Error(`${accepted} messages have their provider's id instead of ${count}`);
    },
    organizations: async (db) => (await db.rows('SELECT id FROM byoc.organizations ORDER BY id')).map(({ id }) => id),

    fill: (db, count, only) => db.query(`
      WITH o AS (SELECT id, row_number() OVER (ORDER BY id) AS number, count(*) OVER () AS size
                 FROM byoc.organizations WHERE $2::uuid IS NULL OR id = $2)
      INSERT INTO leads (org_id, phone, body)
      SELECT o.id, ${PHONE}, ${BODY} FROM generate_series(1, $1::int) AS g JOIN o ON o.number = g % o.size + 1 ORDER BY g`, [count, only]),

    // `more`: further settings of byocd. The worker also has a `url`.
    async start(bed, database, inFlight, more = {}) {
      const env = { BYOC_MAX_IN_FLIGHT: String(inFlight), ...more };
      if (organizations === 1) env.BYOC_MAX_IN_FLIGHT_PER_ACCOUNT = env.BYOC_MAX_IN_FLIGHT; // nobody to leave slots to
      const log = `${bed.run.folder}/byocd.log`;
      rmSync(log, { force: true });
      // It tries to connect again until it may: loaded, as peers are that wait for their signal.
      await bed.admin.query('ALTER ROLE byocd NOLOGIN');
      const { program, url } = await Byocd.launch(bed.run, bed.cluster, { database, simulator: bed.simulator, log, env });
      await until('byocd to be loaded', () => readFileSync(log, 'utf8').includes('not permitted to log in'));
      return {
        pids: [program.pid],
        url,
        begin: () => bed.admin.query('ALTER ROLE byocd LOGIN'),
        stop: () => program.stop('SIGKILL'),
      };
    },
  };
}

async function addOrganization(db, number) {
  const { sid, authToken, service } = account(number);
  const id = await db.value('SELECT byoc.create_organization($1)', [`Organization ${number}`]);
  await db.query('SELECT byoc.add_credential($1, $2, org_id => $3)', [
    'twilio', { account_sid: sid, auth_token: authToken, messaging_service_sid: service }, id,
  ]);
}

// A new credential is checked by byocd: let it, once.
async function verifyCredentials(bed, db, database) {
  const byocd = await Byocd.start(bed.run, bed.cluster, { database, simulator: bed.simulator });
  await until('the credentials to be verified', () => db.value(`
    SELECT count(*) = 0 FROM byoc.credentials WHERE verification_status <> 'verified'`), { timeout: 120_000 });
  await byocd.program.stop();
}

// So many processes: one costs least, two are faster while the provider is. The best settings that were found for each.
export function graphile(processes) {
  return {
    name: processes === 1 ? 'graphile-worker' : `graphile-worker, ${processes} processes`,
    template: 'graphile',
    left: 'SELECT count(*)::int FROM graphile_worker._private_jobs',

    prepare(bed) {
      return bed.template(this.template, async (db, database) => {
        await setUpPeer(bed, database, 'graphile_worker');
        await db.query(`${LEADS}; ${peerTrigger(`
          PERFORM graphile_worker.add_job('send_sms', json_build_object('phone', new.phone, 'body', new.body));`)}`);
      });
    },
    organizations: () => [null],

    fill: (db, count) => db.query(`
      SELECT count(*) FROM graphile_worker.add_jobs(ARRAY(
        SELECT ('send_sms', json_build_object('phone', ${PHONE}, 'body', ${BODY}), NULL, NULL, NULL, NULL, NULL, NULL)::graphile_worker.job_spec
        FROM generate_series(1, $1::int) AS g))`, [count]),

    start(bed, database, inFlight) {
      const each = Math.ceil(inFlight / processes);
      return startPeer(bed, database, 'graphile_worker', processes, {
        BENCH_CONNECTIONS: each, BENCH_CONCURRENCY: each, BENCH_POOL: Math.min(each + 1, 50),
        BENCH_LOCAL_QUEUE: Math.max(500, 5 * each), BENCH_REFETCH_MS: 10, BENCH_COMPLETE_MS: 250,
      });
    },

    // The same set for a short way instead of a wide one: no queue of its own, nothing saved up.
    startPrompt(bed, database) {
      return startPeer(bed, database, 'graphile_worker', 1, {
        BENCH_CONNECTIONS: 10, BENCH_CONCURRENCY: 10, BENCH_POOL: 12, BENCH_LOCAL_QUEUE: 0, BENCH_COMPLETE_MS: -1,
      });
    },
  };
}

export const boss = {
  name: 'pg-boss',
  template: 'boss',
  left: `SELECT count(*)::int FROM pgboss.job WHERE name = 'send_sms' AND state < 'completed'`,

  prepare(bed) {
    return bed.template(this.template, async (db, database) => {
      await setUpPeer(bed, database, 'pg_boss');
      await db.query(`${LEADS}; ${peerTrigger(`
        INSERT INTO pgboss.job (name, data) VALUES ('send_sms', jsonb_build_object('phone', new.phone, 'body', new.body));
        PERFORM pg_notify('pgboss_' || left(encode(sha224('pgboss'), 'hex'), 24), 'send_sms');`)}`);
    });
  },
  organizations: () => [null],

  fill: (db, count) => db.query(`
    INSERT INTO pgboss.job (name, data)
    SELECT 'send_sms', jsonb_build_object('phone', ${PHONE}, 'body', ${BODY}) FROM generate_series(1, $1::int) AS g`, [count]),

  start(bed, database, inFlight) {
    return startPeer(bed, database, 'pg_boss', 1, {
      BENCH_CONNECTIONS: inFlight, BENCH_CONCURRENCY: 4, BENCH_BATCH: 250, BENCH_POOL: 10,
    });
  },
};
