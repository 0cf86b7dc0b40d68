-- Verification: whether a credential can send. Only a verified one does; until then, and once it has failed, its messages wait.

CREATE FUNCTION byoc.is_barred(verification_status text) RETURNS boolean
LANGUAGE sql STABLE
RETURN coalesce(verification_status <> 'verified'
                AND (verification_status = 'failed' OR current_setting('byoc.require_verified')::boolean), false);
COMMENT ON FUNCTION byoc.is_barred(text) IS
    'Internal: whether a credential in this state may not send: a failed one never, a pending one unless byoc.require_verified is off.';

CREATE FUNCTION byoc.verify_credential(id uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    of_org uuid := byoc.credential_org(id);
BEGIN
    PERFORM byoc.require_organization(of_org, 'admin');
    -- One that can send goes on sending meanwhile.
    UPDATE byoc.organization_api_credentials c
    SET verification_due_at = '-infinity', verification_failures = 0, verification_error = NULL,
        verification_status = CASE c.verification_status WHEN 'verified' THEN 'verified' ELSE 'pending' END
    WHERE c.org_id = of_org AND c.id = verify_credential.id AND c.is_active;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'credential % does not exist or is revoked', id USING ERRCODE = 'no_data_found';
    END IF;
    PERFORM byoc.audit(of_org, 'credential.verification_requested', id);
    PERFORM byoc.wake_dispatcher(of_org);
END
$$;
COMMENT ON FUNCTION byoc.verify_credential(uuid) IS
    'Asks byocd to check the credential with its provider now; the result shows in byoc.credentials. Needs the organization role admin.';

CREATE FUNCTION byoc.claim_verifications(dispatcher uuid, max_count integer, lease interval)
RETURNS TABLE (org_id uuid, id uuid, provider text, version integer)
LANGUAGE sql VOLATILE SECURITY DEFINER
BEGIN ATOMIC
    UPDATE byoc.organization_api_credentials c
    SET verification_due_at = clock_timestamp() + lease
    -- The first of each organization before the second of any.
    FROM (SELECT d.org_id, d.id
          FROM (SELECT w.org_id, w.id, row_number() OVER (PARTITION BY w.org_id ORDER BY w.verification_due_at) AS turn
                FROM byoc.organization_api_credentials w WHERE w.verification_due_at <= clock_timestamp() AND w.is_active) AS t
          JOIN byoc.organization_api_credentials d ON d.org_id = t.org_id AND d.id = t.id
          WHERE d.verification_due_at <= clock_timestamp() AND d.is_active
          ORDER BY t.turn, d.verification_due_at LIMIT max_count FOR UPDATE OF d SKIP LOCKED) AS due
    WHERE c.org_id = due.org_id AND c.id = due.id
    RETURNING c.org_id, c.id, c.credential_type, c.version;
END;
COMMENT ON FUNCTION byoc.claim_verifications(uuid, integer, interval) IS
    'For byocd: credentials to check with their provider, organizations taking turns; they come up again after the lease unless their result is recorded.';

CREATE FUNCTION byoc.verification_backoff(failures integer) RETURNS interval
LANGUAGE sql VOLATILE PARALLEL SAFE
RETURN least(interval '10 minutes', interval '5 seconds' * 2 ^ least(failures, 10)) * (0.8 + 0.4 * random());
COMMENT ON FUNCTION byoc.verification_backoff(integer) IS
    'Internal: how long after so many checks that taught nothing the next one is made: 5 seconds, doubling up to 10 minutes, give or take a fifth.';

CREATE FUNCTION byoc.record_verification(org_id uuid, id uuid, version integer, status text, error text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    every CONSTANT interval := nullif(current_setting('byoc.verification_interval')::interval, interval '0');
    before byoc.organization_api_credentials;
BEGIN
    IF status IS NULL OR status NOT IN ('verified', 'failed', 'retry') THEN
        RAISE EXCEPTION 'verification status must be verified, failed or retry, not "%"', status USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- A tenant that is changing the credential must not hold up the dispatcher: this result would be outdated anyway.
    SELECT c.* INTO before FROM byoc.organization_api_credentials c
    WHERE c.org_id = record_verification.org_id AND c.id = record_verification.id AND c.version = record_verification.version AND c.is_active
    FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    UPDATE byoc.organization_api_credentials c
    SET verification_status = CASE status WHEN 'retry' THEN c.verification_status ELSE status END,
        verification_error = CASE WHEN status = 'failed' OR (status = 'retry' AND c.verification_status = 'pending') THEN error
                                  WHEN status = 'retry' THEN c.verification_error END,
        verification_note = CASE status WHEN 'verified' THEN error WHEN 'retry' THEN c.verification_note END,
        verification_failures = CASE status WHEN 'retry' THEN least(c.verification_failures + 1, 32767) ELSE 0 END,
        -- Spread, so that what was added in one go is not checked in one go for ever.
        verification_due_at = clock_timestamp() + CASE status WHEN 'retry' THEN byoc.verification_backoff(c.verification_failures)
                                                              WHEN 'verified' THEN every * (0.9 + 0.2 * random()) END,
        last_verified_at = CASE status WHEN 'verified' THEN clock_timestamp() ELSE c.last_verified_at END
    WHERE c.org_id = before.org_id AND c.id = before.id;
    IF status <> 'retry' AND status <> before.verification_status THEN
        PERFORM byoc.audit(org_id, CASE status WHEN 'verified' THEN 'credential.verified' ELSE 'credential.verification_failed' END, id);
        IF status = 'verified' THEN
            PERFORM byoc.release_lanes(org_id);
        END IF;
    END IF;
END
$$;
COMMENT ON FUNCTION byoc.record_verification(uuid, uuid, integer, text, text) IS
    'For byocd: result of a check: verified (error: what could not be checked), failed (error: what the tenant can do) or retry: the provider could not be asked, so the state stays '
    'and the check is made again, later each time. Ignored when the credential changed meanwhile or is being changed.';

CREATE FUNCTION byoc.release_lanes(org_id uuid) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- All of them: one that a claim is barring at this moment is waited for.
    PERFORM FROM byoc.lanes l WHERE l.org_id = release_lanes.org_id ORDER BY l.lane FOR UPDATE;
    UPDATE byoc.lanes l
    SET barred = false, next_at = CASE WHEN l.barred THEN greatest(clock_timestamp(), l.paused_until) ELSE l.next_at END
    WHERE l.org_id = release_lanes.org_id;
    PERFORM byoc.wake_dispatcher(org_id);
END
$$;
COMMENT ON FUNCTION byoc.release_lanes(uuid) IS 'Internal: lets claims look at once at lanes whose credential could not send.';

-- A credential that fails while sending

CREATE FUNCTION byoc.fail_credential(org_id uuid, id uuid, version integer, claimed_at timestamptz, error_code text, sentence text) RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- Not one that its tenant is changing: that would hold up everybody's outcomes. Its next job tells again.
    PERFORM FROM byoc.organization_api_credentials c
    WHERE c.org_id = fail_credential.org_id AND c.id = fail_credential.id AND c.version = fail_credential.version AND c.is_active
      AND c.verification_status <> 'failed' AND fail_credential.claimed_at >= coalesce(c.last_verified_at, '-infinity')
    FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE byoc.organization_api_credentials c
    SET verification_status = 'failed', verification_error = sentence, verification_note = NULL, verification_due_at = NULL, verification_failures = 0
    WHERE c.org_id = fail_credential.org_id AND c.id = fail_credential.id;
    PERFORM byoc.audit(org_id, 'credential.verification_failed', id, jsonb_build_object('error_code', fail_credential.error_code));
    RETURN true;
END
$$;
COMMENT ON FUNCTION byoc.fail_credential(uuid, uuid, integer, timestamptz, text, text) IS
    'Internal: marks a credential failed that the provider refused for a job claimed then, unless it was changed or verified since; true when it did.';

CREATE FUNCTION byoc.fail_credentials(told jsonb) RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
DECLARE
    failed integer;
BEGIN
    SELECT count(*) FILTER (WHERE byoc.fail_credential(b.org_id, b.id, b.version, b.claimed_at, b.error_code, format(
        'Twilio refused a message: %s (error %s). Correct this at Twilio or in the credential and verify it again; messages wait until then.',
        coalesce(b.title, 'the account or its sender cannot be used'), b.error_code))) INTO failed
    FROM (SELECT DISTINCT ON (m.org_id, m.used_credential_id) m.org_id, m.used_credential_id AS id, m.used_credential_version AS version, m.claimed_at,
                 t.error_code, e.title
          FROM jsonb_to_recordset(told) AS t (org_id uuid, id uuid, claim_id uuid, outcome text, error_code text)
          JOIN byoc.messages m ON m.org_id = t.org_id AND m.id = t.id AND m.claim_id IS NOT DISTINCT FROM t.claim_id
          JOIN byoc.provider_errors e ON e.provider = 'twilio' AND e.code = t.error_code AND e.class = 'pause_credential'
          WHERE t.outcome = 'rejected'
          ORDER BY m.org_id, m.used_credential_id, m.claimed_at DESC) AS b;
    RETURN failed;
END
$$;
COMMENT ON FUNCTION byoc.fail_credentials(jsonb) IS
    'Internal: marks the credentials failed of messages that were refused (outcome rejected) with an error of class pause_credential, unless they were '
    'changed or verified since. Returns how many.';

-- For people

CREATE VIEW byoc.senders AS
SELECT c.org_id, c.id, c.is_default,
       CASE WHEN byoc.is_barred(c.verification_status)
            THEN 'paused: ' || CASE c.verification_status WHEN 'failed' THEN 'the credential failed' ELSE 'the credential is not verified yet' END
                 || coalesce(': ' || c.verification_error, '') END AS waiting_reason
FROM byoc.organization_api_credentials c
WHERE c.is_active AND c.credential_type = 'twilio';
COMMENT ON VIEW byoc.senders IS 'Internal: the credentials that messages go out by, and why one may not send; NULL: it may.';
