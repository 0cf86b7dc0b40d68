-- Whether a provider's id belongs to another message: of many at once each organization's messages are read once, not for each id.
BEGIN;
\ir support/setup.sql
SELECT plan(8);

SELECT byoc_test.add_twilio(byoc_test.org_a(), 1) AS credential \gset
CREATE FUNCTION byoc_test.sid(n bigint) RETURNS text LANGUAGE sql IMMUTABLE RETURN 'SM' || lpad(n::text, 32, '0');
-- Forty messages whose answers were lost, of which each is looked for, or waits for another attempt.
CREATE FUNCTION byoc_test.forty(outcome text, more jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM byoc.send_sms('+1555001' || lpad(n::text, 4, '0'), 'x', org_id => byoc_test.org_a()) FROM generate_series(1, 40) AS n;
    CREATE TEMPORARY TABLE lost ON COMMIT DROP AS SELECT c.*, row_number() OVER () AS n FROM byoc_test.claim(100) AS c;
    PERFORM byoc.record_outcomes(jsonb_agg(jsonb_build_object('org_id', l.org_id, 'id', l.id, 'claim_id', l.claim_id, 'outcome', outcome) || more)) FROM lost l;
END $$;
-- How many rows of byoc.messages the statement reads, by all its ways.
CREATE FUNCTION byoc_test.reads(statement text, arguments jsonb) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    counted CONSTANT text := 'SELECT coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables WHERE relid = ''byoc.messages''::regclass';
    before bigint;
    after bigint;
BEGIN
    EXECUTE counted INTO before;
    EXECUTE statement USING arguments;
    EXECUTE counted INTO after;
    RETURN after - before;
END $$;
-- What is done for each message by its key is little; to read all of them for each of forty is 1,600 and more.
SELECT 800 AS few \gset

SELECT byoc_test.forty('unknown', '{"error_code": "timeout"}');
SELECT jsonb_agg(jsonb_build_object('org_id', org_id, 'id', id, 'claim_id', claim_id, 'attempt', 1, 'outcome', 'accepted', 'provider_sid', byoc_test.sid(n))) AS answers,
       jsonb_agg(jsonb_build_object('org_id', org_id, 'id', id, 'claim_id', claim_id, 'attempt', 1, 'outcome', 'accepted', 'provider_sid', byoc_test.sid(n + 40))) AS others
FROM lost \gset
SELECT cmp_ok(byoc_test.reads('SELECT byoc.record_outcomes($1)', :'answers'), '<', :few::bigint, 'late answers settle messages that are looked for');
SELECT is((SELECT count(*) FROM byoc.messages WHERE status = 'sent'), 40::bigint, 'all of them');
SELECT cmp_ok(byoc_test.reads('SELECT byoc.record_outcomes($1)', :'others'), '<', :few::bigint, 'late answers go into the history');
SELECT is((SELECT count(*) FROM byoc.message_events WHERE event = 'late'), 40::bigint, 'all of them, and they tell of other ids');
DELETE FROM byoc.messages;
DROP TABLE lost;

SELECT byoc_test.forty('unknown', '{"error_code": "timeout"}');
SELECT jsonb_agg(jsonb_build_object('org_id', org_id, 'id', id, 'attempt', 1, 'provider_sid', byoc_test.sid(n + 80), 'status', 'sent')) AS receipts FROM lost \gset
SELECT cmp_ok(byoc_test.reads('SELECT byoc.record_receipts($1)', :'receipts'), '<', :few::bigint, 'receipts settle messages that are looked for');
DELETE FROM byoc.messages;
DROP TABLE lost;

SELECT byoc_test.forty('throttled', '{"http_status": 429, "retry_ms": 60000}');
SELECT jsonb_agg(jsonb_build_object('org_id', org_id, 'id', id, 'attempt', 1, 'provider_sid', byoc_test.sid(n + 120), 'status', 'sent')) AS receipts FROM lost \gset
SELECT cmp_ok(byoc_test.reads('SELECT byoc.record_receipts($1)', :'receipts'), '<', :few::bigint, 'receipts recall messages that wait for another attempt');
SELECT is((SELECT count(*) FROM byoc.messages WHERE status = 'sent'), 40::bigint, 'all of them');

-- Of several organizations
SELECT bag_eq($$SELECT * FROM byoc.recorded_sids(ARRAY[byoc_test.org_a(), byoc_test.org_b(), byoc_test.org_a(), byoc_test.org_a()],
                                                 ARRAY[byoc_test.sid(121), byoc_test.sid(122), byoc_test.sid(123), byoc_test.sid(999)],
                                                 array_fill(clock_timestamp(), ARRAY[4]))$$,
    $$VALUES (byoc_test.org_a(), byoc_test.sid(121)), (byoc_test.org_a(), byoc_test.sid(123))$$, 'an id counts for its own organization');

SELECT * FROM finish();
ROLLBACK;
