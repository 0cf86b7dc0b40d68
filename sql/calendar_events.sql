-- Calendar events: what the application wants to stand in the organization's calendar. Each change leaves a call (calls.sql) that
-- says the whole event; the event's own id is the provider's event id, so that nothing can stand there twice.

CREATE TABLE byoc.calendar_entries (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    credential_id uuid,
    summary text,
    description text,
    location text,
    starts_at timestamptz,
    ends_at timestamptz,
    starts_on date,
    ends_on date,
    time_zone text,
    recurrence text[],
    attendees text[],
    send_updates text,
    source regclass,
    source_table text,
    source_trigger text,
    source_key text,
    refusal text,
    cancelled_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, id)
);
COMMENT ON TABLE byoc.calendar_entries IS 'Events as the application wants them. Tenants and applications use the view byoc.calendar_events.';
COMMENT ON COLUMN byoc.calendar_entries.source IS 'The table that it follows a row of, whatever that is called; source_table: its name when the event was made.';
COMMENT ON COLUMN byoc.calendar_entries.source_key IS 'Which row of source it follows, by source_trigger: the values of its key, a JSON array.';
COMMENT ON COLUMN byoc.calendar_entries.refusal IS 'Why the row that it follows makes no event; NULL: it does.';
CREATE UNIQUE INDEX calendar_entries_source ON byoc.calendar_entries (org_id, source, source_trigger, source_key)
    WHERE source_trigger IS NOT NULL AND cancelled_at IS NULL;
ALTER TABLE byoc.calendar_entries ENABLE ROW LEVEL SECURITY;
SELECT pg_extension_config_dump('byoc.calendar_entries', '');

CREATE FUNCTION byoc.calendar_event_id(id uuid) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (SELECT string_agg(substr('0123456789abcdefghijklmnopqrstuv', 1 + substring(b.bits FROM n * 5 + 1 FOR 5)::integer, 1), '' ORDER BY n)
        FROM (SELECT ('x' || replace(id::text, '-', ''))::bit(128)::bit(130) AS bits) AS b, generate_series(0, 25) AS n);
COMMENT ON FUNCTION byoc.calendar_event_id(uuid) IS
    'Internal: an event''s id as Google Calendar wants it: base32hex (RFC 4648), small letters, no padding.';

-- What can be wrong

CREATE FUNCTION byoc.is_time_zone(name text) RETURNS boolean
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- PostgreSQL knows abbreviations and POSIX rules too, which a calendar does not.
    IF name IS NULL OR name !~ '^(UTC|GMT|Etc/GMT[+-][0-9]{1,2}|[A-Z][A-Za-z_]+(/[A-Z][A-Za-z_-]+){1,2})$' THEN
        RETURN false;
    END IF;
    PERFORM now() AT TIME ZONE name;
    RETURN true;
EXCEPTION WHEN invalid_parameter_value THEN
    RETURN false;
END
$$;
COMMENT ON FUNCTION byoc.is_time_zone(text) IS 'Internal: whether this is an IANA time zone, such as Europe/Berlin.';

CREATE FUNCTION byoc.recurrence_problem(line text) RETURNS text
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    part text;
    parts text[];
    names text[] := '{}';
    shape text;
BEGIN
    IF line ~ '^(RDATE|EXDATE)(;TZID=[A-Za-z_/+-]+|;VALUE=DATE)?:[0-9]{8}(T[0-9]{6}Z?)?(,[0-9]{8}(T[0-9]{6}Z?)?)*$' THEN
        RETURN NULL;
    ELSIF line IS NULL OR line !~ '^(RRULE|EXRULE):' THEN
        RETURN format('recurrence "%s" is no RRULE, EXRULE, RDATE or EXDATE line (RFC 5545), such as RRULE:FREQ=WEEKLY;COUNT=5', coalesce(left(line, 60), ''));
    END IF;
    parts := string_to_array(split_part(line, ':', 2), ';');
    FOREACH part IN ARRAY parts LOOP
        shape := CASE split_part(part, '=', 1)
            WHEN 'FREQ' THEN '(SECONDLY|MINUTELY|HOURLY|DAILY|WEEKLY|MONTHLY|YEARLY)'
            WHEN 'UNTIL' THEN '[0-9]{8}(T[0-9]{6}Z?)?'
            WHEN 'COUNT' THEN '[1-9][0-9]{0,4}'
            WHEN 'INTERVAL' THEN '[1-9][0-9]{0,4}'
            WHEN 'BYDAY' THEN '[+-]?[0-9]{0,2}(MO|TU|WE|TH|FR|SA|SU)(,[+-]?[0-9]{0,2}(MO|TU|WE|TH|FR|SA|SU))*'
            WHEN 'WKST' THEN '(MO|TU|WE|TH|FR|SA|SU)'
            WHEN 'BYSECOND' THEN '[0-9]{1,2}(,[0-9]{1,2})*' WHEN 'BYMINUTE' THEN '[0-9]{1,2}(,[0-9]{1,2})*'
            WHEN 'BYHOUR' THEN '[0-9]{1,2}(,[0-9]{1,2})*' WHEN 'BYMONTH' THEN '[0-9]{1,2}(,[0-9]{1,2})*'
            WHEN 'BYMONTHDAY' THEN '[+-]?[0-9]{1,2}(,[+-]?[0-9]{1,2})*' WHEN 'BYYEARDAY' THEN '[+-]?[0-9]{1,3}(,[+-]?[0-9]{1,3})*'
            WHEN 'BYWEEKNO' THEN '[+-]?[0-9]{1,2}(,[+-]?[0-9]{1,2})*' WHEN 'BYSETPOS' THEN '[+-]?[0-9]{1,3}(,[+-]?[0-9]{1,3})*'
        END;
        IF shape IS NULL OR part !~ ('^[A-Z]+=' || shape || '$') THEN
            RETURN format('recurrence "%s": "%s" is no part of a rule (RFC 5545)', left(line, 60), left(part, 60));
        END IF;
        names := names || split_part(part, '=', 1);
    END LOOP;
    IF NOT 'FREQ' = ANY (names) THEN
        RETURN format('recurrence "%s" has no FREQ', left(line, 60));
    ELSIF names @> ARRAY['COUNT', 'UNTIL'] THEN
        RETURN format('recurrence "%s" has both COUNT and UNTIL', left(line, 60));
    ELSIF (SELECT count(DISTINCT n) FROM unnest(names) AS n) < cardinality(names) THEN
        RETURN format('recurrence "%s" has a part twice', left(line, 60));
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION byoc.recurrence_problem(text) IS 'Internal: what is wrong with a recurrence line; NULL: nothing.';

CREATE FUNCTION byoc.calendar_problem(entry byoc.calendar_entries) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    line text;
BEGIN
    IF coalesce(entry.summary, '') = '' THEN
        RETURN 'the event has no summary';
    ELSIF length(entry.summary) > 1024 OR length(entry.location) > 1024 OR length(entry.description) > 8192 THEN
        RETURN 'summary and location have at most 1024 characters, description 8192';
    ELSIF num_nonnulls(entry.starts_at, entry.starts_on) <> 1 THEN
        RETURN 'the event needs either starts_at or, for whole days, starts_on';
    ELSIF entry.starts_at IS NOT NULL AND (entry.ends_at IS NULL OR entry.ends_on IS NOT NULL) THEN
        RETURN 'an event with starts_at needs ends_at';
    ELSIF entry.starts_on IS NOT NULL AND (entry.ends_at IS NOT NULL OR entry.ends_on IS NULL) THEN
        RETURN 'an event of whole days needs ends_on, its last day';
    ELSIF NOT (isfinite(coalesce(entry.starts_at, entry.starts_on)) AND isfinite(coalesce(entry.ends_at, entry.ends_on))) THEN
        RETURN 'an event begins and ends at some time';
    ELSIF entry.ends_at <= entry.starts_at OR entry.ends_on < entry.starts_on THEN
        RETURN 'the event ends before it begins';
    ELSIF extract(year FROM coalesce(entry.starts_at, entry.starts_on)) NOT BETWEEN 1 AND 9998
          OR extract(year FROM coalesce(entry.ends_at, entry.ends_on)) NOT BETWEEN 1 AND 9998 THEN
        RETURN 'the event is not in the years 1 to 9998';
    ELSIF NOT byoc.is_time_zone(entry.time_zone) THEN
        RETURN format('time_zone "%s" is no IANA time zone such as Europe/Berlin', left(entry.time_zone, 60));
    ELSIF entry.send_updates NOT IN ('all', 'externalOnly', 'none') THEN
        RETURN format('send_updates must be all, externalOnly or none, not "%s"', left(entry.send_updates, 20));
    ELSIF cardinality(entry.attendees) > 200 THEN
        RETURN 'an event has at most 200 attendees';
    ELSIF cardinality(entry.recurrence) > 50 THEN
        RETURN 'an event has at most 50 recurrence lines';
    END IF;
    FOREACH line IN ARRAY coalesce(entry.attendees, '{}') LOOP
        -- Not quoted: it may be anything, and is somebody's.
        IF line IS NULL OR length(line) > 254 OR line !~ '^[^][[:space:]@<>()",;:\\]+@[^][[:space:]@<>()",;:\\.]+(\.[^][[:space:]@<>()",;:\\.]+)+$' THEN
            RETURN 'an attendee is no e-mail address';
        END IF;
    END LOOP;
    FOREACH line IN ARRAY coalesce(entry.recurrence, '{}') LOOP
        IF byoc.recurrence_problem(line) IS NOT NULL THEN
            RETURN byoc.recurrence_problem(line);
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION byoc.calendar_problem(byoc.calendar_entries) IS 'Internal: why no event can be made of this; NULL: it can.';

-- Changes, each with its call

CREATE FUNCTION byoc.calendar_payload(entry byoc.calendar_entries) RETURNS jsonb
LANGUAGE sql STABLE
RETURN jsonb_strip_nulls(jsonb_build_object(
    'event_id', byoc.calendar_event_id(entry.id), 'send_updates', entry.send_updates, 'summary', entry.summary, 'description', entry.description,
    'location', entry.location, 'time_zone', entry.time_zone, 'recurrence', to_jsonb(entry.recurrence), 'attendees', to_jsonb(entry.attendees),
    'starts_at', to_char(entry.starts_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
    'ends_at', to_char(entry.ends_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
    'starts_on', to_char(entry.starts_on, 'YYYY-MM-DD'), 'ends_before', to_char(entry.ends_on + 1, 'YYYY-MM-DD')));
COMMENT ON FUNCTION byoc.calendar_payload(byoc.calendar_entries) IS
    'Internal: what the provider is told of an event. Times are in UTC, to be shown and repeated in time_zone; ends_before is the day after the last.';

CREATE FUNCTION byoc.leave_calendar_call(entry byoc.calendar_entries, operation text) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM byoc.enqueue_call(entry.org_id, 'google_calendar', operation,
                              CASE operation WHEN 'event.delete' THEN byoc.calendar_payload(entry) - '{summary,description,location,attendees,recurrence}'::text[]
                                             ELSE byoc.calendar_payload(entry) END,
                              entry.id, entry.credential_id, source_table => entry.source_table);
END
$$;
COMMENT ON FUNCTION byoc.leave_calendar_call(byoc.calendar_entries, text) IS 'Internal: has an event written to, or taken from, its calendar.';

CREATE FUNCTION byoc.put_calendar_entry(entry byoc.calendar_entries) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO byoc.calendar_entries AS e SELECT entry.*
    ON CONFLICT ON CONSTRAINT calendar_entries_pkey DO UPDATE
    SET credential_id = excluded.credential_id, summary = excluded.summary, description = excluded.description, location = excluded.location,
        starts_at = excluded.starts_at, ends_at = excluded.ends_at, starts_on = excluded.starts_on, ends_on = excluded.ends_on,
        time_zone = excluded.time_zone, recurrence = excluded.recurrence, attendees = excluded.attendees, send_updates = excluded.send_updates,
        source_key = excluded.source_key, refusal = excluded.refusal, updated_at = now();
    IF entry.refusal IS NULL THEN
        PERFORM byoc.leave_calendar_call(entry, CASE WHEN EXISTS (SELECT FROM byoc.calls c WHERE c.org_id = entry.org_id AND c.subject = entry.id
                                                                                         AND c.attempts > 0) THEN 'event.update' ELSE 'event.insert' END);
    END IF;
END
$$;
COMMENT ON FUNCTION byoc.put_calendar_entry(byoc.calendar_entries) IS 'Internal: stores an event, new or changed, and has it written to its calendar. No check.';

CREATE FUNCTION byoc.cancel_calendar_entry(org_id uuid, id uuid) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    entry byoc.calendar_entries;
BEGIN
    -- Once, but for one that could not be taken away: that is tried again.
    UPDATE byoc.calendar_entries e SET cancelled_at = clock_timestamp(), updated_at = now()
    WHERE e.org_id = cancel_calendar_entry.org_id AND e.id = cancel_calendar_entry.id
      AND (e.cancelled_at IS NULL OR (SELECT c.operation = 'event.delete' AND c.status = 'discarded' FROM byoc.calls c
                                      WHERE c.org_id = e.org_id AND c.subject = e.id ORDER BY c.revision DESC LIMIT 1))
    RETURNING e.* INTO entry;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    -- What no dispatcher ever had is in no calendar.
    UPDATE byoc.calls c SET status = 'cancelled', due_at = NULL, finished_at = clock_timestamp(), error_code = 'superseded'
    WHERE c.org_id = entry.org_id AND c.subject = entry.id AND c.status IN ('available', 'paused') AND c.attempts = 0;
    IF EXISTS (SELECT FROM byoc.calls c WHERE c.org_id = entry.org_id AND c.subject = entry.id AND c.attempts > 0) THEN
        PERFORM byoc.leave_calendar_call(entry, 'event.delete');
    END IF;
END
$$;
COMMENT ON FUNCTION byoc.cancel_calendar_entry(uuid, uuid) IS 'Internal: takes an event from its calendar; again only if that failed.';

CREATE FUNCTION byoc.prune_calendar(org_id uuid, finished_before timestamptz, batch integer) RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    pruned integer;
BEGIN
    WITH old AS MATERIALIZED (
        SELECT e.org_id, e.id FROM byoc.calendar_entries e
        WHERE e.org_id = prune_calendar.org_id AND e.id < byoc.first_id_at(finished_before) AND e.updated_at < finished_before
          AND (e.cancelled_at IS NOT NULL OR e.refusal IS NOT NULL
               OR (e.source_trigger IS NULL AND e.recurrence IS NULL AND coalesce(e.ends_at, e.ends_on) < finished_before))
          AND NOT EXISTS (SELECT FROM byoc.calls c WHERE c.org_id = e.org_id AND c.subject = e.id
                                                   AND (c.finished_at IS NULL OR c.finished_at >= finished_before))
        LIMIT batch FOR UPDATE SKIP LOCKED
    ), gone AS (
        DELETE FROM byoc.calendar_entries e USING old o WHERE e.org_id = o.org_id AND e.id = o.id RETURNING 1
    )
    SELECT count(*) INTO pruned FROM gone;
    RETURN pruned;
END
$$;
COMMENT ON FUNCTION byoc.prune_calendar(uuid, timestamptz, integer) IS
    'Internal: deletes at most `batch` events that ended or were cancelled before, unless a row is still followed; returns how many.';
