-- The tenant's door to calendar events.

CREATE VIEW byoc.all_calendar_events AS
SELECT e.id, e.org_id, e.summary, e.starts_at, e.ends_at, e.starts_on, e.ends_on, e.time_zone, e.attendees, e.description, e.location, e.recurrence,
       e.send_updates, e.credential_id,
       CASE WHEN e.cancelled_at IS NOT NULL THEN CASE WHEN c.operation IS DISTINCT FROM 'event.delete' OR c.status = 'completed' THEN 'cancelled'
                                                      WHEN c.finished_at IS NULL THEN 'cancelling' ELSE 'failed' END
            WHEN e.refusal IS NOT NULL THEN 'failed'
            WHEN c.finished_at IS NULL THEN 'pending'
            WHEN c.status = 'completed' THEN 'confirmed' ELSE 'failed' END AS status,
       CASE WHEN d.result IS NOT NULL THEN byoc.calendar_event_id(e.id) END AS provider_event_id, d.result ->> 'html_link' AS html_link,
       CASE WHEN e.refusal IS NOT NULL THEN 'refused' ELSE c.error_code END AS error_code, coalesce(e.refusal, c.error_message) AS error_message,
       CASE WHEN c.status = 'paused' THEN 'paused: it came with a restored database (byoc.resume_restored)'
            WHEN c.finished_at IS NULL AND c.id IS NOT NULL AND e.credential_id IS NULL AND k.id IS NULL THEN 'paused: the organization has no calendar connected'
            WHEN c.finished_at IS NULL AND byoc.is_barred(k.verification_status)
            THEN 'paused: ' || CASE k.verification_status WHEN 'failed' THEN 'the credential failed' ELSE 'the credential is not verified yet' END
                 || coalesce(': ' || k.verification_error, '') END AS waiting_reason,
       e.source_table, e.created_at, e.updated_at
FROM byoc.calendar_entries e
LEFT JOIN LATERAL (SELECT c.* FROM byoc.calls c WHERE c.org_id = e.org_id AND c.subject = e.id ORDER BY c.revision DESC LIMIT 1) AS c ON true
LEFT JOIN LATERAL (SELECT d.result FROM byoc.calls d WHERE d.org_id = e.org_id AND d.subject = e.id AND d.status = 'completed'
                   ORDER BY d.revision DESC LIMIT 1) AS d ON true
LEFT JOIN byoc.organization_api_credentials k ON k.org_id = e.org_id AND k.credential_type = 'google_calendar'
    AND CASE WHEN e.credential_id IS NULL THEN k.is_default ELSE k.id = e.credential_id END;
COMMENT ON VIEW byoc.all_calendar_events IS 'Internal: calendar events of all organizations.';

CREATE VIEW byoc.calendar_events WITH (security_barrier) AS
WITH barrier AS (SELECT)
SELECT e.* FROM byoc.all_calendar_events e WHERE e.org_id = (SELECT byoc.current_org_id())
UNION ALL
SELECT e.* FROM byoc.all_calendar_events e WHERE (SELECT byoc.sees_all_organizations());
COMMENT ON VIEW byoc.calendar_events IS
    'The organization''s calendar events. INSERT (summary; starts_at and ends_at, or for whole days starts_on and ends_on; optionally time_zone, attendees, description, '
    'location, recurrence, send_updates, credential_id) writes one to the calendar, UPDATE changes it there, DELETE takes it away.';
COMMENT ON COLUMN byoc.calendar_events.status IS
    'pending: on its way to the calendar. confirmed: it stands there as it stands here. cancelling, cancelled: it is being, or was, taken away. failed: error_message says why.';
COMMENT ON COLUMN byoc.calendar_events.ends_on IS 'The last day, included.';
COMMENT ON COLUMN byoc.calendar_events.time_zone IS
    'IANA zone in which it is shown and repeated. Of a new event: the organization''s setting time_zone, else UTC.';
COMMENT ON COLUMN byoc.calendar_events.recurrence IS 'RRULE, EXRULE, RDATE and EXDATE lines (RFC 5545).';
COMMENT ON COLUMN byoc.calendar_events.send_updates IS 'Whom the provider writes to about changes: all attendees, externalOnly or none.';
COMMENT ON COLUMN byoc.calendar_events.waiting_reason IS 'Why it is pending although its time has come: its credential may not be used; NULL: nothing stands in its way.';
COMMENT ON COLUMN byoc.calendar_events.id IS 'The event.';
COMMENT ON COLUMN byoc.calendar_events.org_id IS 'The organization.';
COMMENT ON COLUMN byoc.calendar_events.summary IS 'Its title.';
COMMENT ON COLUMN byoc.calendar_events.starts_at IS 'Beginning; NULL: it takes whole days.';
COMMENT ON COLUMN byoc.calendar_events.ends_at IS 'End; NULL: it takes whole days.';
COMMENT ON COLUMN byoc.calendar_events.starts_on IS 'First of whole days; NULL: it has a time.';
COMMENT ON COLUMN byoc.calendar_events.attendees IS 'E-mail addresses.';
COMMENT ON COLUMN byoc.calendar_events.description IS 'What the calendar shows below the title.';
COMMENT ON COLUMN byoc.calendar_events.location IS 'Where it takes place.';
COMMENT ON COLUMN byoc.calendar_events.credential_id IS 'Credential of the calendar; NULL: the organization''s default.';
COMMENT ON COLUMN byoc.calendar_events.provider_event_id IS 'Its id in the calendar; NULL: it never stood there.';
COMMENT ON COLUMN byoc.calendar_events.html_link IS 'Its page in the calendar.';
COMMENT ON COLUMN byoc.calendar_events.error_code IS 'Why it failed: the provider''s code, or a word.';
COMMENT ON COLUMN byoc.calendar_events.error_message IS 'The same as a sentence.';
COMMENT ON COLUMN byoc.calendar_events.source_table IS 'Table whose row it follows; NULL: it was inserted here.';
COMMENT ON COLUMN byoc.calendar_events.created_at IS 'When it was made.';
COMMENT ON COLUMN byoc.calendar_events.updated_at IS 'When it was last changed.';

CREATE FUNCTION byoc.save_calendar_event(org_id uuid, event jsonb, id uuid DEFAULT NULL) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    -- Nothing else is the tenant's to say.
    given CONSTANT jsonb := (SELECT coalesce(jsonb_object_agg(m.key, m.value), '{}') FROM jsonb_each(event) AS m
        WHERE m.key IN ('summary', 'description', 'location', 'starts_at', 'ends_at', 'starts_on', 'ends_on', 'time_zone', 'recurrence', 'attendees',
                        'send_updates', 'credential_id'));
    stored byoc.calendar_entries;
    entry byoc.calendar_entries;
    problem text;
BEGIN
    PERFORM byoc.require_organization(org_id);
    IF NOT EXISTS (SELECT FROM byoc.organizations o WHERE o.id = org_id AND o.shredded_at IS NULL) THEN
        RAISE EXCEPTION 'organization % does not exist or was shredded', org_id USING ERRCODE = 'foreign_key_violation';
    END IF;
    IF id IS NULL THEN
        entry := jsonb_populate_record(entry, given);
        entry.org_id := org_id;
        entry.id := byoc.uuid_v7();
        entry.created_at := now();
        entry.time_zone := coalesce(entry.time_zone, (SELECT o.settings ->> 'time_zone' FROM byoc.organizations o WHERE o.id = org_id), 'UTC');
        entry.send_updates := coalesce(entry.send_updates, 'all');
        IF entry.credential_id IS NOT NULL AND NOT EXISTS (
            SELECT FROM byoc.organization_api_credentials c
            WHERE c.org_id = save_calendar_event.org_id AND c.id = entry.credential_id AND c.credential_type = 'google_calendar' AND c.is_active) THEN
            RAISE EXCEPTION 'credential % is not an active google_calendar credential of the organization', entry.credential_id
                USING ERRCODE = 'invalid_parameter_value', HINT = 'byoc.credentials lists them; NULL means the default one.';
        END IF;
    ELSE
        SELECT e.* INTO stored FROM byoc.calendar_entries e
        WHERE e.org_id = save_calendar_event.org_id AND e.id = save_calendar_event.id FOR UPDATE;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'calendar event % does not exist', id USING ERRCODE = 'no_data_found';
        ELSIF stored.cancelled_at IS NOT NULL THEN
            RAISE EXCEPTION 'calendar event % is cancelled', id USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Insert a new one.';
        END IF;
        entry := jsonb_populate_record(stored, given);
        IF entry.credential_id IS DISTINCT FROM stored.credential_id THEN
            RAISE EXCEPTION 'the credential of a calendar event never changes' USING ERRCODE = 'insufficient_privilege', HINT = 'Delete it and insert a new one.';
        END IF;
        entry.refusal := NULL;
    END IF;
    entry.updated_at := now();
    problem := byoc.calendar_problem(entry);
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION '%', problem USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- A failed one is tried again by any update.
    PERFORM byoc.put_calendar_entry(entry);
    RETURN entry.id;
END
$$;
COMMENT ON FUNCTION byoc.save_calendar_event(uuid, jsonb, uuid) IS
    'Internal: writes an event that byoc.calendar_events was given, new (id NULL) or changed; returns its id. Raises 22023 for one that cannot be.';

CREATE FUNCTION byoc.cancel_calendar_event(org_id uuid, id uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM byoc.require_organization(org_id);
    PERFORM byoc.cancel_calendar_entry(org_id, id);
END
$$;
COMMENT ON FUNCTION byoc.cancel_calendar_event(uuid, uuid) IS 'Internal: DELETE on byoc.calendar_events. An event that is cancelled stays so; one that could not be taken away is tried again.';

CREATE FUNCTION byoc.calendar_events_write() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    answered CONSTANT text[] := '{id,status,provider_event_id,html_link,error_code,error_message,waiting_reason,source_table,created_at,updated_at}';
    of_org uuid;
    event_id uuid;
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM byoc.cancel_calendar_event(OLD.org_id, OLD.id);
        RETURN OLD;
    ELSIF TG_OP = 'INSERT' THEN
        IF jsonb_strip_nulls(to_jsonb(NEW)) ?| answered THEN
            RAISE EXCEPTION '% of a calendar event cannot be given', array_to_string(answered, ', ') USING ERRCODE = 'invalid_parameter_value';
        END IF;
        of_org := coalesce(NEW.org_id, byoc.current_org_id());
        event_id := byoc.save_calendar_event(of_org, to_jsonb(NEW));
    ELSE
        IF EXISTS (SELECT FROM unnest(answered || 'org_id'::text) AS a WHERE to_jsonb(NEW) -> a IS DISTINCT FROM to_jsonb(OLD) -> a) THEN
            RAISE EXCEPTION 'org_id, % of a calendar event cannot be changed', array_to_string(answered, ', ') USING ERRCODE = 'insufficient_privilege';
        END IF;
        of_org := OLD.org_id;
        event_id := byoc.save_calendar_event(of_org, to_jsonb(NEW), OLD.id);
    END IF;
    SELECT * INTO NEW FROM byoc.calendar_events e WHERE e.org_id = of_org AND e.id = event_id;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION byoc.calendar_events_write() IS 'Internal: INSERT, UPDATE and DELETE on byoc.calendar_events.';
CREATE TRIGGER calendar_events_write INSTEAD OF INSERT OR UPDATE OR DELETE ON byoc.calendar_events FOR EACH ROW EXECUTE FUNCTION byoc.calendar_events_write();
