-- What the planner knows of the tables of work is mostly that they are empty: how much is read must not depend on that.
BEGIN;
\ir support/setup.sql
SELECT plan(8);

SELECT byoc_test.add_twilio(byoc_test.org_a(), 1) AS credential \gset
CREATE FUNCTION byoc_test.lose(messages integer) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM byoc.send_sms('+1555001' || lpad((n % 10)::text, 4, '0'), 'x', org_id => byoc_test.org_a()) FROM generate_series(1, messages) AS n;
    PERFORM byoc.record_outcomes(jsonb_agg(jsonb_build_object('org_id', c.org_id, 'id', c.id, 'claim_id', c.claim_id, 'outcome', 'unknown', 'error_code', 'timeout')))
    FROM byoc_test.claim(messages) AS c;
    UPDATE byoc.reconciliations SET due_at = clock_timestamp();
END $$;
-- How many rows of the table were read so far, by all ways.
CREATE FUNCTION byoc_test.read_of(work regclass) RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables WHERE relid = work;
$$;

SELECT byoc_test.lose(1);
ANALYZE byoc.reconciliations;
SELECT is((SELECT count(*) FROM byoc.claim_reconciliations(8, '0 seconds')), 1::bigint, 'a plan is made for one attempt');
SELECT byoc_test.lose(60);
SELECT byoc_test.read_of('byoc.reconciliations') AS before \gset
SELECT count(*) AS lists FROM byoc.claim_reconciliations(8, '1 minute') \gset
-- By keys some hundreds, by the recipient's index at worst all of them for each; what is due looked for anew for each of them: 300,000.
SELECT cmp_ok(byoc_test.read_of('byoc.reconciliations') - :before, '<', 20000::bigint, 'for sixty each is looked at by itself');

-- Scheduled messages whose time has come
CREATE FUNCTION byoc_test.schedule(messages integer) RETURNS void LANGUAGE sql AS $$
    SELECT byoc.send_sms('+15550010001', 'x', send_at => clock_timestamp() + interval '1 hour', org_id => byoc_test.org_a()) FROM generate_series(1, messages);
    UPDATE byoc.schedule SET due_at = clock_timestamp();
$$;
SELECT byoc_test.schedule(1);
ANALYZE byoc.schedule;
SELECT is(byoc.promote_due(100), 1, 'a plan is made for one scheduled message');
SELECT byoc_test.schedule(200);
SELECT byoc_test.read_of('byoc.schedule') AS before \gset
SELECT is(byoc.promote_due(100), 100, 'of two hundred that are due a hundred are taken');
SELECT cmp_ok(byoc_test.read_of('byoc.schedule') - :before, '<', 2000::bigint, 'each is looked at by itself');

-- Sent messages that nobody called back about
CREATE FUNCTION byoc_test.watch(rows integer) RETURNS void LANGUAGE sql AS $$
    INSERT INTO byoc.receipt_watches (org_id, due_at, message_ids) SELECT byoc_test.org_a(), clock_timestamp(), '{}' FROM generate_series(1, rows);
$$;
SELECT byoc_test.watch(1);
ANALYZE byoc.receipt_watches;
SELECT is_empty('SELECT * FROM byoc.claim_status_checks(8)', 'a plan is made for one');
SELECT byoc_test.watch(200);
SELECT byoc_test.read_of('byoc.receipt_watches') AS before \gset
SELECT is_empty('SELECT * FROM byoc.claim_status_checks(8)', 'a few of two hundred are taken');
SELECT cmp_ok(byoc_test.read_of('byoc.receipt_watches') - :before, '<', 500::bigint, 'each is looked at by itself');

SELECT * FROM finish();
ROLLBACK;
