-- What the planner knows of byoc.reconciliations is mostly that it is empty: how much is read must not depend on that.
BEGIN;
\ir support/setup.sql
SELECT plan(2);

SELECT byoc_test.add_twilio(byoc_test.org_a(), 1) AS credential \gset
CREATE FUNCTION byoc_test.lose(messages integer) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM byoc.send_sms('+1555001' || lpad((n % 10)::text, 4, '0'), 'x', org_id => byoc_test.org_a()) FROM generate_series(1, messages) AS n;
    PERFORM byoc.record_outcomes(jsonb_agg(jsonb_build_object('org_id', c.org_id, 'id', c.id, 'claim_id', c.claim_id, 'outcome', 'unknown', 'error_code', 'timeout')))
    FROM byoc_test.claim(messages) AS c;
    UPDATE byoc.reconciliations SET due_at = clock_timestamp();
END $$;
CREATE FUNCTION byoc_test.read_so_far() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables WHERE relid = 'byoc.reconciliations'::regclass;
$$;

SELECT byoc_test.lose(1);
ANALYZE byoc.reconciliations;
SELECT is((SELECT count(*) FROM byoc.claim_reconciliations(8, '0 seconds')), 1::bigint, 'a plan is made for one attempt');
SELECT byoc_test.lose(60);
SELECT byoc_test.read_so_far() AS before \gset
SELECT count(*) AS lists FROM byoc.claim_reconciliations(8, '1 minute') \gset
-- By keys some hundreds, by the recipient's index at worst all of them for each; what is due looked for anew for each of them: 300,000.
SELECT cmp_ok(byoc_test.read_so_far() - :before, '<', 20000::bigint, 'for sixty each is looked at by itself');

SELECT * FROM finish();
ROLLBACK;
