-- What byocd's REST API shows of messages: by primary keys only, so that a page costs the same among millions. See api.sql.

-- Rows come in by this time, so that a few bytes find what happened lately.
CREATE INDEX message_events_at ON byoc.message_events USING brin (at) WITH (autosummarize = on, pages_per_range = 32);

CREATE FUNCTION byoc.sms_in_range(org_id uuid, low uuid, high uuid, max_count integer)
RETURNS TABLE (id uuid, to_number text, from_number text, body text, status text, provider_sid text, error_code text, error_message text,
               attempts integer, segments integer, source_table text, credential_id uuid, created_at timestamptz, send_at timestamptz,
               expires_at timestamptz, sent_at timestamptz, delivered_at timestamptz, waiting_reason text)
LANGUAGE sql STABLE -- its callers' plans contain it, and they say how these are made
BEGIN ATOMIC
    (SELECT m.id, m.to_number, m.from_number, m.body, m.status::text, m.provider_sid, m.error_code, m.error_message, m.attempts::integer,
            m.segments::integer, m.source_table, m.credential_id, m.created_at, m.send_at, m.expires_at, m.sent_at, m.delivered_at, NULL
     FROM byoc.messages m WHERE m.org_id = sms_in_range.org_id AND m.id BETWEEN sms_in_range.low AND sms_in_range.high ORDER BY m.id DESC LIMIT sms_in_range.max_count)
    UNION ALL
    (SELECT n.id, n.to_number, NULL, n.body, 'queued', NULL, NULL, NULL, n.attempts::integer, NULL, n.source_table, n.credential_id, n.created_at,
            n.send_at, n.expires_at, NULL, NULL,
            (SELECT c.waiting_reason FROM byoc.senders c
             WHERE c.org_id = n.org_id AND (c.id = n.lane OR (c.is_default AND n.credential_id IS NULL)) ORDER BY c.id = n.lane DESC LIMIT 1)
     FROM unnest(byoc.lanes_of(sms_in_range.org_id)) AS l CROSS JOIN LATERAL (
         SELECT * FROM byoc.queue q WHERE q.org_id = sms_in_range.org_id AND q.lane = l AND q.id BETWEEN sms_in_range.low AND sms_in_range.high
         ORDER BY q.id DESC LIMIT sms_in_range.max_count) AS n)
    UNION ALL
    (SELECT s.id, s.to_number, NULL, s.body, CASE WHEN s.attempts = 0 AND s.due_at > clock_timestamp() THEN 'scheduled' ELSE 'queued' END, NULL, NULL,
            NULL, s.attempts::integer, NULL, s.source_table, s.credential_id, s.created_at, s.send_at, s.expires_at, NULL, NULL,
            (SELECT c.waiting_reason FROM byoc.senders c
             WHERE (s.attempts > 0 OR s.due_at <= now()) AND c.org_id = s.org_id
               AND CASE WHEN s.credential_id IS NULL THEN c.is_default ELSE c.id = s.credential_id END)
     FROM byoc.schedule s WHERE s.org_id = sms_in_range.org_id AND s.id BETWEEN sms_in_range.low AND sms_in_range.high ORDER BY s.id DESC LIMIT sms_in_range.max_count)
    ORDER BY 1 DESC LIMIT sms_in_range.max_count;
END;
COMMENT ON FUNCTION byoc.sms_in_range(uuid, uuid, uuid, integer) IS
    'Internal: an organization''s messages with ids from low to high, newest first. No access check.';

CREATE FUNCTION byoc.rest_messages(statuses text, search text, page_size text, after text) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET jit = off
AS $$
DECLARE
    own CONSTANT uuid := byoc.current_org_id();
    size CONSTANT integer := byoc.rest_number('limit', page_size, 1, 100, 50);
    start CONSTANT uuid := (byoc.read_rest_cursor(after)).id;
    wanted CONSTANT text[] := string_to_array(nullif(statuses, ''), ',');
    words CONSTANT text := lower(nullif(search, ''));
    number CONSTANT text := nullif(translate(words, ' ()-./', ''), '');
    -- Where most do not match, a page looks at so many and goes on with the next.
    reach CONSTANT integer := CASE WHEN wanted IS NULL AND words IS NULL THEN size ELSE 5000 END;
BEGIN
    PERFORM byoc.require_organization(own);
    IF EXISTS (SELECT FROM unnest(wanted) AS w WHERE w NOT IN ('scheduled', 'queued', 'sending', 'sent', 'delivered', 'undelivered', 'failed',
                                                               'cancelled', 'expired', 'unknown')) THEN
        RAISE EXCEPTION 'it must be states of a message with commas between them' USING ERRCODE = 'invalid_parameter_value', COLUMN = 'status';
    ELSIF length(words) > 200 THEN
        RAISE EXCEPTION 'it has more than 200 characters' USING ERRCODE = 'invalid_parameter_value', COLUMN = 'search';
    END IF;
    RETURN (
        WITH fitting AS MATERIALIZED (
            SELECT f.*
            FROM (SELECT r.*, row_number() OVER (ORDER BY r.id DESC) AS n
                  FROM byoc.sms_in_range(own, '00000000-0000-0000-0000-000000000000', start, reach + 1) AS r) AS f
            WHERE f.n > reach
               OR ((wanted IS NULL OR f.status = ANY (wanted))
                   AND (words IS NULL OR strpos(lower(f.body), words) > 0 OR strpos(f.to_number, number) > 0 OR strpos(f.from_number, number) > 0
                        OR lower(f.provider_sid) = words OR f.id::text = words))
            ORDER BY f.id DESC LIMIT size + 1
        ), page AS (
            SELECT f.* FROM fitting f WHERE f.n <= reach ORDER BY f.n LIMIT size
        )
        SELECT jsonb_build_object(
            'items', (SELECT coalesce(jsonb_agg(to_jsonb(p) - 'n' ORDER BY p.n), '[]') FROM page p),
            'next', byoc.rest_cursor('epoch', coalesce((SELECT f.id FROM fitting f ORDER BY f.n OFFSET size),
                                                       (SELECT f.id FROM fitting f WHERE f.n > reach)))));
END
$$;
COMMENT ON FUNCTION byoc.rest_messages(text, text, text, text) IS
    'A page of the organization''s messages, newest first, of these states (with commas between them) and with search in text or numbers. '
    'Each looks at 5,000 messages at most: it may be short and still have a next.';

CREATE FUNCTION byoc.rest_message(id uuid) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET jit = off
AS $$
DECLARE
    own CONSTANT uuid := byoc.current_org_id();
    message jsonb;
BEGIN
    PERFORM byoc.require_organization(own);
    SELECT to_jsonb(m) INTO message FROM byoc.sms_in_range(own, rest_message.id, rest_message.id, 1) AS m;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'message % does not exist', id USING ERRCODE = 'no_data_found';
    END IF;
    RETURN jsonb_build_object('id', message -> 'id', 'body', message || jsonb_build_object('events', (
        SELECT coalesce(jsonb_agg(to_jsonb(e) - 'org_id' - 'message_id' ORDER BY e.id), '[]')
        FROM byoc.message_events e WHERE e.org_id = own AND e.message_id = rest_message.id)));
END
$$;
COMMENT ON FUNCTION byoc.rest_message(uuid) IS 'A message with its history (body), and its id. Raises P0002.';

CREATE FUNCTION byoc.rest_send_test(request text, key text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    document CONSTANT jsonb := byoc.rest_object(request, '{"to": "string", "body": "string", "credential_id": "string"}');
    credential CONSTANT text := document ->> 'credential_id';
    answer jsonb;
    new_id uuid;
BEGIN
    PERFORM byoc.require_organization(byoc.current_org_id());
    answer := byoc.rest_recall(key, 'send_test', document::text);
    IF answer IS NULL THEN
        IF (document ->> 'to' ~ '^\+[1-9][0-9]{6,14}$') IS NOT TRUE THEN
            RAISE EXCEPTION 'it must be an E.164 number such as +14155550100' USING ERRCODE = 'invalid_parameter_value', COLUMN = 'to';
        ELSIF length(document ->> 'body') NOT BETWEEN 1 AND 1600 THEN
            RAISE EXCEPTION 'it must have 1 to 1,600 characters' USING ERRCODE = 'invalid_parameter_value', COLUMN = 'body';
        ELSIF credential !~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$' THEN
            RAISE EXCEPTION 'it must be the id of an active twilio credential' USING ERRCODE = 'invalid_parameter_value', COLUMN = 'credential_id';
        ELSIF NOT EXISTS (SELECT FROM byoc.credentials c WHERE c.credential_type = 'twilio' AND c.is_active
                          AND (c.id = credential::uuid OR (credential IS NULL AND c.is_default))) THEN
            IF credential IS NOT NULL THEN
                RAISE EXCEPTION 'it must be the id of an active twilio credential' USING ERRCODE = 'invalid_parameter_value', COLUMN = 'credential_id';
            END IF;
            RAISE EXCEPTION 'the organization has no active twilio credential' USING ERRCODE = 'object_not_in_prerequisite_state';
        END IF;
        new_id := byoc.send_sms(document ->> 'to', coalesce(document ->> 'body', 'This is a test message: your SMS account works.'),
                                credential_id => credential::uuid);
        answer := byoc.rest_message(new_id) #- '{body,events}';
        PERFORM byoc.rest_remember(key, answer);
    END IF;
    RETURN answer;
END
$$;
COMMENT ON FUNCTION byoc.rest_send_test(text, text) IS 'byoc.send_sms for {to, body, credential_id}. Answers the message (body) and its id.';

CREATE FUNCTION byoc.rest_statistics(hours text) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET jit = off
AS $$
DECLARE
    most CONSTANT integer := 100000;
    own CONSTANT uuid := byoc.current_org_id();
    number CONSTANT integer := byoc.rest_number('hours', hours, 1, 168, 24);
    start CONSTANT timestamptz := date_trunc('hour', now(), 'UTC') - (number - 1) * interval '1 hour';
    low CONSTANT uuid := byoc.first_id_at(start);
BEGIN
    PERFORM byoc.require_organization(own);
    RETURN (
        WITH made AS (
            (SELECT m.created_at, m.status::text AS status FROM byoc.messages m WHERE m.org_id = own AND m.id >= low ORDER BY m.id DESC LIMIT most)
            UNION ALL
            SELECT n.created_at, 'queued' FROM unnest(byoc.lanes_of(own)) AS l CROSS JOIN LATERAL (
                SELECT q.created_at FROM byoc.queue q WHERE q.org_id = own AND q.lane = l AND q.id >= low ORDER BY q.id DESC LIMIT most) AS n
            UNION ALL
            (SELECT s.created_at, CASE WHEN s.attempts = 0 AND s.due_at > clock_timestamp() THEN 'scheduled' ELSE 'queued' END
             FROM byoc.schedule s WHERE s.org_id = own AND s.id >= low ORDER BY s.id DESC LIMIT most)
        ), counted AS MATERIALIZED (
            SELECT date_bin('1 hour', greatest(m.created_at, start), 'epoch') AS hour, m.status, count(*) AS messages, min(m.created_at) AS oldest
            FROM made m GROUP BY 1, 2
        ), handled AS (
            SELECT sum(c.messages) AS messages, min(c.oldest) AS oldest FROM counted c WHERE c.status NOT IN ('queued', 'scheduled')
        )
        SELECT jsonb_build_object(
            'hours', (SELECT jsonb_agg(jsonb_build_object('from', h, 'counts', (
                          SELECT coalesce(jsonb_object_agg(c.status, c.messages), '{}') FROM counted c WHERE c.hour = h)) ORDER BY h)
                      FROM generate_series(start, now(), '1 hour') AS h),
            'total', (SELECT coalesce(jsonb_object_agg(t.status, t.messages), '{}')
                      FROM (SELECT c.status, sum(c.messages) AS messages FROM counted c GROUP BY c.status) AS t),
            'complete_from', (SELECT CASE WHEN h.messages = most THEN h.oldest ELSE start END FROM handled h)));
END
$$;
COMMENT ON FUNCTION byoc.rest_statistics(text) IS
    'How many messages the organization made in each of the last hours, by present status: of the newest 100,000, which begin at complete_from.';

CREATE FUNCTION byoc.rest_changes(within interval) RETURNS TABLE (kind text, id uuid, version text, data jsonb)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    most CONSTANT integer := 501;
    own CONSTANT uuid := byoc.current_org_id();
    since CONSTANT timestamptz := clock_timestamp() - least(within, interval '10 minutes');
BEGIN
    PERFORM byoc.require_organization(own);
    RETURN QUERY
    SELECT 'credential', c.id, concat_ws(' ', c.verification_status, c.is_active, c.updated_at, c.last_verified_at, c.verification_error, c.verification_note),
           jsonb_build_object('id', c.id, 'verification_status', c.verification_status, 'verification_error', c.verification_error,
                              'verification_note', c.verification_note, 'last_verified_at', c.last_verified_at, 'is_active', c.is_active)
    FROM byoc.organization_api_credentials c WHERE c.org_id = own;
    RETURN QUERY
    WITH touched AS (
        -- IS TRUE: by the time, not through all that the organization ever did.
        SELECT e.message_id AS id FROM byoc.message_events e WHERE e.at > since AND (e.org_id = own) IS TRUE
        UNION
        SELECT f.id FROM byoc.sms_in_range(own, byoc.first_id_at(since), 'ffffffff-ffff-ffff-ffff-ffffffffffff', most) AS f
        LIMIT most
    )
    SELECT 'message', t.id, concat_ws(' ', n.status, n.attempts), jsonb_build_object('id', t.id, 'status', n.status)
    FROM touched t
    LEFT JOIN byoc.messages m ON m.org_id = own AND m.id = t.id
    LEFT JOIN byoc.schedule s ON s.org_id = own AND s.id = t.id
    CROSS JOIN LATERAL (
        SELECT CASE WHEN m.id IS NOT NULL THEN m.status::text WHEN s.attempts = 0 AND s.due_at > clock_timestamp() THEN 'scheduled' ELSE 'queued' END AS status,
               coalesce(m.attempts, s.attempts, 0) AS attempts) AS n;
END
$$;
COMMENT ON FUNCTION byoc.rest_changes(interval) IS
    'The organization''s credentials, and the messages to which something happened within so long (ten minutes at most); version differs '
    'when data does. More than 500 messages: there may be more still.';
