-- Calls: enqueued, claimed fairly and one at a time for a subject, recorded, tried again; breakers and failing credentials.
BEGIN;
\ir support/setup.sql
SELECT plan(91);

SELECT byoc_test.add_stripe(byoc_test.org_a()) AS one \gset
SELECT byoc_test.add_stripe(byoc_test.org_b()) AS two \gset
CREATE FUNCTION byoc_test.call(operation text, org_id uuid DEFAULT byoc_test.org_a(), subject uuid DEFAULT NULL, credential uuid DEFAULT NULL,
                               due_at timestamptz DEFAULT now()) RETURNS uuid LANGUAGE sql AS $$
    SELECT byoc.enqueue_call(org_id, 'stripe', operation, '{"a": 1}', subject, credential, due_at);
$$;
-- What a claim brings, as operations in their order.
CREATE FUNCTION byoc_test.called(max_count integer DEFAULT 100, per_credential integer DEFAULT 10) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(c.operation, ' ' ORDER BY c.operation) FROM byoc.claim_calls(max_count, '1 minute', per_credential) AS c;
$$;
CREATE FUNCTION byoc_test.record_call(id uuid, outcome text, more jsonb DEFAULT '{}') RETURNS integer LANGUAGE sql AS $$
    SELECT byoc.record_calls(jsonb_build_array(
        jsonb_build_object('org_id', c.org_id, 'id', c.id, 'claim_id', c.claim_id, 'outcome', outcome) || more))
    FROM byoc.calls c WHERE c.id = record_call.id;
$$;
CREATE FUNCTION byoc_test.call_state(id uuid) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' ', c.status, c.attempts, c.error_code) FROM byoc.calls c WHERE c.id = call_state.id;
$$;
CREATE FUNCTION byoc_test.call_due_in(id uuid) RETURNS interval LANGUAGE sql AS $$ SELECT c.due_at - clock_timestamp() FROM byoc.calls c WHERE c.id = call_due_in.id $$;
-- As if the lease, the wait or the pause were over.
CREATE FUNCTION byoc_test.pass_time() RETURNS void LANGUAGE sql AS $$
    UPDATE byoc.calls SET due_at = clock_timestamp() - interval '1 second' WHERE due_at IS NOT NULL;
    UPDATE byoc.call_breakers SET paused_until = clock_timestamp() - interval '1 second', changed_at = changed_at - interval '1 minute';
$$;

-- A call's life
SELECT is(byoc_test.called(), NULL, 'no calls, no claim');
SELECT byoc_test.call('charge') AS charge \gset
SELECT is(byoc_test.call_state(:'charge'), 'available 0', 'a call waits');
SELECT results_eq('SELECT c.org_id, c.id, c.credential_type, c.credential_id, c.credential_version, c.operation, c.subject, c.payload, c.attempt FROM byoc.claim_calls(10, ''1 minute'', 10) AS c',
    format('VALUES (byoc_test.org_a(), %L::uuid, ''stripe'', %L::uuid, 1, ''charge'', %1$L::uuid, ''{"a": 1}''::jsonb, 1)', :'charge', :'one'),
    'a claim tells all that making it needs; without a subject it is its own');
SELECT is(byoc_test.call_state(:'charge'), 'running 1', 'then it is being made');
SELECT is(byoc_test.called(), NULL, 'by one dispatcher only');
SELECT is(byoc_test.record_call(:'charge', 'accepted', '{"http_status": 200, "result": {"id": "ch_1"}}'), 1, 'its outcome is recorded');
SELECT is(byoc_test.call_state(:'charge'), 'completed 1', 'and ends it');
SELECT is((SELECT c.result ->> 'id' FROM byoc.calls c WHERE c.id = :'charge'), 'ch_1', 'what was kept of the answer stays');
SELECT is(byoc.record_calls(jsonb_build_array(jsonb_build_object('org_id', byoc_test.org_a(), 'id', :'charge'::uuid, 'claim_id', gen_random_uuid(), 'outcome', 'rejected'))),
          0, 'another claim''s outcome changes nothing');
SELECT is(byoc_test.call_state(:'charge'), 'completed 1', 'it stays as it was');
SELECT byoc_test.refused('SELECT byoc.record_calls(''[{"outcome": "perhaps"}]'')', '22023', 'outcome must be', 'an unknown outcome is refused');
SELECT byoc_test.call('later', due_at => now() + interval '1 hour') AS later \gset
SELECT is(byoc_test.called(), NULL, 'a call is not made before its time');
SELECT byoc_test.pass_time();
SELECT is(byoc_test.called(), 'later', 'but then');
SELECT byoc_test.pass_time();
SELECT is(byoc_test.called(), 'later', 'a call whose lease ends without an outcome is made again');
SELECT is(byoc_test.call_state(:'later'), 'running 2', 'as one more attempt');
SELECT is(byoc_test.record_call(:'later', 'returned'), 1, 'it can be given back');
SELECT is(byoc_test.call_state(:'later'), 'available 1', 'which is no attempt');
SELECT is(byoc_test.called(), 'later', 'and comes up at once');
SELECT byoc_test.record_call(:'later', 'accepted');

-- Tried again
SELECT byoc_test.call('flaky') AS flaky \gset
SELECT byoc_test.called();
SELECT is(byoc_test.record_call(:'flaky', 'unavailable', '{"error_code": "timeout"}'), 1, 'a failure of the provider');
SELECT is(byoc_test.call_state(:'flaky'), 'retryable 1 timeout', 'is tried again');
SELECT ok(byoc_test.call_due_in(:'flaky') BETWEEN interval '0.3 seconds' AND interval '1.2 seconds', 'in about a second');
SELECT is(byoc_test.called(), NULL, 'not before');
SELECT byoc_test.pass_time();
SELECT byoc_test.called();
SELECT byoc_test.record_call(:'flaky', 'unavailable');
SELECT ok(byoc_test.call_due_in(:'flaky') BETWEEN interval '1.1 seconds' AND interval '2.4 seconds', 'then later');
UPDATE byoc.calls SET attempts = 30, due_at = now() WHERE id = :'flaky';
SELECT byoc_test.called();
SELECT byoc_test.record_call(:'flaky', 'unavailable', '{"retry_ms": 5}');
SELECT ok(byoc_test.call_due_in(:'flaky') BETWEEN interval '11 minutes' AND interval '18 minutes', 'up to a quarter of an hour');
UPDATE byoc.calls SET due_at = now(), retry_until = now() - interval '1 second' WHERE id = :'flaky';
SELECT byoc_test.called();
SELECT byoc_test.record_call(:'flaky', 'unavailable', '{"error_code": "timeout"}');
SELECT is(byoc_test.call_state(:'flaky'), 'discarded 32 timeout', 'and not for ever');
DELETE FROM byoc.call_breakers;
INSERT INTO byoc.provider_error_overrides VALUES ('stripe', 'later', 'retry_later', 'not now'), ('stripe', 'key', 'pause_credential', 'key expired');
SELECT byoc_test.call('refused') AS refused \gset
SELECT byoc_test.call('postponed') AS postponed \gset
SELECT byoc_test.called();
SELECT byoc_test.record_call(:'refused', 'rejected', '{"error_code": "no", "http_status": 400}');
SELECT byoc_test.record_call(:'postponed', 'rejected', '{"error_code": "later", "http_status": 400}');
SELECT is(byoc_test.call_state(:'refused') || ', ' || byoc_test.call_state(:'postponed'), 'discarded 1 no, retryable 1 later', 'the class of an error decides');
DELETE FROM byoc.calls;

-- The credential
SELECT byoc_test.call('a') AS a \gset
SELECT byoc_test.called();
SELECT byoc_test.record_call(:'a', 'rejected', '{"error_code": "key", "error_message": "The key has expired.", "http_status": 401}');
SELECT is(byoc_test.call_state(:'a'), 'available 1 key', 'what was refused because of the credential waits');
SELECT is((SELECT c.verification_status || ' ' || c.verification_error FROM byoc.credentials c WHERE c.id = :'one'), 'failed The key has expired.', 'which fails');
SELECT is(byoc_test.called(), NULL, 'nothing goes out by it');
SELECT byoc_test.call('b', byoc_test.org_b());
SELECT is(byoc_test.called(), 'b', 'others are not held up');
UPDATE byoc.organization_api_credentials SET verification_status = 'pending' WHERE id = :'one';
SELECT byoc_test.verified(byoc_test.org_a());
SELECT is(byoc_test.called(), 'a', 'it goes on once the credential is good');
SELECT is((SELECT c.retry_until > now() + interval '23 hours' FROM byoc.calls c WHERE c.id = :'a'), true, 'with all its time');
UPDATE byoc.organization_api_credentials SET is_active = false, is_default = false, encrypted_fields = NULL WHERE id = :'one';
SELECT byoc_test.call('c');
SELECT is(byoc_test.called(), NULL, 'a call waits for an organization''s default credential');
SELECT is((SELECT h.paused FROM byoc.all_call_health h WHERE h.org_id = byoc_test.org_a()), 'the organization has no default credential of that type', 'which shows');
UPDATE byoc.calls SET due_at = now() - byoc.retry_window() WHERE operation = 'c';
SELECT byoc_test.call('revoked', credential => :'one');
SELECT byoc_test.lists('SELECT c.operation FROM byoc.claim_calls(10, ''1 minute'', 10) AS c WHERE c.credential_id IS NULL', ARRAY['c', 'revoked'],
    'so long; then it comes up to be refused, as one does for a revoked credential');
DELETE FROM byoc.calls;
SELECT byoc_test.add_stripe(byoc_test.org_a()) AS one \gset
SELECT byoc_test.add_stripe(byoc_test.org_a()) AS other \gset
SELECT byoc_test.call('other', credential => :'other');
SELECT is((SELECT c.credential_id FROM byoc.claim_calls(10, '1 minute', 10) AS c), :'other'::uuid, 'a call can ask for another credential than the default');
DELETE FROM byoc.calls;

-- Fairness
SELECT byoc_test.call('a' || i) FROM generate_series(1, 30) AS i;
SELECT byoc_test.call('b' || i, byoc_test.org_b()) FROM generate_series(1, 3) AS i;
SELECT byoc_test.call('z', credential => :'other');
CREATE FUNCTION byoc_test.shares(max_count integer, per_credential integer) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(s.letter || s.n, ' ' ORDER BY s.letter)
    FROM (SELECT left(c.operation, 1) AS letter, count(*) AS n FROM byoc.claim_calls(max_count, '1 minute', per_credential) AS c GROUP BY 1) AS s;
$$;
SELECT is(byoc_test.shares(7, 10), 'a3 b3 z1', 'credentials take turns');
SELECT is(byoc_test.shares(100, 10), 'a7', 'one has so many on the way at most');
SELECT is(byoc_test.shares(100, 10), NULL, 'and no more before an outcome');
SELECT byoc.record_calls(jsonb_agg(jsonb_build_object('org_id', c.org_id, 'id', c.id, 'claim_id', c.claim_id, 'outcome', 'accepted')))
FROM (SELECT * FROM byoc.calls c WHERE c.status = 'running' AND c.operation LIKE 'a%' LIMIT 4) AS c;
SELECT is(byoc_test.shares(100, 10), 'a4', 'each outcome makes room for one');
DELETE FROM byoc.calls;
SELECT byoc_test.call('a' || i) FROM generate_series(1, 20) AS i;
SELECT byoc_test.call('z' || i, credential => :'other') FROM generate_series(1, 20) AS i;
SELECT is(byoc_test.shares(9, 10), 'a3 z3', 'all credentials of an organization together leave a third of the slots');
SELECT is(byoc_test.shares(3, 10), NULL, 'also to those that come later');
SELECT byoc_test.call('b' || i, byoc_test.org_b()) FROM generate_series(1, 5) AS i;
SELECT is(byoc_test.shares(3, 10), 'b3', 'who can have them');
SELECT byoc.record_calls(jsonb_agg(jsonb_build_object('org_id', c.org_id, 'id', c.id, 'claim_id', c.claim_id, 'outcome', 'accepted')))
FROM (SELECT * FROM byoc.calls c WHERE c.status = 'running' AND c.operation LIKE 'a%' LIMIT 2) AS c;
SELECT is(byoc_test.shares(1, 10), 'b1', 'an organization that has less on the way comes first, whatever is due longer');
DELETE FROM byoc.calls;

-- One subject
SELECT 'e0000000-0000-4000-8000-00000000000e' AS subject \gset
SELECT byoc_test.call('first', subject => :'subject') AS first \gset
SELECT byoc_test.call('second', subject => :'subject') AS second \gset
SELECT is(byoc_test.call_state(:'first'), 'cancelled 0 superseded', 'a newer call about the same takes the place of one that waits');
SELECT is(byoc_test.called(), 'second', 'only that is made');
SELECT byoc_test.call('third', subject => :'subject') AS third \gset
SELECT is(byoc_test.call_state(:'second'), 'running 1', 'one that is being made goes on');
SELECT is(byoc_test.called(), NULL, 'and the next one waits for it');
SELECT byoc_test.record_call(:'second', 'unavailable');
SELECT is(byoc_test.called(), 'third', 'it goes out when that one failed');
SELECT byoc_test.record_call(:'third', 'accepted');
SELECT byoc_test.pass_time();
SELECT is(byoc_test.called(), NULL, 'and that one is not tried again');
SELECT is(byoc_test.call_state(:'second'), 'cancelled 1 superseded', 'since it is outdated');
SELECT byoc_test.call('fourth', subject => :'subject') AS fourth \gset
SELECT byoc_test.called();
SELECT byoc_test.call('fifth', subject => :'subject') AS fifth \gset
SELECT byoc_test.pass_time();
SELECT is(byoc_test.called(), 'fifth', 'a lease that ends holds up no newer call');
SELECT is(byoc_test.call_state(:'fourth'), 'cancelled 1 superseded', 'the old one is not made after it');
SELECT byoc_test.record_call(:'fifth', 'accepted');
SELECT is(byoc_test.called(), NULL, 'and the new one is not made twice');
DELETE FROM byoc.calls;

-- An older one that is overtaken: by a claim that the other dispatcher's claim does not see yet
CREATE FUNCTION byoc_test.two_at_once(subject uuid, OUT old uuid, OUT new uuid) LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM byoc.calls;
    old := byoc_test.call('old', subject => two_at_once.subject);
    PERFORM byoc_test.called();
    new := byoc_test.call('new', subject => two_at_once.subject);
    UPDATE byoc.calls c SET status = 'running', attempts = 1, claim_id = byoc.uuid_v7(), claimed_at = clock_timestamp(), due_at = now() + interval '1 minute'
    WHERE c.id IN (old, new);
END
$$;
SELECT * FROM byoc_test.two_at_once(:'subject') \gset
SELECT byoc_test.record_call(:'new', 'accepted', '{"http_status": 200}');
SELECT is(byoc_test.called(), NULL, 'a new call that was made beside an old one is done');
SELECT byoc_test.record_call(:'old', 'accepted', '{"http_status": 200}');
SELECT is(byoc_test.called(), 'new', 'until that ends: then it is made once more');
SELECT byoc_test.record_call(:'new', 'accepted', '{"http_status": 200}');
SELECT is(byoc_test.called(), NULL, 'and that is all');
SELECT * FROM byoc_test.two_at_once(:'subject') \gset
SELECT byoc_test.record_call(:'old', 'accepted', '{"http_status": 200}');
SELECT byoc_test.record_call(:'new', 'accepted', '{"http_status": 200}');
SELECT is(byoc_test.called(), 'new', 'the same when the old one ends first');
DELETE FROM byoc.calls;
-- by one whose request the provider may still be working at
SELECT byoc_test.call('old', subject => :'subject') AS old \gset
SELECT byoc_test.called();
SELECT byoc_test.call('new', subject => :'subject') AS new \gset
SELECT byoc_test.record_call(:'old', 'unavailable', '{"error_code": "timeout"}');
SELECT is(byoc_test.called(), 'new', 'a new call goes out after an old one that was not answered');
SELECT byoc_test.record_call(:'new', 'accepted', '{"http_status": 200}');
SELECT byoc_test.pass_time();
SELECT byoc_test.called();
SELECT is(byoc_test.call_state(:'old') || ', ' || byoc_test.call_state(:'new'), 'cancelled 1 superseded, available 1', 'and once more when that is given up');
SELECT is(byoc_test.called(), 'new', 'which is made');
SELECT byoc_test.record_call(:'new', 'accepted', '{"http_status": 200}');
SELECT is(byoc_test.called(), NULL, 'but not for ever');
DELETE FROM byoc.calls;

-- Breakers
CREATE FUNCTION byoc_test.breaker() RETURNS text LANGUAGE sql AS $$
    SELECT b.failures || CASE WHEN b.paused_until > clock_timestamp() THEN ' paused' ELSE '' END FROM byoc.call_breakers b WHERE b.org_id = byoc_test.org_a();
$$;
CREATE FUNCTION byoc_test.pause() RETURNS interval LANGUAGE sql AS $$ SELECT b.paused_until - clock_timestamp() FROM byoc.call_breakers b WHERE b.org_id = byoc_test.org_a() $$;
-- All that are on their way end so.
CREATE FUNCTION byoc_test.end_calls(outcome text, more jsonb DEFAULT '{}') RETURNS integer LANGUAGE sql AS $$
    SELECT byoc.record_calls(jsonb_agg(jsonb_build_object('org_id', c.org_id, 'id', c.id, 'claim_id', c.claim_id, 'outcome', outcome) || more))
    FROM byoc.calls c WHERE c.status = 'running' AND c.org_id = byoc_test.org_a();
$$;
SELECT byoc_test.call('a' || i) FROM generate_series(1, 6) AS i;
SELECT byoc_test.called(2);
SELECT byoc_test.end_calls('throttled', '{"retry_ms": 90000, "http_status": 429}');
SELECT is(byoc_test.breaker(), '1 paused', 'a throttled call makes its credential''s calls wait');
SELECT ok(byoc_test.pause() BETWEEN interval '85 seconds' AND interval '90 seconds', 'as long as the provider asked');
SELECT byoc_test.call('b', byoc_test.org_b());
SELECT is(byoc_test.called(), 'b', 'no other''s');
DELETE FROM byoc.calls WHERE org_id = byoc_test.org_b();
SELECT byoc_test.pass_time();
SELECT is(byoc_test.shares(100, 10), 'a6', 'then all go on');
SELECT byoc_test.end_calls('throttled');
SELECT ok(byoc_test.breaker() = '2 paused' AND byoc_test.pause() BETWEEN interval '1.5 seconds' AND interval '2.5 seconds', 'without such a wish the pause grows');
SELECT byoc_test.pass_time();
SELECT byoc_test.shares(100, 10);
SELECT byoc_test.end_calls('unavailable');
SELECT is(byoc_test.breaker(), '5 paused', 'failures of the provider count up to the threshold');
SELECT byoc_test.pass_time();
SELECT is(byoc_test.shares(100, 10), 'a1', 'then one tries the way');
SELECT byoc_test.end_calls('unavailable');
SELECT is(byoc_test.breaker(), '6 paused', 'in vain');
SELECT ok(byoc_test.pause() BETWEEN interval '0.5 seconds' AND interval '1.5 seconds', 'and the pause is longer');
SELECT byoc_test.pass_time();
SELECT byoc_test.shares(100, 10);
SELECT byoc_test.end_calls('rejected', '{"http_status": 400}');
SELECT is(byoc_test.breaker(), NULL, 'an answer ends it');
DELETE FROM byoc.calls;
SELECT byoc_test.call('a7') AS seventh \gset
SELECT byoc_test.called(1);
SELECT byoc_test.end_calls('throttled', '{"retry_ms": 9223372036854775807, "http_status": 429}');
SELECT ok(byoc_test.pause() BETWEEN interval '59 minutes' AND interval '60 minutes', 'an hour is the most that a provider can ask for');
SELECT ok((SELECT max(c.due_at) BETWEEN clock_timestamp() + interval '59 minutes' AND clock_timestamp() + interval '60 minutes' FROM byoc.calls c), 'of a call, too');
UPDATE byoc.calls SET due_at = clock_timestamp() WHERE due_at IS NOT NULL;
SELECT is(byoc_test.called(), NULL, 'until then it waits');
SELECT byoc.update_credential(c.id, '{"secret_key": "sk_test_1111111111111111"}'::jsonb) FROM byoc.credentials c WHERE c.org_id = byoc_test.org_a() AND c.is_default;
SELECT byoc_test.verified(byoc_test.org_a());
SELECT isnt(byoc_test.called(), NULL, 'a changed credential waits for nothing that its last fields have done');
SELECT byoc_test.end_calls('unavailable');
SELECT is(byoc_test.breaker(), '1', 'and is counted anew');
DELETE FROM byoc.call_breakers;
DELETE FROM byoc.calls;

-- Health
SELECT byoc_test.call('a' || i) FROM generate_series(1, 5) AS i;
SELECT byoc_test.call('b', byoc_test.org_b());
SELECT byoc_test.called(3, 2);
SELECT byoc.record_calls(jsonb_agg(jsonb_build_object('org_id', c.org_id, 'id', c.id, 'claim_id', c.claim_id, 'outcome', 'throttled', 'retry_ms', 60000)))
FROM (SELECT * FROM byoc.calls c WHERE c.claim_id IS NOT NULL AND c.org_id = byoc_test.org_a() LIMIT 1) AS c;
UPDATE byoc.calls SET due_at = due_at - interval '10 minutes' WHERE status = 'available';
CREATE FUNCTION byoc_test.call_health() RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(concat_ws(' ', h.credential_type, h.waiting, h.retrying, h.running, h.failures, h.paused_until > now(), h.paused,
                                h.oldest_waiting BETWEEN interval '10 minutes' AND interval '15 minutes'), ', ' ORDER BY h.org_id) FROM byoc.call_health h;
$$;
SELECT is(byoc_test.call_health(), 'stripe 3 1 1 1 t t, stripe 0 0 1 0', 'each credential with calls: waiting, retrying, running, failures, paused');
SELECT byoc_test.act_as(byoc_test.org_b());
SET LOCAL ROLE byoc_test_tenant;
SELECT is(byoc_test.call_health(), 'stripe 0 0 1 0', 'a tenant sees its own');
RESET ROLE;
SELECT byoc_test.no_context();
UPDATE byoc.organization_api_credentials SET verification_status = 'failed', verification_error = 'Key expired.' WHERE credential_type = 'stripe' AND is_default;
SELECT is(byoc_test.call_health(), 'stripe 3 1 1 1 t the credential failed: Key expired. t, stripe 0 0 1 0 the credential failed: Key expired.', 'and why it waits');
UPDATE byoc.organization_api_credentials SET verification_status = 'verified', verification_error = NULL WHERE credential_type = 'stripe' AND is_active;
DELETE FROM byoc.calls;
DELETE FROM byoc.call_breakers;

-- Pruned
SELECT byoc_test.call('old') AS old \gset
SELECT byoc_test.call('young') AS young \gset
SELECT byoc_test.call('waiting') AS waiting \gset
UPDATE byoc.calls SET status = 'completed', due_at = NULL, finished_at = now() - CASE operation WHEN 'old' THEN interval '2 days' ELSE interval '1 hour' END
WHERE operation <> 'waiting';
UPDATE byoc.calls SET id = rpad('01000000', 32, '0')::uuid WHERE id = :'old';
SELECT is(byoc.prune('1 day'), 1::bigint, 'what was finished long ago can be pruned, in an organization without messages too');
SELECT byoc_test.lists('SELECT c.operation FROM byoc.calls c', ARRAY['young', 'waiting'], 'the rest stays');
DELETE FROM byoc.calls;

-- Restored, shredded
SELECT byoc_test.call('waiting') AS waiting \gset
SELECT byoc_test.call('future', due_at => now() + interval '1 hour') AS future \gset
SELECT byoc_test.call('done') AS done \gset
UPDATE byoc.calls SET status = 'completed', due_at = NULL, finished_at = now() WHERE id = :'done';
INSERT INTO byoc.installation (system_identifier, database_oid) VALUES (1, 1);
SELECT byoc_test.refused('SELECT byoc_test.called()', '55000', 'copy', 'a copied database makes no calls');
SELECT is(byoc.adopt_installation(), 2::bigint, 'adopted, it counts those that wait');
SELECT is(byoc_test.call_state(:'waiting') || ', ' || byoc_test.call_state(:'done'), 'paused 0, completed 0', 'and pauses them');
SELECT is(byoc_test.called(), NULL, 'so nothing is made');
SELECT byoc_test.act_as(byoc_test.org_a());
SELECT is(byoc.resume_restored(byoc_test.org_b()), 0::bigint, 'another organization can be resumed');
SELECT is(byoc.resume_restored(), 2::bigint, 'or all');
SELECT is(byoc_test.called(), 'waiting', 'then they are made');
SELECT ok(byoc_test.call_due_in(:'future') > interval '50 minutes', 'those for later still later');
SELECT byoc_test.call('shredded') AS shredded \gset
SELECT byoc.shred_organization(byoc_test.org_a());
SELECT is(byoc_test.call_state(:'shredded') || ', ' || byoc_test.call_state(:'waiting'), 'cancelled 0 shredded, running 1', 'a shredded organization''s calls are cancelled but for those on their way');

SELECT * FROM finish();
ROLLBACK;
