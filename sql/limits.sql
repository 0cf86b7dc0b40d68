-- How fast and how much at once: sender limits (token buckets) and the breaker of a lane whose provider fails.

CREATE FUNCTION byoc.sms_segments(body text) RETURNS integer
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'byoc_sms_segments';
COMMENT ON FUNCTION byoc.sms_segments(text) IS
    'Segments that an SMS takes: 160 GSM-7 characters in one, 153 in each of several (3GPP TS 23.038; the extension table''s characters '
    'count twice), or 70 and 67 UTF-16 code units when any character is not in GSM-7. An empty body counts as one.';

CREATE TABLE byoc.sender_limits (
    org_id uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    sender text NOT NULL,
    segments_per_second double precision CHECK (segments_per_second > 0),
    burst double precision NOT NULL DEFAULT 1 CHECK (burst >= 1),
    PRIMARY KEY (org_id, sender)
);
COMMENT ON TABLE byoc.sender_limits IS
    'The DBA''s limits instead of byoc.default_sender_rate(): for a sender of an organization, or, with the nil UUID, for a '
    'sender or a kind of sender (long_code, toll_free, short_code, messaging_service) of all. Counted in each organization on its own.';
COMMENT ON COLUMN byoc.sender_limits.sender IS 'Phone number in E.164, short code, Messaging Service SID, or a kind of sender.';
COMMENT ON COLUMN byoc.sender_limits.segments_per_second IS 'NULL: no limit.';
COMMENT ON COLUMN byoc.sender_limits.burst IS 'Segments that may go at once after a pause.';
COMMENT ON COLUMN byoc.sender_limits.org_id IS 'The organization; the nil UUID: all.';
ALTER TABLE byoc.sender_limits ENABLE ROW LEVEL SECURITY;
CREATE POLICY by_grant ON byoc.sender_limits USING (true); -- only administrators have it
SELECT pg_extension_config_dump('byoc.sender_limits', '');

CREATE FUNCTION byoc.sender_kind(sender text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN sender LIKE 'MG%' THEN 'messaging_service'
            WHEN length(sender) <= 7 THEN 'short_code'
            WHEN left(sender, 5) IN ('+1800', '+1833', '+1844', '+1855', '+1866', '+1877', '+1888') THEN 'toll_free'
            ELSE 'long_code' END;
COMMENT ON FUNCTION byoc.sender_kind(text) IS 'long_code, toll_free (North America), short_code or messaging_service, by the look of the sender.';

CREATE FUNCTION byoc.default_sender_rate(kind text) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE kind WHEN 'long_code' THEN 1.0::double precision WHEN 'toll_free' THEN 3.0 WHEN 'short_code' THEN 100.0 END;
COMMENT ON FUNCTION byoc.default_sender_rate(text) IS
    'Segments a second that Twilio sends for a kind of sender; NULL: no limit, as a Messaging Service spreads messages over its senders. '
    'https://www.twilio.com/docs/messaging/guides/understanding-twilio-rate-limits-and-message-queues';

CREATE FUNCTION byoc.default_sender_burst(segments_per_second double precision) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN segments_per_second * 36000;
COMMENT ON FUNCTION byoc.default_sender_burst(double precision) IS
    'Segments that may go at once by such a default rate: Twilio keeps ten hours of them in a sender''s queue, then refuses (error 21611).';

CREATE FUNCTION byoc.limited_sender(fields jsonb) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(fields ->> 'messaging_service_sid', fields ->> 'phone_number');
COMMENT ON FUNCTION byoc.limited_sender(jsonb) IS 'Internal: what a credential with these public fields sends from; NULL when there is none.';

CREATE FUNCTION byoc.sender_limit(org_id uuid, fields jsonb)
RETURNS TABLE (segments_per_second double precision, burst double precision)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT CASE WHEN o.sender IS NOT NULL THEN o.segments_per_second ELSE byoc.default_sender_rate(f.kind) END,
           CASE WHEN o.sender IS NOT NULL THEN o.burst ELSE byoc.default_sender_burst(byoc.default_sender_rate(f.kind)) END
    FROM (SELECT s.sender, byoc.sender_kind(s.sender) AS kind
          FROM (SELECT byoc.limited_sender(fields) AS sender) AS s) AS f
    LEFT JOIN LATERAL (
        SELECT l.sender, l.segments_per_second, l.burst FROM byoc.sender_limits l
        WHERE (l.org_id = sender_limit.org_id AND l.sender = f.sender)
           OR (l.org_id = '00000000-0000-0000-0000-000000000000' AND l.sender IN (f.sender, f.kind))
        ORDER BY l.org_id = sender_limit.org_id DESC, l.sender = f.sender DESC LIMIT 1) AS o ON true;
END;
COMMENT ON FUNCTION byoc.sender_limit(uuid, jsonb) IS 'Internal: the limit of a credential''s sender, by its public fields.';

CREATE FUNCTION byoc.breaker_threshold() RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN 5;
COMMENT ON FUNCTION byoc.breaker_threshold() IS
    'Failures in a row after which a lane is tried with one message at a time, at growing intervals, until the provider answers again.';
