-- What comes in, and opting out.
BEGIN;
\ir support/setup.sql
SELECT plan(49);

SELECT byoc_test.add_twilio(byoc_test.org_a(), 1) AS credential \gset
SELECT byoc_test.add_twilio(byoc_test.org_b(), 2) AS of_b \gset
CREATE FUNCTION byoc_test.sid(n integer) RETURNS text LANGUAGE sql IMMUTABLE RETURN 'SM' || lpad(n::text, 32, '0');
CREATE FUNCTION byoc_test.comes_in(n integer, from_number text, body text, provider_keyword text DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
    SELECT byoc.record_inbound(byoc_test.org_a(), c.id, byoc_test.sid(n), from_number, '+15005550001', body, provider_keyword)
    FROM byoc.organization_api_credentials c WHERE c.org_id = byoc_test.org_a();
$$;
CREATE FUNCTION byoc_test.send(to_number text, org_id uuid DEFAULT byoc_test.org_a(), send_at timestamptz DEFAULT now()) RETURNS uuid LANGUAGE sql
RETURN byoc.send_sms(to_number, 'x', send_at, org_id => org_id);

SELECT results_eq(format('SELECT * FROM byoc.inbound_credential(%L)', :'of_b'), format('VALUES (%L::uuid, 1)', byoc_test.org_b()), 'a credential''s organization');
SELECT is_empty('SELECT * FROM byoc.inbound_credential(gen_random_uuid())', 'an unknown one has none');

-- Words
SELECT is(byoc.inbound_keyword(w, NULL), k, format('"%s" means %s', btrim(w, E' \r\n'), coalesce(k, 'nothing')))
FROM (VALUES ('STOP', 'stop'), (E' stop\r\n', 'stop'), ('StopAll', 'stop'), ('unsubscribe', 'stop'), ('cancel', 'stop'), ('end', 'stop'), ('quit', 'stop'),
             ('start', 'start'), ('Yes', 'start'), ('unstop', 'start'), ('help', 'help'), ('stop it', NULL), ('', NULL), ('don''t stop', NULL)) AS t (w, k);
SELECT is(byoc.inbound_keyword('ARRÊT', 'STOP'), 'stop', 'what the provider makes of it counts');

-- STOP
SELECT byoc_test.send('+15005550010') AS queued \gset
SELECT byoc_test.send('+15005550010', send_at => now() + interval '1 day') AS scheduled \gset
SELECT byoc_test.send('+15005550011') AS to_other \gset
SELECT byoc_test.send('+15005550010', byoc_test.org_b()) AS by_b \gset
SELECT is(byoc_test.comes_in(1, '+15005550010', 'Stop'), NULL, 'STOP comes in');
SELECT results_eq('SELECT org_id, credential_id, provider_sid, from_number, to_number, body, keyword FROM byoc.inbound_messages',
    format('VALUES (%L::uuid, %L::uuid, %L, %L, %L, %L, %L)', byoc_test.org_a(), :'credential', byoc_test.sid(1), '+15005550010', '+15005550001', 'Stop', 'stop'),
    'it is kept');
SELECT results_eq('SELECT org_id, number, source FROM byoc.opt_outs', format('VALUES (%L::uuid, %L, %L)', byoc_test.org_a(), '+15005550010', 'inbound'), 'and noted');
SELECT results_eq(format('SELECT status, error_code, error_message, attempts FROM byoc.sms_messages WHERE id IN (%L, %L)', :'queued', :'scheduled'),
    $$VALUES ('failed', '21610', 'the recipient has opted out', 0), ('failed', '21610', 'the recipient has opted out', 0)$$, 'what waits for that number fails');
SELECT is(byoc_test.events(:'queued'), 'refused', 'as its history says');
SELECT is(byoc_test.status(:'to_other') || ' ' || byoc_test.status(:'by_b'), 'queued queued', 'other numbers and other organizations go on');
SELECT byoc_test.send('+15005550010') AS later \gset
SELECT results_eq(format('SELECT status, error_code, error_message, attempts, to_number FROM byoc.sms_messages WHERE id = %L', :'later'),
    $$VALUES ('failed', '21610', 'the recipient has opted out', 0, '+15005550010')$$, 'a later message fails at once');
SELECT is(byoc_test.events(:'later'), 'refused', 'with that reason');
SELECT is(byoc_test.status(byoc_test.send('+15005550010', send_at => now() + interval '1 day')), 'failed', 'a scheduled one too');
SELECT is(byoc_test.status(byoc_test.send('+15005550010', byoc_test.org_b())), 'queued', 'not another organization''s');
CREATE TABLE leads (org_id uuid, phone text);
SELECT byoc.create_sms_trigger('leads', '{{phone}}', 'hello', on_error => 'raise') AS made \gset
SELECT lives_ok(format($$INSERT INTO leads VALUES (%1$L, '+15005550010'), (%1$L, '+15005550012')$$, byoc_test.org_a()), 'a row for a trigger is no error, even with on_error => raise');
SELECT results_eq($$SELECT to_number, status, error_code FROM byoc.sms_messages WHERE source_table = 'public.leads' ORDER BY 1$$,
    $$VALUES ('+15005550010', 'failed', '21610'), ('+15005550012', 'queued', NULL)$$, 'its message failed, the other one goes out');

-- START
SELECT is(byoc_test.comes_in(2, '+15005550010', 'START'), NULL, 'START');
SELECT is_empty('SELECT FROM byoc.opt_outs', 'lifts it');
SELECT is(byoc_test.status(byoc_test.send('+15005550010')), 'queued', 'messages go out again');
SELECT is(byoc_test.comes_in(1, '+15005550010', 'Stop'), NULL, 'the same STOP again');
SELECT is_empty('SELECT FROM byoc.opt_outs', 'is no new one');
SELECT is(byoc_test.comes_in(3, '+15005550010', 'Thanks!'), NULL, 'any other text');
SELECT is((SELECT count(*) FROM byoc.inbound_messages), 3::bigint, 'is kept, each message once');

-- What the provider knows
SELECT byoc_test.send('+15005550013') AS m \gset
SELECT byoc_test.send('+15005550014') AS n \gset
SELECT count(*) AS x FROM byoc_test.claim(100) \gset
SELECT byoc_test.record(:'m', 'rejected', '{"error_code": "21610"}') AS x \gset
SELECT byoc_test.record(:'n', 'rejected', '{"error_code": "21614"}') AS x \gset
SELECT byoc.note_refusals(ARRAY[byoc_test.org_a(), byoc_test.org_a()], ARRAY[:'m', :'n']::uuid[]);
SELECT results_eq('SELECT number, source FROM byoc.opt_outs', $$VALUES ('+15005550013', 'provider')$$, 'a refusal with 21610 tells of an opt-out');
SELECT is(byoc_test.status(byoc_test.send('+15005550013')), 'failed', 'which is not asked for twice');

-- An application's trigger
CREATE FUNCTION byoc_test.on_inbound() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'application''s mistake'; END $$;
CREATE TRIGGER on_inbound AFTER INSERT ON byoc.inbound_messages FOR EACH ROW EXECUTE FUNCTION byoc_test.on_inbound();
SELECT is(byoc_test.comes_in(4, '+15005550020', 'STOP'), 'P0001', 'an application''s trigger that fails is told');
SELECT ok(EXISTS (SELECT FROM byoc.opt_outs WHERE number = '+15005550020'), 'and keeps nobody from opting out');
DROP TRIGGER on_inbound ON byoc.inbound_messages;
SELECT is(byoc_test.comes_in(4, '+15005550020', 'STOP'), NULL, 'the message is taken when it comes again');

-- Tenants
SET LOCAL ROLE byoc_test_tenant;
SELECT byoc_test.act_as(byoc_test.org_b());
SELECT is_empty('SELECT FROM byoc.inbound_messages', 'another organization sees nothing of it');
SELECT is_empty('SELECT FROM byoc.opt_outs', 'and no opt-outs');
SELECT byoc_test.refused($$SELECT byoc.lift_opt_out('+15005550020', byoc_test.org_a())$$, '42501', '', 'nor lifts them');
SELECT byoc_test.act_as(byoc_test.org_a(), 'member');
SELECT is((SELECT count(*) FROM byoc.inbound_messages), 4::bigint, 'the organization sees its own');
SELECT byoc_test.refused($$SELECT byoc.lift_opt_out('+15005550020')$$, '42501', '', 'a member does not lift an opt-out');
SELECT byoc_test.refused($$DELETE FROM byoc.opt_outs$$, '42501', 'permission denied', 'not by hand either');
SELECT byoc_test.act_as(byoc_test.org_a(), 'admin');
SELECT lives_ok($$SELECT byoc.lift_opt_out('+15005550020')$$, 'an admin does');
SELECT byoc_test.refused($$SELECT byoc.lift_opt_out('+15005550020')$$, 'P0002', 'has not opted out', 'once');
RESET ROLE;

SELECT * FROM finish();
ROLLBACK;
