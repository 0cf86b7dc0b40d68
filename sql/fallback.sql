-- The old way: one account in the environment of byocd (TWILIO_ACCOUNT_SID, ...). A byocd that was told to use it announces it on
-- each of its sessions; this decides for which organizations. The nil UUID stands for such an account where a credential's id does.

CREATE TABLE byoc.fallback_senders (
    version integer PRIMARY KEY,
    fields jsonb NOT NULL UNIQUE,
    expected_until timestamptz NOT NULL
);
COMMENT ON TABLE byoc.fallback_senders IS 'Accounts in the environments of byocds that may send with them; never a secret. Not dumped.';
COMMENT ON COLUMN byoc.fallback_senders.version IS 'What stands in byoc.messages.used_credential_version for it.';
COMMENT ON COLUMN byoc.fallback_senders.fields IS 'account_sid, and phone_number or messaging_service_sid, as a credential''s public fields.';
COMMENT ON COLUMN byoc.fallback_senders.expected_until IS
    'Until then a byocd that has it is taken to run, or to be back in a moment: messages wait for it.';
ALTER TABLE byoc.fallback_senders ENABLE ROW LEVEL SECURITY;

CREATE FUNCTION byoc.session_fallback() RETURNS integer
LANGUAGE sql STABLE
RETURN nullif(current_setting('byoc.fallback')::integer, 0);
COMMENT ON FUNCTION byoc.session_fallback() IS
    'Internal: version in byoc.fallback_senders of the account that this session announced; NULL: none.';

CREATE FUNCTION byoc.announce_fallback(account_sid text, sender text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    announced integer;
BEGIN
    IF account_sid IS NULL OR sender IS NULL THEN
        RAISE EXCEPTION 'account_sid and sender must not be null' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    LOCK TABLE byoc.fallback_senders IN SHARE ROW EXCLUSIVE MODE; -- one new version at a time
    INSERT INTO byoc.fallback_senders AS f (version, fields, expected_until)
    SELECT coalesce(max(k.version), 0) + 1,
           jsonb_build_object('account_sid', account_sid, CASE WHEN sender LIKE 'MG%' THEN 'messaging_service_sid' ELSE 'phone_number' END, sender),
           clock_timestamp() + interval '5 minutes'
    FROM byoc.fallback_senders k
    ON CONFLICT (fields) DO UPDATE SET expected_until = excluded.expected_until
    RETURNING f.version INTO announced;
    PERFORM set_config('byoc.fallback', announced::text, false);
END
$$;
COMMENT ON FUNCTION byoc.announce_fallback(text, text) IS
    'For byocd, once on each session: it may send with this account, from this number or Messaging Service, for organizations that never had a credential.';

CREATE FUNCTION byoc.keep_fallback() RETURNS void
LANGUAGE sql VOLATILE
BEGIN ATOMIC
    -- A row that somebody else is renewing needs no second time.
    UPDATE byoc.fallback_senders f SET expected_until = clock_timestamp() + interval '5 minutes'
    FROM (SELECT k.version FROM byoc.fallback_senders k
          WHERE k.version = byoc.session_fallback() AND k.expected_until < clock_timestamp() + interval '4 minutes' FOR UPDATE SKIP LOCKED) AS stale
    WHERE f.version = stale.version;
END;
COMMENT ON FUNCTION byoc.keep_fallback() IS 'Internal: the session that announced it is still there.';

CREATE FUNCTION byoc.falls_back(org_id uuid) RETURNS boolean
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT NOT EXISTS (SELECT FROM byoc.organization_api_credentials c WHERE c.org_id = falls_back.org_id AND c.credential_type = 'twilio')
           AND EXISTS (SELECT FROM byoc.organizations o WHERE o.id = falls_back.org_id AND o.shredded_at IS NULL);
END;
COMMENT ON FUNCTION byoc.falls_back(uuid) IS
    'Internal: whether the organization may send with an environment''s account: it never had a credential of its own; one that failed or was revoked counts.';

CREATE FUNCTION byoc.is_left_to_fallback(org_id uuid) RETURNS boolean
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT byoc.session_fallback() IS NULL AND EXISTS (SELECT FROM byoc.fallback_senders f WHERE f.expected_until > clock_timestamp())
           AND byoc.falls_back(is_left_to_fallback.org_id);
END;
COMMENT ON FUNCTION byoc.is_left_to_fallback(uuid) IS
    'Internal: whether messages of the organization that are queued without a credential wait for another byocd than this session''s.';

CREATE FUNCTION byoc.audit_fallback(claim_id uuid) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM byoc.audit(u.org_id, 'fallback.used', NULL, jsonb_build_object('account_sid', u.account_sid, 'messages', u.messages))
    FROM (SELECT m.org_id, f.fields ->> 'account_sid' AS account_sid, count(*) AS messages
          FROM byoc.claims c CROSS JOIN unnest(c.org_ids, c.message_ids) AS i (org_id, id)
          JOIN byoc.messages m ON m.org_id = i.org_id AND m.id = i.id
          JOIN byoc.fallback_senders f ON f.version = m.used_credential_version
          WHERE c.id = audit_fallback.claim_id AND m.used_credential_id = '00000000-0000-0000-0000-000000000000'
          GROUP BY m.org_id, f.fields) AS u;
END
$$;
COMMENT ON FUNCTION byoc.audit_fallback(uuid) IS
    'Internal: the audit trail''s entry for each organization of a claim whose messages are sent with an environment''s account.';
