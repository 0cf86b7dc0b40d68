-- What keeps a message from being stuck, doubled or overlooked.
BEGIN;
\ir support/setup.sql
SELECT plan(14);

SELECT byoc_test.act_as(byoc_test.org_a());
SELECT byoc.add_credential('twilio', byoc_test.twilio(1)) AS credential \gset
SELECT byoc_test.verified(byoc_test.org_a());
DO $$ BEGIN PERFORM byoc.send_sms('+15005550006', 's' || n) FROM generate_series(1, 30) AS n; END $$;
SELECT byoc_test.no_context();

-- The cursor
CREATE TEMP TABLE taken ON COMMIT DROP AS SELECT * FROM byoc.claim_jobs(byoc_test.dispatcher(), 10, '1 minute');
SELECT is((SELECT count(*) FROM taken), 10::bigint, 'ten of thirty are claimed');
SELECT ok((SELECT busy FROM byoc.lanes), 'the lane stays busy and goes on behind its cursor');
SELECT is((SELECT cursor FROM byoc.lanes), (SELECT id FROM taken ORDER BY id DESC LIMIT 1), 'which is the last id claimed');
-- A message that was committed late has an id behind the cursor.
INSERT INTO byoc.queue (org_id, lane, id, to_number, body)
SELECT org_id, lane, '01000000-0000-7000-8000-000000000000', '+15005550006', 'late' FROM byoc.queue LIMIT 1;
CREATE TEMP TABLE rest ON COMMIT DROP AS SELECT * FROM byoc.claim_jobs(byoc_test.dispatcher(), 20, '1 minute');
INSERT INTO rest SELECT * FROM byoc.claim_jobs(byoc_test.dispatcher(), 20, '1 minute');
SELECT is((SELECT count(*) FROM rest), 20::bigint, 'the next claims go on behind the cursor');
SELECT is(byoc.sweep_lanes(), 1, 'a sweep finds the lane with the late one');
INSERT INTO rest SELECT * FROM byoc.claim_jobs(byoc_test.dispatcher(), 20, '1 minute');
SELECT is((SELECT count(DISTINCT id) FROM rest), 21::bigint, 'which is claimed then');
SELECT is((SELECT count(*) FROM rest), 21::bigint, 'none is claimed twice');
SELECT ok((SELECT NOT busy FROM byoc.lanes), 'after which the lane is idle');

-- A claim lives as long as one of its messages is being sent, whatever its owner says.
SELECT is(byoc.record_outcomes(jsonb_build_array(jsonb_build_object('org_id', t.org_id, 'id', t.id, 'claim_id', t.claim_id,
          'outcome', 'accepted', 'provider_sid', 'SM00000000000000000000000000000001'))), 1, 'one outcome')
FROM (SELECT * FROM taken LIMIT 1) AS t;
SELECT is((SELECT count(*) FROM byoc.claims c WHERE c.id IN (SELECT claim_id FROM taken)), 1::bigint, 'the claim stays for the other nine');
UPDATE byoc.claims SET lease_until = clock_timestamp() - interval '1 second' WHERE id IN (SELECT claim_id FROM taken);
SELECT is(byoc.rescue_expired(), 9, 'which are rescued when the lease runs out');
SELECT is((SELECT count(*) FROM byoc.claims c WHERE c.id IN (SELECT claim_id FROM taken)), 0::bigint, 'then the claim is gone');

-- A restore that begins under a running dispatcher
INSERT INTO byoc.installation (system_identifier, database_oid) VALUES (1, 1);
SELECT throws_ok(format('SELECT byoc.claim_jobs(%L, 10, %L)', byoc_test.dispatcher(), '1 minute'), '55000', NULL,
    'a claim in a restored database is refused though the dispatcher registered before');
DELETE FROM byoc.installation WHERE system_identifier = 1;
SELECT lives_ok(format('SELECT byoc.claim_jobs(%L, 10, %L)', byoc_test.dispatcher(), '1 minute'), 'and goes on when it belongs here');

SELECT * FROM finish();
ROLLBACK;
