-- Calendar events: what may be written, what becomes of it, and events that follow rows.
BEGIN;
\ir support/setup.sql
SELECT plan(119);

SELECT byoc_test.add_google(byoc_test.org_a()) AS google \gset
SELECT byoc_test.add_google(byoc_test.org_b()) AS google_b \gset
-- What a claim brings of an event, as the provider's adapter sees it.
CREATE FUNCTION byoc_test.claimed_event() RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object('operation', c.operation) || c.payload FROM byoc.claim_calls(1, '1 minute', 10) AS c;
$$;
CREATE FUNCTION byoc_test.end_calls(outcome text DEFAULT 'accepted', more jsonb DEFAULT '{"http_status": 200, "result": {"html_link": "https://calendar.example.test/e"}}')
RETURNS bigint LANGUAGE sql AS $$
    SELECT count(byoc.record_calls(jsonb_build_array(jsonb_build_object('org_id', c.org_id, 'id', c.id, 'claim_id', c.claim_id, 'outcome', outcome) || more)))
    FROM byoc.calls c WHERE c.claim_id IS NOT NULL;
$$;
CREATE FUNCTION byoc_test.event_state(id uuid) RETURNS text LANGUAGE sql SECURITY DEFINER AS $$
    SELECT concat_ws(' ', e.status, e.error_code, e.html_link) FROM byoc.all_calendar_events e WHERE e.id = event_state.id;
$$;
CREATE FUNCTION byoc_test.refused_event(given jsonb, pattern text, description text) RETURNS text LANGUAGE sql AS $$
    SELECT byoc_test.refused(format('INSERT INTO byoc.calendar_events (summary, starts_at, ends_at, starts_on, ends_on, time_zone, attendees, recurrence, send_updates) '
        'SELECT e.summary, e.starts_at, e.ends_at, e.starts_on, e.ends_on, e.time_zone, e.attendees, e.recurrence, e.send_updates '
        'FROM jsonb_populate_record(NULL::byoc.calendar_entries, %L) AS e',
        '{"summary": "Visit", "starts_at": "2026-07-01 10:00+02", "ends_at": "2026-07-01 11:00+02"}'::jsonb || given), '22023', pattern, description);
$$;
SELECT byoc_test.act_as(byoc_test.org_a(), 'member');
SET LOCAL ROLE byoc_test_tenant;

-- Ids and zones
SELECT matches(byoc.calendar_event_id('ffffffff-ffff-ffff-ffff-ffffffffffff'), '^v{25}s$', 'an event''s id is base32hex of its 128 bits');
SELECT is(byoc.calendar_event_id('00443214-c742-54b6-35cf-84653a56d7c6'), '0123456789abcdefghijklmnoo', 'in small letters, in their order');

-- A new event
INSERT INTO byoc.calendar_events (summary, starts_at, ends_at, time_zone, attendees, description, location)
VALUES ('Check-up', '2026-03-29 10:00+02', '2026-03-29 10:45+02', 'Europe/Berlin', '{ada@example.org,bob@example.org}', 'Bring your card.', 'Room 2')
RETURNING id AS event \gset
SELECT is(byoc_test.event_state(:'event'), 'pending', 'an event waits for its calendar');
SELECT is((SELECT e.org_id FROM byoc.calendar_events e WHERE e.id = :'event'), byoc_test.org_a(), 'it is the tenant''s own');
RESET ROLE;
SELECT is(byoc_test.claimed_event(), jsonb_build_object('operation', 'event.insert', 'event_id', byoc.calendar_event_id(:'event'), 'send_updates', 'all',
    'summary', 'Check-up', 'description', 'Bring your card.', 'location', 'Room 2', 'time_zone', 'Europe/Berlin',
    'attendees', '["ada@example.org", "bob@example.org"]'::jsonb, 'starts_at', '2026-03-29T08:00:00Z', 'ends_at', '2026-03-29T08:45:00Z'),
    'the provider is told everything, times in UTC');
SELECT byoc_test.end_calls();
SET LOCAL ROLE byoc_test_tenant;
SELECT is((SELECT e.status || ' ' || e.provider_event_id || ' ' || e.html_link FROM byoc.calendar_events e WHERE e.id = :'event'),
          'confirmed ' || byoc.calendar_event_id(:'event') || ' https://calendar.example.test/e', 'what the provider answered comes back');

-- Changes
UPDATE byoc.calendar_events SET starts_at = '2026-03-30 10:00+02', ends_at = '2026-03-30 11:00+02' WHERE id = :'event';
SELECT is(byoc_test.event_state(:'event'), 'pending https://calendar.example.test/e', 'a change is on its way');
UPDATE byoc.calendar_events SET summary = 'Check-up, moved' WHERE id = :'event';
RESET ROLE;
SELECT is((SELECT count(*) FROM byoc.calls c WHERE c.subject = :'event' AND c.finished_at IS NULL), 1::bigint, 'another one takes its place');
SELECT is((SELECT concat_ws(' ', c ->> 'operation', c ->> 'summary', c ->> 'starts_at') FROM byoc_test.claimed_event() AS c),
          'event.update Check-up, moved 2026-03-30T08:00:00Z', 'and says the whole event');
SET LOCAL ROLE byoc_test_tenant;
UPDATE byoc.calendar_events SET location = 'Room 3' WHERE id = :'event';
RESET ROLE;
SELECT is(byoc_test.claimed_event(), NULL, 'a change meanwhile waits for that');
SELECT byoc_test.end_calls();
SELECT is(byoc_test.claimed_event() ->> 'location', 'Room 3', 'and follows');
SELECT byoc_test.end_calls('rejected', '{"error_code": "invalid", "error_message": "Invalid attendee email.", "http_status": 400}');
SELECT is(byoc_test.event_state(:'event'), 'failed invalid https://calendar.example.test/e', 'a refused change shows');
SET LOCAL ROLE byoc_test_tenant;
UPDATE byoc.calendar_events SET location = 'Room 3' WHERE id = :'event';
SELECT is(byoc_test.event_state(:'event'), 'pending https://calendar.example.test/e', 'any update tries again');
RESET ROLE;
SELECT byoc_test.claimed_event();
SELECT byoc_test.end_calls();
SET LOCAL ROLE byoc_test_tenant;

-- Taken away
DELETE FROM byoc.calendar_events WHERE id = :'event';
SELECT is(byoc_test.event_state(:'event'), 'cancelling https://calendar.example.test/e', 'DELETE takes it away');
RESET ROLE;
SELECT is(byoc_test.claimed_event(), jsonb_build_object('operation', 'event.delete', 'event_id', byoc.calendar_event_id(:'event'), 'send_updates', 'all',
    'time_zone', 'Europe/Berlin', 'starts_at', '2026-03-30T08:00:00Z', 'ends_at', '2026-03-30T09:00:00Z'), 'the provider is told');
SELECT byoc_test.end_calls();
SELECT is(byoc_test.event_state(:'event'), 'cancelled https://calendar.example.test/e', 'and then it is cancelled');
SET LOCAL ROLE byoc_test_tenant;
DELETE FROM byoc.calendar_events WHERE id = :'event';
SELECT byoc_test.refused(format('UPDATE byoc.calendar_events SET summary = ''x'' WHERE id = %L', :'event'), '55000', 'is cancelled', 'a cancelled event does not change');
INSERT INTO byoc.calendar_events (summary, starts_on, ends_on) VALUES ('Holidays', '2026-12-24', '2026-12-26') RETURNING id AS holidays, time_zone AS zone \gset
SELECT is(:'zone'::text, 'UTC', 'without a zone it is UTC');
DELETE FROM byoc.calendar_events WHERE id = :'holidays';
SELECT is(byoc_test.event_state(:'holidays'), 'cancelled superseded', 'an event that never went out is cancelled at once');
RESET ROLE;
SELECT is(byoc_test.claimed_event(), NULL, 'and the provider hears nothing');
UPDATE byoc.organizations SET settings = '{"time_zone": "Asia/Tokyo"}' WHERE id = byoc_test.org_a();
SET LOCAL ROLE byoc_test_tenant;
INSERT INTO byoc.calendar_events (summary, starts_on, ends_on, recurrence) VALUES ('Holidays', '2026-12-24', '2026-12-26', '{RRULE:FREQ=YEARLY;COUNT=3}') RETURNING id AS holidays \gset
RESET ROLE;
SELECT is((SELECT concat_ws(' ', c ->> 'starts_on', c ->> 'ends_before', c ->> 'time_zone', c ->> 'recurrence', c ->> 'starts_at') FROM byoc_test.claimed_event() AS c),
          '2026-12-24 2026-12-27 Asia/Tokyo ["RRULE:FREQ=YEARLY;COUNT=3"]', 'whole days, the last one included; the organization''s zone');
SELECT byoc_test.end_calls('bad_credential', '{"error_code": "invalid_grant", "error_message": "Connect again."}');
SET LOCAL ROLE byoc_test_tenant;
SELECT is((SELECT e.status || ', ' || e.waiting_reason FROM byoc.calendar_events e WHERE e.id = :'holidays'), 'pending, paused: the credential failed: Connect again.', 'it says what it waits for');
RESET ROLE;
UPDATE byoc.organization_api_credentials SET verification_status = 'verified' WHERE id = :'google';
SET LOCAL ROLE byoc_test_tenant;

-- What cannot be an event
SELECT byoc_test.refused_event('{"summary": ""}', 'no summary', 'an event has a summary');
SELECT byoc_test.refused_event('{"starts_at": null, "ends_at": null}', 'starts_at or, for whole days', 'and a time');
SELECT byoc_test.refused_event('{"starts_on": "2026-07-01", "ends_on": "2026-07-01"}', 'either', 'a time or whole days');
SELECT byoc_test.refused_event('{"ends_at": null}', 'needs ends_at', 'with an end');
SELECT byoc_test.refused_event('{"ends_at": "2026-07-01 10:00+02"}', 'before it begins', 'that comes later');
SELECT byoc_test.refused_event('{"ends_at": "infinity"}', 'some time', 'and is a time');
SELECT byoc_test.refused_event('{"starts_at": null, "ends_at": null, "starts_on": "2026-07-02", "ends_on": "2026-07-01"}', 'before it begins', 'the last day is not before the first');
SELECT byoc_test.refused_event(jsonb_build_object('time_zone', z), 'no IANA time zone', z || ' is no zone')
FROM unnest(ARRAY['Mars/Olympus', 'EST5', 'CET-1CEST', '+02', 'Foo+3', 'europe/berlin; DROP']) AS z;
SELECT byoc_test.refused_event(jsonb_build_object('attendees', ARRAY[a]), 'no e-mail address', a || ' is no address')
FROM unnest(ARRAY['ada', 'ada@localhost', 'ada@example.org, bob@example.org', 'Ada <ada@example.org>', '@example.org', '']) AS a;
SELECT byoc_test.refused_event(jsonb_build_object('recurrence', ARRAY[r]), 'recurrence', replace(r, E'\n', ' ') || ' is no recurrence')
FROM unnest(ARRAY['weekly', 'RRULE:', 'RRULE:COUNT=3', 'RRULE:FREQ=SOMETIMES', 'RRULE:FREQ=DAILY;COUNT=3;UNTIL=20270101', 'RRULE:FREQ=DAILY;FREQ=WEEKLY',
                  'RRULE:FREQ=WEEKLY;BYDAY=XX', E'RRULE:FREQ=DAILY\nEXDATE:20260701', 'EXDATE:tomorrow']) AS r;
SELECT byoc_test.refused_event('{"send_updates": "some"}', 'send_updates', 'updates go to all, externalOnly or none');
SELECT lives_ok(format('INSERT INTO byoc.calendar_events (summary, starts_at, ends_at, recurrence) VALUES (''x'', ''2026-07-01 10:00+02'', ''2026-07-01 11:00+02'', %L)', ARRAY[r]), r || ' is a recurrence')
FROM unnest(ARRAY['RRULE:FREQ=WEEKLY;BYDAY=MO,-1FR;UNTIL=20271231T235959Z;WKST=SU', 'RRULE:FREQ=MONTHLY;BYMONTHDAY=-1;INTERVAL=2', 'EXDATE;TZID=Europe/Berlin:20260708T100000', 'RDATE;VALUE=DATE:20260901,20260902']) AS r;
SELECT byoc_test.refused($$INSERT INTO byoc.calendar_events (summary, status) VALUES ('x', 'confirmed')$$, '22023', 'status', 'a state cannot be given');
SELECT byoc_test.refused(format($$UPDATE byoc.calendar_events SET html_link = 'https://evil.example.test' WHERE id = %L$$, :'holidays'), '42501', 'html_link', 'nor changed');
SELECT byoc_test.refused($$INSERT INTO byoc.calendar_events (summary, starts_on, ends_on, credential_id) VALUES ('x', '2026-07-01', '2026-07-01', gen_random_uuid())$$,
    '22023', 'not an active google_calendar', 'an unknown credential is refused');
SELECT byoc_test.refused(format($$UPDATE byoc.calendar_events SET credential_id = %L WHERE id = %L$$, :'google', :'holidays'), '42501', 'never changes', 'an event stays in its calendar');

RESET ROLE;
SELECT ok(byoc.is_time_zone(z), z || ' is a zone') FROM unnest(ARRAY['Europe/Berlin', 'America/Argentina/Buenos_Aires', 'America/Port-au-Prince', 'UTC', 'Etc/GMT+5']) AS z;
SET LOCAL ROLE byoc_test_tenant;

-- Tenants
SELECT byoc_test.refused($$INSERT INTO byoc.calendar_events (org_id, summary, starts_on, ends_on) VALUES (byoc_test.org_b(), 'x', '2026-07-01', '2026-07-01')$$, '42501', '', 'no events for others');
RESET ROLE;
SELECT byoc_test.act_as(byoc_test.org_b());
SET LOCAL ROLE byoc_test_tenant;
SELECT is_empty('SELECT FROM byoc.calendar_events', 'nor others'' events');
DELETE FROM byoc.calendar_events WHERE id = :'holidays';
SELECT byoc_test.refused(format('SELECT byoc.cancel_calendar_event(byoc_test.org_a(), %L)', :'holidays'), '42501', '', 'nor cancelling them');
SELECT byoc_test.refused(format('SELECT byoc.save_calendar_event(byoc_test.org_b(), ''{"summary": "mine"}'', %L)', :'holidays'), 'P0002', 'does not exist', 'nor changing them');
SELECT byoc_test.no_context();
SELECT byoc_test.refused($$INSERT INTO byoc.calendar_events (summary, starts_on, ends_on) VALUES ('x', '2026-07-01', '2026-07-01')$$, '28000', '', 'without a context nothing');
RESET ROLE;
SELECT isnt(byoc_test.event_state(:'holidays'), 'cancelling', 'so it stands');

-- Rows
DELETE FROM byoc.calls;
DELETE FROM byoc.calendar_entries;
CREATE TABLE appointments (id int PRIMARY KEY, org_id uuid, patient text, email text, starts_at timestamptz, minutes int DEFAULT 30, is_booked boolean DEFAULT true,
                           local_start timestamp, local_end timestamp, day date, last_day date, until timestamptz);
CREATE FUNCTION byoc_test.row_events() RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(concat_ws(' ', e.summary, e.status, e.error_message), ', ' ORDER BY e.id) FROM byoc.all_calendar_events e;
$$;
CREATE FUNCTION byoc_test.next_call() RETURNS text LANGUAGE sql AS $$
    SELECT nullif(concat_ws(' ', c ->> 'operation', c ->> 'summary', c ->> 'starts_at', c ->> 'ends_at', c ->> 'starts_on', c ->> 'ends_before', c ->> 'attendees', c ->> 'time_zone', c ->> 'recurrence'), '')
    FROM byoc_test.claimed_event() AS c;
$$;
SELECT is(byoc.create_calendar_trigger('appointments', 'Visit of {{patient|default:"somebody"}}', 'starts_at', attendees => '{{email}}', time_zone => 'Europe/Berlin',
                                       duration => '45 minutes', condition => 'NEW.is_booked'), 'byoc_calendar_1', 'a table''s rows can be followed');
SELECT is((SELECT t.summary || ' ' || t.duration FROM byoc.calendar_triggers t), 'Visit of {{patient|default:"somebody"}} 00:45:00', 'byoc.calendar_triggers lists the trigger');
INSERT INTO appointments (id, org_id, patient, email, starts_at) VALUES (1, byoc_test.org_a(), 'Zoë', 'zoe@example.org, al@example.org', '2026-07-01 10:00+02');
SELECT is(byoc_test.next_call(), 'event.insert Visit of Zoë 2026-07-01T08:00:00Z 2026-07-01T08:45:00Z ["zoe@example.org", "al@example.org"] Europe/Berlin', 'the event comes with the row');
SELECT byoc_test.end_calls();
UPDATE appointments SET minutes = 31;
SELECT is(byoc_test.next_call(), NULL, 'a change that is not in the event is none of its');
UPDATE appointments SET starts_at = '2026-07-02 10:00+02';
SELECT is(byoc_test.next_call(), 'event.update Visit of Zoë 2026-07-02T08:00:00Z 2026-07-02T08:45:00Z ["zoe@example.org", "al@example.org"] Europe/Berlin', 'it changes with the row');
SELECT byoc_test.end_calls();
UPDATE appointments SET id = 7, patient = 'Max';
SELECT is(byoc_test.next_call(), 'event.update Visit of Max 2026-07-02T08:00:00Z 2026-07-02T08:45:00Z ["zoe@example.org", "al@example.org"] Europe/Berlin', 'also when the key changes');
SELECT byoc_test.end_calls();
UPDATE appointments SET is_booked = false;
SELECT is(byoc_test.next_call(), 'event.delete 2026-07-02T08:00:00Z 2026-07-02T08:45:00Z Europe/Berlin', 'it goes when the condition is not met any more');
SELECT byoc_test.end_calls();
UPDATE appointments SET is_booked = true;
SELECT is(split_part(byoc_test.next_call(), ' ', 1), 'event.insert', 'and comes back as another one');
SELECT byoc_test.end_calls();
UPDATE appointments SET email = 'nobody';
SELECT is(byoc_test.row_events(), 'Visit of Max cancelled, Visit of Max failed an attendee is no e-mail address', 'a bad row is kept, and says what is wrong');
SELECT is(byoc_test.next_call(), NULL, 'the calendar keeps the last good event');
UPDATE appointments SET email = 'max@example.org';
SELECT is(split_part(byoc_test.next_call(), ' ', 1), 'event.update', 'until the row is mended');
SELECT byoc_test.end_calls();
UPDATE appointments SET org_id = byoc_test.org_b();
SELECT byoc_test.lists('SELECT c.operation || '' '' || (c.org_id = byoc_test.org_a()) FROM byoc.claim_calls(10, ''1 minute'', 10) AS c',
    ARRAY['event.delete true', 'event.insert false'], 'a row that changes hands leaves one calendar for the other');
SELECT byoc_test.end_calls();
DELETE FROM appointments;
SELECT is(split_part(byoc_test.next_call(), ' ', 1), 'event.delete', 'it goes with the row');
SELECT byoc_test.end_calls();
INSERT INTO appointments (id, org_id, starts_at) VALUES (1, NULL, now()), (2, gen_random_uuid(), now()), (3, byoc_test.org_a(), NULL);
SELECT byoc_test.lists('SELECT e.refusal FROM byoc.calendar_entries e WHERE e.cancelled_at IS NULL',
    ARRAY['the row names no organization', 'the organization does not exist', 'the event needs either starts_at or, for whole days, starts_on'], 'each bad row says why');
SELECT is(byoc_test.next_call(), NULL, 'and makes no call');
SELECT byoc.drop_calendar_trigger('appointments', 'byoc_calendar_1');
TRUNCATE appointments;
DELETE FROM byoc.calls;
DELETE FROM byoc.calendar_entries;

-- Kinds of columns
SELECT byoc.create_calendar_trigger('appointments', 'Days', 'day', 'last_day', name => 'days', time_zone => '{{patient|default:"UTC"}}', recurrence => '{{email}}', condition => 'NEW.day IS NOT NULL');
SELECT byoc.create_calendar_trigger('appointments', 'Local', 'local_start', 'local_end', name => 'local', time_zone => 'Europe/Berlin', condition => 'local_start IS NOT NULL');
INSERT INTO appointments (id, org_id, day, last_day, email) VALUES (1, byoc_test.org_a(), '2026-07-01', '2026-07-03', 'RRULE:FREQ=YEARLY EXDATE;VALUE=DATE:20270701');
SELECT is(byoc_test.next_call(), 'event.insert Days 2026-07-01 2026-07-04 UTC ["RRULE:FREQ=YEARLY", "EXDATE;VALUE=DATE:20270701"]', 'dates are whole days');
INSERT INTO appointments (id, org_id, local_start, local_end) VALUES (2, byoc_test.org_a(), '2026-03-29 01:30', '2026-03-29 03:30');
SELECT is(byoc_test.next_call(), 'event.insert Local 2026-03-29T00:30:00Z 2026-03-29T01:30:00Z Europe/Berlin', 'times without a zone are meant in the event''s, across a change of the clocks');

-- The application's statement goes on
SELECT byoc.create_calendar_trigger('appointments', 'Risky', 'until', name => 'risky', condition => '1 / NEW.minutes > 0');
SELECT lives_ok('INSERT INTO appointments (id, org_id, minutes, until) VALUES (10, byoc_test.org_a(), 0, now())', 'a condition that fails aborts nothing');
SELECT is((SELECT e.refusal FROM byoc.calendar_entries e WHERE e.source_key = '[10]'), 'division by zero', 'the event says so');
SELECT byoc.create_calendar_trigger('appointments', 'Strict', 'until', name => 'strict', attendees => '{{email}}', on_error => 'raise', condition => 'NEW.until IS NOT NULL AND NEW.minutes > 1');
SELECT byoc_test.refused($$INSERT INTO appointments (id, org_id, until, email) VALUES (11, byoc_test.org_a(), now(), 'x')$$, '22023', 'no e-mail address', 'unless it is to');

ALTER TABLE appointments DROP COLUMN email;
SELECT lives_ok('INSERT INTO appointments (id, org_id, day) VALUES (12, byoc_test.org_a(), ''2026-07-01'')', 'a definition that does not fit the table any more aborts nothing');
SELECT matches((SELECT e.refusal FROM byoc.calendar_entries e WHERE e.source_key = '[12]' AND e.source_trigger = 'days'), 'no column "email"', 'the event says so, too');
ALTER TABLE appointments ADD COLUMN email text;

-- Checked when it is made
SELECT byoc_test.refused($$SELECT byoc.create_calendar_trigger('appointments', 'x {{nobody}}', 'starts_at')$$, '42703', 'summary template: table appointments has no column "nobody"', 'an unknown column in a template');
SELECT byoc_test.refused($$SELECT byoc.create_calendar_trigger('appointments', 'x', 'starts')$$, '42703', 'no column "starts" for starts_at', 'an unknown column for the time');
SELECT byoc_test.refused($$SELECT byoc.create_calendar_trigger('appointments', 'x', 'patient')$$, '42804', 'is text, and must be', 'a column that is no time');
SELECT byoc_test.refused($$SELECT byoc.create_calendar_trigger('appointments', 'x', 'starts_at', time_zone => 'Berlin')$$, '22023', 'Berlin', 'an unknown zone');
SELECT byoc_test.refused($$SELECT byoc.create_calendar_trigger('appointments', 'x', 'starts_at', condition => 'true); DROP TABLE appointments; --')$$, '42601', '', 'a condition that is more than one');
SELECT byoc_test.refused($$SELECT byoc.create_calendar_trigger('appointments', 'x', 'starts_at', condition => 'NEW.nothing')$$, '42703', 'nothing', 'a condition over what is not there');
SELECT byoc_test.refused($$SELECT byoc.create_calendar_trigger('appointments', 'x', 'starts_at', on_error => 'ignore')$$, '22023', 'on_error', 'an unknown on_error');
SELECT byoc_test.refused($$SELECT byoc.create_calendar_trigger('appointments', 'x', 'starts_at', duration => '0')$$, '22023', 'duration', 'no duration');
CREATE TABLE keyless (org_id uuid, starts_at timestamptz);
SELECT byoc_test.refused($$SELECT byoc.create_calendar_trigger('keyless', 'x', 'starts_at')$$, '55000', 'no primary key', 'a table without a key');
SELECT byoc_test.refused($$SELECT byoc.drop_calendar_trigger('appointments', 'none')$$, '42704', 'no calendar trigger', 'dropping what is not there');
GRANT USAGE ON SCHEMA public TO byoc_test_admin;
SET LOCAL ROLE byoc_test_admin;
SELECT byoc_test.refused($$SELECT byoc.create_calendar_trigger('public.appointments', 'x', 'starts_at')$$, '42501', 'permission denied', 'TRIGGER on the table is needed');
RESET ROLE;

-- The tenant context
GRANT ALL ON appointments TO byoc_test_tenant;
SELECT byoc_test.act_as(byoc_test.org_a(), 'member');
SET LOCAL ROLE byoc_test_tenant;
SELECT lives_ok('INSERT INTO appointments (id, org_id, day) VALUES (20, byoc_test.org_a(), ''2026-07-01'')', 'a tenant who may change the table needs nothing else');
SELECT byoc_test.refused('INSERT INTO appointments (id, org_id, day) VALUES (21, byoc_test.org_b(), ''2026-07-01'')', '42501', '', 'but another organization''s event');
SELECT byoc_test.refused('UPDATE appointments SET org_id = byoc_test.org_b() WHERE id = 20', '42501', '', 'also by an update');
RESET ROLE;

-- Whose rights
CREATE TABLE owned (id int PRIMARY KEY, org_id uuid, starts_at timestamptz DEFAULT '2026-07-01 10:00+02');
SELECT byoc.create_calendar_trigger('owned', 'Own', 'starts_at', condition => $$current_user = 'byoc_test_tenant'$$);
GRANT ALL ON owned TO byoc_test_tenant;
INSERT INTO owned VALUES (1, byoc_test.org_a());
SET LOCAL ROLE byoc_test_tenant;
INSERT INTO owned VALUES (2, byoc_test.org_a());
RESET ROLE;
SELECT is((SELECT string_agg(e.source_key, ',') FROM byoc.calendar_entries e WHERE e.source_table = 'public.owned'), '[2]', 'a condition runs with the rights of who changes the row');

-- Keys of several columns
CREATE TABLE seats (room text, number text, org_id uuid, starts_at timestamptz DEFAULT '2026-07-01 10:00+02', PRIMARY KEY (room, number));
SELECT byoc.create_calendar_trigger('seats', '{{room}}|{{number}}', 'starts_at');
INSERT INTO seats VALUES ('a', 'b,c', byoc_test.org_a());
SELECT lives_ok($$INSERT INTO seats VALUES ('a,b', 'c', byoc_test.org_a())$$, 'keys that look alike when joined are two rows');
DELETE FROM seats WHERE room = 'a';
SELECT is((SELECT string_agg(e.summary, ' ') FROM byoc.calendar_entries e WHERE e.source_table = 'public.seats' AND e.cancelled_at IS NULL), 'a,b|c', 'each with its own event');
ALTER TABLE seats RENAME TO places;
CREATE SCHEMA byoc_test_moved;
ALTER TABLE places SET SCHEMA byoc_test_moved;
UPDATE byoc_test_moved.places SET starts_at = '2026-07-02 10:00+02';
SELECT is((SELECT string_agg(concat_ws(' ', e.summary, e.starts_at AT TIME ZONE 'UTC'), ', ') FROM byoc.calendar_entries e WHERE e.source = 'byoc_test_moved.places'::regclass AND e.cancelled_at IS NULL),
          'a,b|c 2026-07-02 08:00:00', 'an event goes on following its row when the table is renamed');

-- Durations
CREATE TABLE stays (id int PRIMARY KEY, org_id uuid, starts_at timestamptz);
SELECT byoc.create_calendar_trigger('stays', 'Stay', 'starts_at', time_zone => 'Europe/Berlin', duration => '1 day 2 hours');
INSERT INTO stays VALUES (1, byoc_test.org_a(), '2026-03-28 10:00+01');
SET LOCAL TimeZone = 'Asia/Tokyo';
INSERT INTO stays VALUES (2, byoc_test.org_a(), '2026-03-28 10:00+01');
SELECT is((SELECT string_agg(DISTINCT (e.ends_at AT TIME ZONE 'Europe/Berlin')::text, ', ') FROM byoc.calendar_entries e WHERE e.source_table = 'public.stays'),
          '2026-03-29 12:00:00', 'days pass as in the event''s zone, whatever the session''s');
RESET TimeZone;
SELECT is(byoc.later_in_zone('2026-10-25 00:30Z', '1 hour', 'Europe/Berlin'), '2026-10-25 01:30Z'::timestamptz, 'an hour is an hour where the clocks change');

-- A calendar that is not connected any more
DELETE FROM byoc.calls;
DELETE FROM byoc.calendar_entries;
SELECT byoc_test.act_as(byoc_test.org_a(), 'owner');
INSERT INTO byoc.calendar_events (summary, starts_on, ends_on) VALUES ('Fair', '2999-01-01', '2999-01-01') RETURNING id AS fair \gset
SELECT byoc_test.claimed_event();
SELECT byoc_test.end_calls();
SELECT byoc.revoke_credential(:'google');
DELETE FROM byoc.calendar_events WHERE id = :'fair';
SELECT is(byoc_test.claimed_event(), NULL, 'deleting an event waits for a calendar');
SELECT is((SELECT e.status || ', ' || e.waiting_reason FROM byoc.calendar_events e WHERE e.id = :'fair'), 'cancelling, paused: the organization has no calendar connected', 'and says so');
UPDATE byoc.calls SET due_at = now() - byoc.retry_window() WHERE due_at IS NOT NULL;
SELECT byoc_test.claimed_event();
SELECT byoc_test.end_calls('rejected', '{"error_code": "no_credential"}');
SELECT is(byoc_test.event_state(:'fair'), 'failed no_credential https://calendar.example.test/e', 'not for ever');
SELECT byoc_test.add_google(byoc_test.org_a());
SELECT byoc_test.act_as(byoc_test.org_a());
DELETE FROM byoc.calendar_events WHERE id = :'fair';
SELECT is(byoc_test.claimed_event() ->> 'operation', 'event.delete', 'deleting it once more tries again');
SELECT byoc_test.end_calls();
DELETE FROM byoc.calendar_events WHERE id = :'fair';
SELECT is(byoc_test.claimed_event(), NULL, 'until it is gone');

-- Pruned
SELECT byoc_test.act_as(byoc_test.org_a(), 'member');
DELETE FROM byoc.calls;
DELETE FROM byoc.calendar_entries;
INSERT INTO byoc.calendar_events (summary, starts_on, ends_on) VALUES ('Past', '2020-01-01', '2020-01-01'), ('Future', '2999-01-01', '2999-01-01');
SELECT byoc_test.claimed_event() FROM generate_series(1, 2);
SELECT byoc_test.end_calls();
UPDATE byoc.calls SET finished_at = now() - interval '2 days', id = overlay(id::text PLACING '01000000' FROM 1)::uuid;
UPDATE byoc.calendar_entries SET updated_at = now() - interval '2 days' WHERE summary IN ('Past', 'Future');
UPDATE byoc.calls SET subject = overlay(subject::text PLACING '01000000' FROM 1)::uuid;
UPDATE byoc.calendar_entries SET id = overlay(id::text PLACING '01000000' FROM 1)::uuid;
SELECT is(byoc.prune('1 day'), 2::bigint, 'an event that is over goes, with its calls');
SELECT is((SELECT string_agg(concat_ws(' ', e.summary, e.status, e.html_link), ', ') FROM byoc.calendar_events e), 'Future confirmed https://calendar.example.test/e', 'one that stands keeps the last word about it');

SELECT * FROM finish();
ROLLBACK;
