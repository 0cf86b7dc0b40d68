-- What keeps a message from being stuck, doubled or overlooked.
BEGIN;
\ir support/setup.sql
SELECT plan(22);

SELECT byoc_test.act_as(byoc_test.org_a());
SELECT byoc.add_credential('twilio', byoc_test.twilio(1)) AS credential \gset
SELECT byoc_test.verified(byoc_test.org_a());
DO $$ BEGIN PERFORM byoc.send_sms('+15005550006', 's' || n) FROM generate_series(1, 30) AS n; END $$;
SELECT byoc_test.no_context();

-- The cursor
CREATE TEMP TABLE taken ON COMMIT DROP AS SELECT * FROM byoc.claim_jobs(byoc_test.dispatcher(), 10, '1 minute');
SELECT is((SELECT count(*) FROM taken), 10::bigint, 'ten of thirty are claimed');
SELECT ok(byoc.has_wakeups(), 'the lane is passed on');
SELECT is((SELECT cursor FROM byoc.lanes), (SELECT id FROM taken ORDER BY id DESC LIMIT 1), 'from the last id claimed');
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
SELECT ok(NOT byoc.has_wakeups(), 'after which the lane is idle');

-- A claim lives as long as one of its messages is being sent, whatever its owner says.
SELECT is(byoc.record_outcomes(jsonb_build_array(jsonb_build_object('org_id', t.org_id, 'id', t.id, 'claim_id', t.claim_id,
          'outcome', 'accepted', 'provider_sid', 'SM00000000000000000000000000000001'))), 1, 'one outcome')
FROM (SELECT * FROM taken LIMIT 1) AS t;
SELECT is((SELECT count(*) FROM byoc.claims c WHERE c.id IN (SELECT claim_id FROM taken)), 1::bigint, 'the claim stays for the other nine');
UPDATE byoc.claims SET lease_until = clock_timestamp() - interval '1 second' WHERE id IN (SELECT claim_id FROM taken);
SELECT is(byoc.rescue_expired(), 9, 'which are rescued when the lease runs out');
SELECT is((SELECT count(*) FROM byoc.claims c WHERE c.id IN (SELECT claim_id FROM taken)), 0::bigint, 'then the claim is gone');

-- What somebody put on the tables is obeyed, though claims and records use no statements where they need not.
CREATE TABLE byoc_test.seen (what text);
CREATE FUNCTION byoc_test.see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO byoc_test.seen VALUES (TG_OP || ' ' || TG_TABLE_NAME); RETURN NULL; END $$;
CREATE FUNCTION byoc_test.send_one() RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    told record;
BEGIN
    PERFORM byoc.send_sms('+15005550006', 'seen', org_id => byoc_test.org_a());
    SELECT c.* INTO STRICT told FROM byoc.claim_jobs(byoc_test.dispatcher(), 10, '1 minute') AS c WHERE c.body = 'seen';
    PERFORM byoc.record_accepted(ARRAY[told.org_id], ARRAY[told.id], ARRAY[told.claim_id], ARRAY[told.attempt::smallint],
                                 ARRAY['SM' || replace(told.id::text, '-', '')], ARRAY[NULL::text], ARRAY[0::smallint], ARRAY[1]);
    RETURN told.id;
END $$;
CREATE FUNCTION byoc_test.counted() RETURNS bigint LANGUAGE sql RETURN (SELECT sum(messages) FROM byoc.acceptance_times());
SAVEPOINT plain;
SELECT byoc_test.counted() AS before \gset
SELECT byoc_test.send_one();
SELECT is(byoc_test.counted(), :before + 1::bigint, 'an acceptance is counted');
ROLLBACK TO plain;
CREATE TRIGGER see AFTER DELETE ON byoc.queue FOR EACH ROW EXECUTE FUNCTION byoc_test.see();
CREATE TRIGGER see AFTER INSERT OR UPDATE ON byoc.messages FOR EACH ROW EXECUTE FUNCTION byoc_test.see();
CREATE TRIGGER see AFTER INSERT ON byoc.message_events FOR EACH ROW EXECUTE FUNCTION byoc_test.see();
CREATE TRIGGER see AFTER INSERT OR DELETE ON byoc.claims FOR EACH ROW EXECUTE FUNCTION byoc_test.see();
SELECT byoc_test.counted() AS before \gset
SELECT byoc_test.send_one() AS m \gset
SELECT is(byoc_test.counted(), :before + 1::bigint, 'and so it is when statements record it');
SELECT is((SELECT string_agg(what, ', ' ORDER BY what COLLATE "C") FROM byoc_test.seen),
    'DELETE claims, DELETE queue, INSERT claims, INSERT message_events, INSERT messages, UPDATE messages', 'every trigger fires, once');
SELECT is(byoc_test.status(:'m') || ': ' || byoc_test.events(:'m'), 'sent: accepted', 'and the message goes its way');
ROLLBACK TO plain;
ALTER TABLE byoc.messages ADD CHECK (body <> 'seen');
SELECT throws_ok('SELECT byoc_test.send_one()', '23514', NULL, 'a check is kept');
ROLLBACK TO plain;
ALTER TABLE byoc.messages ADD COLUMN note text DEFAULT 'noted', ADD COLUMN late text;
CREATE INDEX by_status ON byoc.messages (status) WHERE status = 'sent';
SELECT byoc_test.send_one() AS m \gset
SET LOCAL enable_seqscan = off;
SELECT is((SELECT note FROM byoc.messages WHERE status = 'sent' AND id = :'m'), 'noted', 'another column has its default, an index over some rows its entry');
ROLLBACK TO plain;
CREATE INDEX by_status ON byoc.messages (status);
SELECT byoc_test.send_one() AS m \gset
SET LOCAL enable_seqscan = off;
SELECT results_eq(format('SELECT id FROM byoc.messages WHERE status = %L AND id = %L', 'sent', :'m'), format('VALUES (%L::uuid)', :'m'), 'and so has a plain one, when what it is over changes');
SELECT is_empty(format('SELECT id FROM byoc.messages WHERE status = %L AND id = %L', 'sending', :'m'), 'without what was before');
ROLLBACK TO plain;

-- A restore that begins under a running dispatcher
INSERT INTO byoc.installation (system_identifier, database_oid) VALUES (1, 1);
SELECT throws_ok(format('SELECT byoc.claim_jobs(%L, 10, %L)', byoc_test.dispatcher(), '1 minute'), '55000', NULL,
    'a claim in a restored database is refused though the dispatcher registered before');
DELETE FROM byoc.installation WHERE system_identifier = 1;
SELECT lives_ok(format('SELECT byoc.claim_jobs(%L, 10, %L)', byoc_test.dispatcher(), '1 minute'), 'and goes on when it belongs here');

SELECT * FROM finish();
ROLLBACK;
