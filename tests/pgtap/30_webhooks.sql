-- Webhooks: credentials, byoc.call_webhook, what byoc.webhook_calls shows, cancelling and sending again.
BEGIN;
\ir support/setup.sql
SELECT plan(79);

CREATE FUNCTION byoc_test.webhook_fields(changes jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object('url', 'https://app.example.org/hooks', 'secret', 'whsec_' || repeat('A', 32)) || changes;
$$;
CREATE FUNCTION byoc_test.add_webhook(org_id uuid, changes jsonb DEFAULT '{}', status text DEFAULT 'verified') RETURNS uuid LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    added uuid := byoc.add_credential('webhook', byoc_test.webhook_fields(changes), org_id => add_webhook.org_id);
BEGIN
    UPDATE byoc.organization_api_credentials c SET verification_status = add_webhook.status WHERE c.id = added;
    RETURN added;
END
$$;
-- Claims everything, and records the same of all of it.
CREATE FUNCTION byoc_test.answer_webhooks(outcome text, more jsonb DEFAULT '{}') RETURNS integer LANGUAGE sql SECURITY DEFINER AS $$
    SELECT byoc.record_calls(coalesce(jsonb_agg(jsonb_build_object('org_id', c.org_id, 'id', c.id, 'claim_id', c.claim_id, 'outcome', outcome) || more), '[]'))
    FROM byoc.claim_calls(100, '1 minute', 100) AS c;
$$;
CREATE FUNCTION byoc_test.pass_time() RETURNS void LANGUAGE sql SECURITY DEFINER AS $$
    UPDATE byoc.calls SET due_at = clock_timestamp() - interval '1 second' WHERE due_at IS NOT NULL;
$$;

-- Credentials
SELECT byoc_test.refused(format('SELECT byoc_test.add_webhook(byoc_test.org_a(), %L)', jsonb_build_object('url', url)), '22023', '^22023 url must be', 'refused URL: ' || url)
FROM unnest(ARRAY['', 'app.example.org', 'ftp://app.example.org/', 'https://', 'https:///path', 'https://user:pass@app.example.org/', 'https://user@app.example.org/', 'https://app.example.org#@x',
                  'https://app.example.org\@10.0.0.1/', 'https://app.example.org/a b', E'https://app.example.org/\nHost: x', 'https://app.example.org /', 'HTTPS://app.example.org/', 'https://@10.0.0.1/',
                  'javascript:alert(1)', 'file:///etc/passwd', 'https://ex\ample.org']) AS url;
SELECT lives_ok(format('SELECT byoc_test.add_webhook(byoc_test.org_b(), %L)', jsonb_build_object('url', url)), 'accepted URL: ' || url)
FROM unnest(ARRAY['https://app.example.org', 'https://app.example.org/', 'https://app.example.org:8443/a/b?c=d&e=%20@', 'https://[2001:db8::1]:8443/x', 'http://10.0.0.1/inner', 'https://xn--bcher-kva.example/',
                  'https://app.example.org?x=1']) AS url;
SELECT byoc_test.refused(format('SELECT byoc_test.add_webhook(byoc_test.org_a(), %L)', jsonb_build_object('secret', secret)), '22023', '^22023 secret must be', 'refused secret: ' || what)
FROM (VALUES ('', 'empty'), (repeat('A', 32), 'without prefix'), ('whsec_' || repeat('A', 28), '21 bytes'), ('whsec_' || repeat('A', 31) || '!', 'no base64'), ('whsec_' || repeat('A', 33), 'no whole bytes'),
             ('whsec_' || repeat('A', 92), '69 bytes')) AS v (secret, what);
SELECT byoc_test.add_webhook(byoc_test.org_a()) AS hook \gset
SELECT is((SELECT c.fields FROM byoc.credentials c WHERE c.id = :'hook'), '{"url": "https://app.example.org/hooks", "secret": "••••AAAA"}'::jsonb, 'the URL shows, the secret does not');
SELECT byoc_test.add_webhook(byoc_test.org_a(), '{"url": "https://second.example.org/"}', 'verified') AS second \gset
SELECT byoc_test.add_twilio(byoc_test.org_a(), 1) AS twilio \gset
SELECT c.id AS foreign_hook FROM byoc.credentials c WHERE c.org_id = byoc_test.org_b() LIMIT 1 \gset

-- Events
SET LOCAL ROLE byoc_test_tenant;
SELECT byoc_test.refused($$SELECT byoc.call_webhook('lead.created')$$, '28000', 'no tenant context', 'without a context there are no events');
SELECT byoc_test.act_as(byoc_test.org_a(), 'member');
SELECT byoc.call_webhook('lead.created', '{"name": "Zoë 🔥", "score": 90}') AS event \gset
SELECT results_eq(format('SELECT c.org_id, c.event_type, c.payload, c.credential_id, c.status, c.attempts, c.waiting_reason, c.created_at, c.finished_at FROM byoc.webhook_calls c WHERE c.id = %L', :'event'),
    $$VALUES (byoc_test.org_a(), 'lead.created', '{"name": "Zoë 🔥", "score": 90}'::jsonb, NULL::uuid, 'queued', 0, NULL::text, now(), NULL::timestamptz)$$, 'an event shows in byoc.webhook_calls');
SELECT byoc_test.refused($$SELECT byoc.call_webhook('lead.created', org_id => byoc_test.org_b())$$, '42501', 'another organization', 'not for another organization');
SELECT byoc_test.refused(format('SELECT byoc.call_webhook(%L)', type), '22023', '^22023 event_type must', 'refused type: ' || coalesce(type, 'NULL'))
FROM unnest(ARRAY[NULL, '', 'lead created', '.lead', 'lead.', 'lead..created', 'lead-created', 'läd.created', repeat('x', 129)]) AS type;
SELECT byoc_test.refused($$SELECT byoc.call_webhook('byoc.verification')$$, '22023', 'reserved', 'our own events are nobody else''s');
SELECT byoc_test.refused($$SELECT byoc.call_webhook('a', NULL)$$, '22023', 'payload must not be null', 'no payload');
SELECT byoc_test.refused($$SELECT byoc.call_webhook('a', to_jsonb(repeat('x', 65535)))$$, '22023', 'at most 64 kB', 'too much of it');
SELECT lives_ok($$SELECT byoc.call_webhook('a', to_jsonb(repeat('x', 65534)), 'infinity')$$, 'just enough');
SELECT byoc_test.refused(format('SELECT byoc.call_webhook(%L, credential_id => %L)', 'a', id), '22023', 'is not an active webhook credential', 'refused credential: ' || what)
FROM (VALUES (:'twilio', 'of Twilio'), (:'foreign_hook', 'of another organization'), ('00000000-0000-4000-8000-000000000000', 'that there is not')) AS v (id, what);
SELECT byoc_test.refused($$SELECT byoc.call_webhook('a', idempotency_key => '')$$, '22023', 'idempotency_key must have', 'an empty idempotency key');
SELECT byoc.call_webhook('b', '{"n": 1}', idempotency_key => 'key-1') AS keyed \gset
SELECT is(byoc.call_webhook('b', '{"n": 2}', idempotency_key => 'key-1'), :'keyed'::uuid, 'the same key is the same event');
SELECT is((SELECT c.payload FROM byoc.webhook_calls c WHERE c.id = :'keyed'), '{"n": 1}'::jsonb, 'which is not changed by it');
SELECT isnt(byoc.call_webhook('b', idempotency_key => 'key-2'), :'keyed'::uuid, 'another key is another one');
SELECT byoc_test.act_as(byoc_test.org_b(), 'member');
SELECT isnt(byoc.call_webhook('b', idempotency_key => 'key-1'), :'keyed'::uuid, 'and so is another organization''s');
SELECT is((SELECT count(*) FROM byoc.webhook_calls), 1::bigint, 'a tenant sees its own events only');
SELECT byoc_test.refused(format('SELECT byoc.cancel_webhook(%L)', :'event'), 'P0002', 'does not exist', 'nor may it cancel another''s');
SELECT byoc_test.refused(format('SELECT byoc.retry_webhook(%L)', :'event'), 'P0002', 'does not exist', 'nor send it again');
SELECT byoc_test.act_as(byoc_test.org_a(), 'member');
SELECT byoc.call_webhook('later', send_at => now() + interval '1 hour', credential_id => :'second') AS later \gset
SELECT is((SELECT (c.status, c.credential_id)::text FROM byoc.webhook_calls c WHERE c.id = :'later'), format('(scheduled,%s)', :'second'), 'an event may be for later, and for another address');
SELECT byoc.cancel_webhook(:'later');
SELECT byoc.retry_webhook(:'later');
SELECT is((SELECT (c.status, c.next_at = now() + interval '1 hour')::text FROM byoc.webhook_calls c WHERE c.id = :'later'), '(scheduled,t)', 'cancelled and taken up again it is still for later');

-- What a receiver gets
RESET ROLE;
SELECT is((SELECT c.payload FROM byoc.calls c WHERE c.id = :'event'),
    jsonb_build_object('type', 'lead.created', 'timestamp', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), 'data', '{"name": "Zoë 🔥", "score": 90}'::jsonb),
    'a body has type, time and data');
SELECT cmp_ok(byoc_test.answer_webhooks('accepted', '{"http_status": 204}'), '>', 3, 'what was taken');
SELECT is((SELECT (c.status, c.attempts, c.http_status, c.finished_at IS NOT NULL)::text FROM byoc.webhook_calls c WHERE c.id = :'event'), '(delivered,1,204,t)', 'is delivered');

-- What becomes of refusals
SET LOCAL ROLE byoc_test_tenant;
SELECT byoc.call_webhook('refused') AS refused \gset
RESET ROLE;
SELECT byoc_test.answer_webhooks('rejected', '{"http_status": 404, "error_code": "refused", "error_message": "The receiver answered HTTP 404."}');
SELECT is((SELECT (c.status, c.attempts, c.error_code, c.next_at > clock_timestamp())::text FROM byoc.webhook_calls c WHERE c.id = :'refused'), '(retrying,1,refused,t)', 'a refusal is tried again');
SELECT is((SELECT c.verification_status FROM byoc.credentials c WHERE c.id = :'hook'), 'verified', 'and says nothing about the credential');
UPDATE byoc.calls SET retry_until = now() - interval '1 second', due_at = now() WHERE id = :'refused';
SELECT byoc_test.answer_webhooks('rejected', '{"http_status": 404, "error_code": "refused"}');
SELECT is((SELECT c.status FROM byoc.webhook_calls c WHERE c.id = :'refused'), 'failed', 'for a day');
SET LOCAL ROLE byoc_test_tenant;
SELECT byoc_test.refused(format('SELECT byoc.cancel_webhook(%L)', :'refused'), '55000', 'is failed', 'what failed cannot be cancelled');
SELECT lives_ok(format('SELECT byoc.retry_webhook(%L)', :'refused'), 'but sent again');
SELECT is((SELECT (c.status, c.finished_at)::text FROM byoc.webhook_calls c WHERE c.id = :'refused'), '(queued,)', 'it waits for its turn');
SELECT byoc_test.refused(format('SELECT byoc.retry_webhook(%L)', :'refused'), '55000', 'is queued', 'once');
SELECT lives_ok(format('SELECT byoc.cancel_webhook(%L)', :'refused'), 'what waits can be cancelled');
SELECT is((SELECT c.status FROM byoc.webhook_calls c WHERE c.id = :'refused'), 'cancelled', 'and then is');
SELECT byoc_test.refused(format('SELECT byoc.cancel_webhook(%L)', :'event'), '55000', 'is delivered', 'what was delivered can not');
SELECT byoc.call_webhook('gone') AS gone \gset
RESET ROLE;
SELECT byoc_test.answer_webhooks('rejected', '{"http_status": 410, "error_code": "http_410", "error_message": "The receiver answered HTTP 410: it wants no more webhooks."}');
SELECT is((SELECT (c.verification_status, c.verification_error)::text FROM byoc.credentials c WHERE c.id = :'hook'),
    '(failed,"The receiver answered HTTP 410: it wants no more webhooks.")', 'a receiver that is gone fails the credential');
SELECT is((SELECT c.status || ' ' || c.waiting_reason FROM byoc.webhook_calls c WHERE c.id = :'gone'),
    'queued paused: the credential failed: The receiver answered HTTP 410: it wants no more webhooks.', 'and its events wait, and say so');
SELECT byoc_test.pass_time();
SELECT is((SELECT count(*) FROM byoc.claim_calls(100, '1 minute', 100) AS c WHERE c.id = :'gone'), 0::bigint, 'nobody tries them');
SELECT byoc_test.act_as(byoc_test.org_a(), 'member');
SET LOCAL ROLE byoc_test_tenant;
SELECT lives_ok(format('SELECT byoc.cancel_webhook(%L)', :'gone'), 'they can be cancelled');
RESET ROLE;
SELECT byoc_test.no_context();
SELECT byoc.shred_organization(byoc_test.org_a());
SELECT byoc_test.refused($$SELECT byoc.call_webhook('a', org_id => byoc_test.org_a())$$, '23503', 'was shredded', 'a shredded organization has no events any more');
SELECT byoc_test.refused(format('SELECT byoc.retry_webhook(%L)', :'gone'), '55000', 'can never be sent: the organization was shredded', 'nor does it get its old ones again');

SELECT * FROM finish();
ROLLBACK;
