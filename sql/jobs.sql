-- The job engine's tables. A claim moves whole messages from the queue to byoc.messages, so that no message can be claimed
-- twice. It goes on in a lane (organization and credential) where the last one ended, so that it does not walk over dead rows; that
-- and the lanes' turns stand in shared memory (extension/wakeup.h): rows that every claim changed would be dead ones before long.

CREATE TABLE byoc.queue (
    org_id uuid NOT NULL,
    lane uuid NOT NULL,
    id uuid NOT NULL,
    to_number text NOT NULL,
    body text NOT NULL,
    credential_id uuid,
    attempts smallint NOT NULL DEFAULT 0,
    source_table text,
    idempotency_key text,
    created_at timestamptz NOT NULL DEFAULT now(),
    send_at timestamptz,
    expires_at timestamptz,
    segments smallint NOT NULL DEFAULT 1,
    PRIMARY KEY (org_id, lane, id)
);
COMMENT ON TABLE byoc.queue IS 'Messages that can be sent now.';
COMMENT ON COLUMN byoc.queue.lane IS 'Credential that it will go out by, as of when it was queued; the nil UUID when the organization had none.';
COMMENT ON COLUMN byoc.queue.segments IS 'Segments that the body takes (byoc.sms_segments): what sender limits count.';
COMMENT ON COLUMN byoc.queue.credential_id IS 'Credential that the sender asked for; NULL: the organization''s default.';
ALTER TABLE byoc.queue ENABLE ROW LEVEL SECURITY;
SELECT pg_extension_config_dump('byoc.queue', '');

CREATE TABLE byoc.schedule (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    due_at timestamptz NOT NULL,
    to_number text NOT NULL,
    body text NOT NULL,
    credential_id uuid,
    attempts smallint NOT NULL DEFAULT 0,
    source_table text,
    idempotency_key text,
    created_at timestamptz NOT NULL DEFAULT now(),
    send_at timestamptz,
    expires_at timestamptz,
    segments smallint NOT NULL DEFAULT 1,
    PRIMARY KEY (org_id, id)
);
COMMENT ON TABLE byoc.schedule IS 'Messages that wait for a time: scheduled ones (no attempt yet) and ones to be tried again.';
CREATE INDEX schedule_due ON byoc.schedule (due_at);
ALTER TABLE byoc.schedule ENABLE ROW LEVEL SECURITY;
SELECT pg_extension_config_dump('byoc.schedule', '');

CREATE TABLE byoc.lanes (
    org_id uuid NOT NULL,
    lane uuid NOT NULL,
    busy boolean NOT NULL,
    next_at timestamptz NOT NULL,
    cursor uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    failures integer NOT NULL DEFAULT 0,
    trial uuid,
    paused_until timestamptz,
    barred boolean NOT NULL DEFAULT false,
    tokens double precision,
    tokens_at timestamptz,
    PRIMARY KEY (org_id, lane)
) WITH (fillfactor = 50);
COMMENT ON TABLE byoc.lanes IS
    'What is to be remembered about lanes: waits, failures and limits. Most have no row. Not dumped: it says nothing about messages.';
COMMENT ON COLUMN byoc.lanes.busy IS 'It has work that waits for next_at; claims look at it then.';
COMMENT ON COLUMN byoc.lanes.next_at IS 'Not to be served before; it may have passed.';
COMMENT ON COLUMN byoc.lanes.cursor IS 'Of a busy lane: the message that the next claim begins with, or one that went before it.';
COMMENT ON COLUMN byoc.lanes.failures IS
    'Failures of the provider in a row (no answer, 5xx, 429). From byoc.breaker_threshold() on one message at a time tries the way.';
COMMENT ON COLUMN byoc.lanes.trial IS 'The message that tries the way, or did so last; no other follows before its outcome, or its claim''s lease, ends.';
COMMENT ON COLUMN byoc.lanes.paused_until IS 'Until then the provider asked to send nothing (429); next_at is not before. NULL: it never did.';
COMMENT ON COLUMN byoc.lanes.barred IS
    'The last claim found a credential that may not send (byoc.is_barred). It is looked at again at next_at, or when it was verified.';
COMMENT ON COLUMN byoc.lanes.tokens IS 'Segments that the sender could send at tokens_at (token bucket); NULL: not limited, or never used.';
CREATE INDEX lanes_waiting ON byoc.lanes (next_at) WHERE busy;
CREATE INDEX lanes_failing ON byoc.lanes (org_id, lane) WHERE failures > 0;
ALTER TABLE byoc.lanes ENABLE ROW LEVEL SECURITY;

CREATE TABLE byoc.claims (
    id uuid PRIMARY KEY,
    dispatcher uuid NOT NULL,
    lease_until timestamptz NOT NULL,
    org_ids uuid[] NOT NULL,
    message_ids uuid[] NOT NULL,
    unsettled integer NOT NULL,
    CHECK (cardinality(org_ids) = cardinality(message_ids))
) WITH (fillfactor = 50, toast_tuple_target = 8160);
ALTER TABLE byoc.claims ALTER COLUMN org_ids SET STORAGE EXTERNAL, ALTER COLUMN message_ids SET STORAGE EXTERNAL; -- random: nothing to compress
COMMENT ON TABLE byoc.claims IS
    'What a dispatcher took in one claim and is sending; renewed by its heartbeat, rescued when the lease runs out. One row a claim, '
    'whatever the number of organizations in it.';
COMMENT ON COLUMN byoc.claims.unsettled IS 'Messages without an outcome; the claim ends when none is left.';
ALTER TABLE byoc.claims ENABLE ROW LEVEL SECURITY;

CREATE FUNCTION byoc.default_credential(org_id uuid, credential_type text) RETURNS uuid
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT c.id FROM byoc.organization_api_credentials c
    WHERE c.org_id = default_credential.org_id AND c.credential_type = default_credential.credential_type AND c.is_default AND c.is_active;
END;
COMMENT ON FUNCTION byoc.default_credential(uuid, text) IS 'Internal: the organization''s active default credential of a type; NULL when it has none.';

CREATE FUNCTION byoc.lane_of(org_id uuid, credential_id uuid) RETURNS uuid
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT coalesce(credential_id, byoc.default_credential(org_id, 'twilio'), '00000000-0000-0000-0000-000000000000');
END;
COMMENT ON FUNCTION byoc.lane_of(uuid, uuid) IS
    'Internal: the lane of a message that asks for credential_id or, when NULL, the default. extension/enqueue.cpp says the same.';
