-- Availability: working hours, slots, zones and changes of the clocks, busy times, and what is on its way.
BEGIN;
\ir support/setup.sql
SELECT plan(33);

-- The start times of a day's slots, in the zone of the settings.
CREATE FUNCTION byoc_test.slots(settings jsonb, day date, duration interval DEFAULT '1 hour', busy tstzmultirange DEFAULT '{}', after timestamptz DEFAULT '-infinity')
RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(to_char(s.starts_at AT TIME ZONE coalesce(settings ->> 'time_zone', 'UTC'), 'HH24:MI'), ' ' ORDER BY s.starts_at)
    FROM byoc.free_slots(settings, day, duration, busy, after) AS s;
$$;

-- Working hours
SELECT is(byoc_test.slots('{}', '2026-07-01'), '09:00 10:00 11:00 12:00 13:00 14:00 15:00 16:00', 'without a setting Monday to Friday, nine to five');
SELECT is(byoc_test.slots('{}', '2026-07-04'), NULL, 'and no weekend');
SELECT is(byoc_test.slots('{"working_hours": {"sat": ["10:00-12:00", "13:30-15:00"]}}', '2026-07-04'), '10:00 11:00 13:30', 'each span for itself: what does not fit is left');
SELECT is(byoc_test.slots('{"working_hours": {"sat": ["10:00-12:00"]}}', '2026-07-03'), NULL, 'other days are off');
SELECT is(byoc_test.slots('{"working_hours": {"wed": ["10:00-12:00"]}, "slot_minutes": 15}', '2026-07-01', '45 minutes'), '10:00 10:15 10:30 10:45 11:00 11:15', 'slots begin every slot_minutes');
SELECT is(byoc_test.slots('{"working_hours": {"wed": ["22:00-24:00"]}}', '2026-07-01'), '22:00 23:00', 'until midnight');
SELECT is(byoc_test.slots('{"working_hours": {"wed": ["10:00-10:30"]}}', '2026-07-01'), NULL, 'nothing fits');
SELECT byoc_test.refused($$SELECT byoc_test.slots('{"working_hours": {"wed": ["9-17"]}}', '2026-07-01')$$, '55000', '"9-17"', 'a wrong span is named');
SELECT byoc_test.refused($$SELECT byoc_test.slots('{"working_hours": {"wed": ["17:00-09:00"]}}', '2026-07-01')$$, '55000', '17:00-09:00', 'one that ends before it begins, too');
SELECT byoc_test.refused($$SELECT byoc_test.slots('{"working_hours": ["09:00-17:00"]}', '2026-07-01')$$, '55000', 'not understood', 'hours without days are not understood');

-- Busy
SELECT is(byoc_test.slots('{}', '2026-07-01', '1 hour', '{[2026-07-01 09:30+00,2026-07-01 10:00+00),[2026-07-01 12:00+00,2026-07-01 14:00+00)}'), '10:00 11:00 14:00 15:00 16:00', 'what is busy is left out; what ends when a slot begins is not in its way');
SELECT is(byoc_test.slots('{}', '2026-07-01', '1 hour', '{[2026-06-30 00:00+00,2026-07-01 15:00+00)}'), '15:00 16:00', 'from the day before');
SELECT is(byoc_test.slots('{}', '2026-07-01', '1 hour', '{}', '2026-07-01 14:00+00'), '15:00 16:00', 'what is over is left out');

-- Zones and changes of the clocks
SELECT is(byoc_test.slots('{"time_zone": "Europe/Berlin", "working_hours": {"wed": ["09:00-11:00"]}}', '2026-07-01', '1 hour', '{[2026-07-01 07:00+00,2026-07-01 08:00+00)}'), '10:00', 'hours are meant in the organization''s zone');
SELECT results_eq($$SELECT s.starts_at FROM byoc.free_slots('{"time_zone": "Europe/Berlin", "working_hours": {"sun": ["01:00-05:00"]}}', '2026-03-29', '1 hour', '{}') AS s$$,
    ARRAY['2026-03-29 00:00Z', '2026-03-29 01:00Z', '2026-03-29 02:00Z']::timestamptz[], 'a spring night has an hour less');
SELECT is(byoc_test.slots('{"time_zone": "Europe/Berlin", "working_hours": {"sun": ["01:00-05:00"]}}', '2026-03-29'), '01:00 03:00 04:00', 'which no clock shows');
SELECT results_eq($$SELECT s.starts_at FROM byoc.free_slots('{"time_zone": "Europe/Berlin", "working_hours": {"sun": ["01:00-04:00"]}}', '2026-10-25', '1 hour', '{}') AS s$$,
    ARRAY['2026-10-24 23:00Z', '2026-10-25 00:00Z', '2026-10-25 01:00Z', '2026-10-25 02:00Z']::timestamptz[], 'an autumn night has one more');
SELECT is(byoc.local_time_text('2026-03-29 00:30Z', 'Europe/Berlin'), '2026-03-29T01:30:00+01:00', 'times are told with their offset');
SELECT is(byoc.local_time_text('2026-03-29 01:30Z', 'Europe/Berlin'), '2026-03-29T03:30:00+02:00', 'after the change with another one');
SELECT is(byoc.local_time_text('2026-07-01 12:00Z', 'America/St_Johns'), '2026-07-01T09:30:00-02:30', 'west of Greenwich, and with half hours');

-- For a tenant
SELECT byoc_test.act_as(byoc_test.org_a(), 'member');
SET LOCAL ROLE byoc_test_tenant;
SELECT byoc_test.refused($$SELECT * FROM byoc.rest_availability_window('2026-07-01', NULL)$$, '55000', 'no Google Calendar', 'without a calendar there is nobody to ask');
RESET ROLE;
SELECT byoc_test.add_google(byoc_test.org_a()) AS google \gset
UPDATE byoc.organizations SET settings = '{"time_zone": "Europe/Berlin", "working_hours": {"wed": ["09:00-12:00"]}}' WHERE id = byoc_test.org_a();
SELECT byoc_test.act_as(byoc_test.org_a(), 'member');
SET LOCAL ROLE byoc_test_tenant;
SELECT results_eq($$SELECT org_id, credential_id, credential_version, from_time, to_time FROM byoc.rest_availability_window('2999-07-03', '45')$$,
    format($$VALUES (byoc_test.org_a(), %L::uuid, 1, '2999-07-02T22:00:00Z', '2999-07-03T22:00:00Z')$$, :'google'), 'the whole day is asked for, in its zone');
SELECT is((SELECT byoc.rest_availability_window('2026-03-29', NULL)::text) ~ '2026-03-28T23:00:00Z,2026-03-29T22:00:00Z', true, 'also when it has 23 hours');
SELECT is(byoc.rest_availability('2999-07-03', '60', '[{"start": "2999-07-03T10:00:00+02:00", "end": "2999-07-03T11:00:00+02:00"}]'),
    '{"date": "2999-07-03", "duration": 60, "time_zone": "Europe/Berlin", "slots": [{"start": "2999-07-03T09:00:00+02:00", "end": "2999-07-03T10:00:00+02:00"}, {"start": "2999-07-03T11:00:00+02:00", "end": "2999-07-03T12:00:00+02:00"}]}'::jsonb,
    'the answer');
SELECT is(jsonb_array_length(byoc.rest_availability('2999-07-03', NULL, '[]') -> 'slots'), 6, 'half an hour unless asked for');
INSERT INTO byoc.calendar_events (summary, starts_at, ends_at) VALUES ('Just booked', '2999-07-03 09:30+02', '2999-07-03 10:30+02') RETURNING id AS event \gset
SELECT is(byoc.rest_availability('2999-07-03', '60', '[]') -> 'slots' -> 0 ->> 'start', '2999-07-03T11:00:00+02:00', 'what was booked a moment ago is busy before the calendar knows');
DELETE FROM byoc.calendar_events WHERE id = :'event';
SELECT is(byoc.rest_availability('2999-07-03', '60', '[]') -> 'slots' -> 0 ->> 'start', '2999-07-03T09:00:00+02:00', 'until it is cancelled');
SELECT is(byoc.rest_availability('2020-07-01', '60', '[]') -> 'slots', '[]', 'the past is over');
SELECT byoc_test.refused($$SELECT byoc.rest_availability('2026-02-30', NULL, '[]')$$, '22023', 'a day such as', 'a day that is none');
SELECT byoc_test.refused($$SELECT byoc.rest_availability_window('tomorrow', NULL)$$, '22023', 'a day such as', 'nor is that');
SELECT byoc_test.refused($$SELECT byoc.rest_availability_window(NULL, NULL)$$, '22023', 'a day such as', 'one is needed');
SELECT byoc_test.refused($$SELECT byoc.rest_availability_window('2026-07-01', '4')$$, '22023', 'from 5 to 1440', 'appointments have five minutes at least');
SELECT byoc_test.no_context();
SELECT byoc_test.refused($$SELECT byoc.rest_availability_window('2026-07-01', NULL)$$, '28000', '', 'without a context nothing');
RESET ROLE;

SELECT * FROM finish();
ROLLBACK;
