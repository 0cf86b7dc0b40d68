-- When an appointment could be made: the organization's working hours, less what stands in its calendar.

CREATE FUNCTION byoc.local_time_text(at timestamptz, time_zone text) RETURNS text
LANGUAGE sql STABLE
RETURN (SELECT to_char(at AT TIME ZONE time_zone, 'YYYY-MM-DD"T"HH24:MI:SS') || CASE WHEN o.minutes < 0 THEN '-' ELSE '+' END
               || lpad((abs(o.minutes) / 60)::text, 2, '0') || ':' || lpad((abs(o.minutes) % 60)::text, 2, '0')
        FROM (SELECT (extract(epoch FROM (at AT TIME ZONE time_zone) - (at AT TIME ZONE 'UTC')) / 60)::integer AS minutes) AS o);
COMMENT ON FUNCTION byoc.local_time_text(timestamptz, text) IS 'Internal: a time in a zone with its offset (RFC 3339): 2026-03-29T10:00:00+02:00.';

CREATE FUNCTION byoc.working_hours(settings jsonb, day date) RETURNS TABLE (opens time, closes time)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    hours CONSTANT jsonb := coalesce(settings -> 'working_hours',
        '{"mon": ["09:00-17:00"], "tue": ["09:00-17:00"], "wed": ["09:00-17:00"], "thu": ["09:00-17:00"], "fri": ["09:00-17:00"]}');
    span text;
BEGIN
    IF jsonb_typeof(hours) <> 'object' OR jsonb_typeof(coalesce(hours -> to_char(day, 'dy'), '[]')) <> 'array' THEN
        RAISE EXCEPTION 'the organization''s setting working_hours is not understood' USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'It is an object of lists by day: {"mon": ["09:00-12:00", "13:00-17:00"]}.';
    END IF;
    FOR span IN SELECT jsonb_array_elements_text(coalesce(hours -> to_char(day, 'dy'), '[]')) LOOP
        IF span !~ '^([01][0-9]|2[0-3]):[0-5][0-9]-(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$' OR split_part(span, '-', 1) >= split_part(span, '-', 2) THEN
            RAISE EXCEPTION 'the organization''s setting working_hours has "%", which is no span of time', left(span, 20)
                USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Write it as 09:00-17:00.';
        END IF;
        opens := split_part(span, '-', 1)::time;
        closes := split_part(span, '-', 2)::time;
        RETURN NEXT;
    END LOOP;
END
$$;
COMMENT ON FUNCTION byoc.working_hours(jsonb, date) IS
    'Internal: when an organization works on a day, in its own zone; Monday to Friday, 9 to 17, unless its setting working_hours says otherwise.';

CREATE FUNCTION byoc.free_slots(settings jsonb, day date, duration interval, busy tstzmultirange, after timestamptz DEFAULT '-infinity')
RETURNS TABLE (starts_at timestamptz, ends_at timestamptz)
LANGUAGE sql STABLE
BEGIN ATOMIC
    -- The working day's ends are local times; in between the clocks may change, and a slot has its length all the same.
    SELECT s.at, s.at + duration
    FROM (SELECT coalesce(settings ->> 'time_zone', 'UTC') AS zone,
                 coalesce((settings ->> 'slot_minutes')::integer * interval '1 minute', duration) AS step) AS o
    CROSS JOIN byoc.working_hours(settings, day) AS w
    CROSS JOIN LATERAL generate_series((day + w.opens) AT TIME ZONE o.zone, (day + w.closes) AT TIME ZONE o.zone - duration, o.step) AS s (at)
    WHERE NOT busy && tstzrange(s.at, s.at + duration) AND s.at > after
    ORDER BY s.at;
END;
COMMENT ON FUNCTION byoc.free_slots(jsonb, date, interval, tstzmultirange, timestamptz) IS
    'Internal: when on a day (in the organization''s zone) something of that length fits between what is busy. Slots begin every slot_minutes (a setting; without it '
    'one after the other).';

CREATE FUNCTION byoc.rest_availability_window(date text, duration text)
RETURNS TABLE (org_id uuid, credential_id uuid, credential_version integer, from_time text, to_time text)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    own CONSTANT uuid := byoc.current_org_id();
    zone text;
BEGIN
    PERFORM byoc.require_organization(own);
    PERFORM byoc.rest_number('duration', duration, 5, 1440, 30);
    PERFORM byoc.rest_day(date);
    SELECT coalesce(o.settings ->> 'time_zone', 'UTC') INTO zone FROM byoc.organizations o WHERE o.id = own;
    IF NOT byoc.is_time_zone(zone) THEN
        RAISE EXCEPTION 'the organization''s setting time_zone is no IANA time zone' USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    RETURN QUERY
    SELECT c.org_id, c.id, c.version, to_char((date::date::timestamp AT TIME ZONE zone) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
           to_char(((date::date + 1)::timestamp AT TIME ZONE zone) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
    FROM byoc.organization_api_credentials c
    WHERE c.org_id = own AND c.credential_type = 'google_calendar' AND c.is_default AND c.is_active;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the organization has no Google Calendar connected' USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
END
$$;
COMMENT ON FUNCTION byoc.rest_availability_window(text, text) IS
    'The calendar to be asked about a day (YYYY-MM-DD, in the organization''s zone) and from when to when. Raises 22023 naming a wrong parameter, 55000 without a calendar.';

CREATE FUNCTION byoc.rest_day(value text) RETURNS date
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF value ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}$' THEN
        RETURN make_date(left(value, 4)::integer, substr(value, 6, 2)::integer, right(value, 2)::integer);
    END IF;
    RAISE datetime_field_overflow;
EXCEPTION WHEN datetime_field_overflow THEN
    RAISE EXCEPTION 'it must be a day such as 2026-03-29' USING ERRCODE = 'invalid_parameter_value', COLUMN = 'date';
END
$$;
COMMENT ON FUNCTION byoc.rest_day(text) IS 'A parameter date. Raises 22023 naming it.';

CREATE FUNCTION byoc.rest_availability(date text, duration text, busy jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own CONSTANT uuid := byoc.current_org_id();
    day CONSTANT date := byoc.rest_day(date);
    minutes CONSTANT integer := byoc.rest_number('duration', duration, 5, 1440, 30);
    own_settings jsonb;
    zone text;
    taken tstzmultirange;
BEGIN
    PERFORM byoc.require_organization(own);
    SELECT o.settings, coalesce(o.settings ->> 'time_zone', 'UTC') INTO own_settings, zone FROM byoc.organizations o WHERE o.id = own;
    IF own_settings ? 'slot_minutes' AND (own_settings ->> 'slot_minutes') !~ '^[1-9][0-9]{0,3}$' THEN
        RAISE EXCEPTION 'the organization''s setting slot_minutes is no number of minutes' USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    -- With what is on its way to the calendar: nobody shall book what was booked a moment ago.
    SELECT range_agg(r.span) INTO taken
    FROM (SELECT tstzrange((b ->> 'start')::timestamptz, (b ->> 'end')::timestamptz) AS span FROM jsonb_array_elements(busy) AS b
          UNION ALL
          SELECT tstzrange(coalesce(e.starts_at, e.starts_on::timestamp AT TIME ZONE e.time_zone),
                           coalesce(e.ends_at, (e.ends_on + 1)::timestamp AT TIME ZONE e.time_zone))
          FROM byoc.calls c JOIN byoc.calendar_entries e ON e.org_id = c.org_id AND e.id = c.subject
          WHERE c.org_id = own AND c.credential_type = 'google_calendar' AND c.due_at IS NOT NULL AND e.cancelled_at IS NULL AND e.refusal IS NULL) AS r;
    RETURN jsonb_build_object('date', day, 'duration', minutes, 'time_zone', zone, 'slots', coalesce((
        SELECT jsonb_agg(jsonb_build_object('start', byoc.local_time_text(s.starts_at, zone), 'end', byoc.local_time_text(s.ends_at, zone)) ORDER BY s.starts_at)
        FROM byoc.free_slots(own_settings, day, minutes * interval '1 minute', coalesce(taken, '{}'), now()) AS s), '[]'));
END
$$;
COMMENT ON FUNCTION byoc.rest_availability(text, text, jsonb) IS
    'The day''s free slots that are still to come, given the calendar''s busy times ([{"start", "end"}]); events on their way to it count as busy too.';
