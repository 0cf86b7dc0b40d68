-- Messages that left the queue: being sent, or final. Unsent ones wait in byoc.queue and byoc.schedule (jobs.sql); a
-- message is in exactly one of the three. No foreign key leads to organizations: it would cost each insert a lock.

CREATE DOMAIN byoc.message_status AS text
    CHECK (VALUE IN ('scheduled', 'queued', 'sending', 'sent', 'delivered', 'undelivered', 'failed', 'cancelled', 'expired', 'unknown'));
COMMENT ON DOMAIN byoc.message_status IS
    'State of a message. sending: claimed, or perhaps sent and looked for in the provider''s message list. sent: the provider took it. '
    'unknown: a request was made, its answer lost and the list could not tell; a person decides (byoc.resolve_unknown_sms), it is never '
    'sent again by itself.';

CREATE TABLE byoc.messages (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    to_number text,
    from_number text,
    body text,
    status byoc.message_status NOT NULL,
    credential_id uuid,
    used_credential_id uuid,
    used_credential_version integer,
    claim_id uuid,
    claimed_at timestamptz,
    attempts smallint NOT NULL,
    provider_sid text,
    segments smallint,
    error_code text,
    error_message text,
    source_table text,
    idempotency_key text,
    created_at timestamptz NOT NULL DEFAULT now(),
    send_at timestamptz,
    expires_at timestamptz,
    sent_at timestamptz,
    delivered_at timestamptz,
    finished_at timestamptz,
    PRIMARY KEY (org_id, id),
    CHECK ((status = 'sending') = (claim_id IS NOT NULL)),
    CHECK ((status IN ('scheduled', 'queued', 'sending')) = (finished_at IS NULL))
) WITH (fillfactor = 45); -- each row is updated once, soon after its insert, and should stay in its page
COMMENT ON TABLE byoc.messages IS
    'Messages that were claimed or are final. Status queued or scheduled here means paused: a restored message without a job.';
COMMENT ON COLUMN byoc.messages.credential_id IS 'Credential that the sender asked for; NULL: the organization''s default.';
COMMENT ON COLUMN byoc.messages.used_credential_id IS 'Credential of the last attempt; the nil UUID: an account of byoc.fallback_senders.';
COMMENT ON COLUMN byoc.messages.used_credential_version IS 'Its version when the attempt was claimed.';
COMMENT ON COLUMN byoc.messages.claim_id IS 'Claim that is sending it; a result from any other claim is ignored.';
COMMENT ON COLUMN byoc.messages.segments IS 'Segments that the provider billed, or our own count until it says.';
COMMENT ON COLUMN byoc.messages.claimed_at IS 'When the last attempt was claimed; the request was made soon after.';
COMMENT ON COLUMN byoc.messages.finished_at IS 'When the message left the job engine: sent, or given up.';
-- Rows come in by this time, so that a few bytes find what was claimed lately.
CREATE INDEX messages_claimed ON byoc.messages USING brin (claimed_at) WITH (autosummarize = on, pages_per_range = 32);
ALTER TABLE byoc.messages ENABLE ROW LEVEL SECURITY;
SELECT pg_extension_config_dump('byoc.messages', '');

CREATE TABLE byoc.message_events (
    org_id uuid NOT NULL,
    message_id uuid NOT NULL,
    id uuid NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    event text NOT NULL,
    attempt smallint NOT NULL,
    http_status smallint,
    error_code text,
    error_message text,
    provider_sid text,
    duration_ms integer,
    PRIMARY KEY (org_id, message_id, id)
);
COMMENT ON TABLE byoc.message_events IS
    'History of messages: one row for each attempt''s outcome (accepted, rejected, throttled, unavailable, unknown, returned) and '
    'each other change (refused, rescued, found, not_found, late, expired, cancelled, retried, resent, resolved), what the '
    'provider reported later (sent, delivered, undelivered, failed, ...), and settled: a report that proved an attempt whose answer was lost.';
COMMENT ON COLUMN byoc.message_events.duration_ms IS 'From the request''s start to its outcome, in milliseconds.';
ALTER TABLE byoc.message_events ENABLE ROW LEVEL SECURITY;
SELECT pg_extension_config_dump('byoc.message_events', '');

CREATE TABLE byoc.idempotency_keys (
    org_id uuid NOT NULL,
    key text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    message_id uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, key)
);
COMMENT ON TABLE byoc.idempotency_keys IS 'Keys that senders gave, unique within an organization: the same key gives the same message.';
ALTER TABLE byoc.idempotency_keys ENABLE ROW LEVEL SECURITY;
SELECT pg_extension_config_dump('byoc.idempotency_keys', '');

CREATE TABLE byoc.unknown_messages (
    org_id uuid NOT NULL,
    message_id uuid NOT NULL,
    PRIMARY KEY (org_id, message_id)
);
COMMENT ON TABLE byoc.unknown_messages IS
    'Messages that became unknown, so that they are found without an index on each message''s status. One that is settled may still stand here.';
ALTER TABLE byoc.unknown_messages ENABLE ROW LEVEL SECURITY;
SELECT pg_extension_config_dump('byoc.unknown_messages', '');
