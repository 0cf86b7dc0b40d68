-- Nothing is open to PUBLIC; byoc.grant_* give an existing role what its part needs. No roles are made: they belong to the
-- cluster, and would break dump and restore.

CREATE FUNCTION byoc.grant_tenant(role regrole) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    grantee text := role::text; -- regrole prints a quoted name
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA byoc TO %s', grantee);
    EXECUTE format('GRANT SELECT ON byoc.organizations, byoc.providers, byoc.provider_errors, byoc.sms_events, byoc.audit_log, byoc.queue_health, byoc.call_health, '
        'byoc.inbound_messages, byoc.opt_outs, byoc.webhook_calls TO %s', grantee);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON byoc.credentials, byoc.calendar_events TO %s', grantee);
    EXECUTE format('GRANT SELECT, INSERT ON byoc.sms_messages TO %s', grantee);
    EXECUTE format(
        'GRANT EXECUTE ON FUNCTION byoc.api_version(), byoc.oldest_api_version(), byoc.authenticate(text), byoc.current_org_id(), byoc.current_user_id(), byoc.current_org_role(), '
        'byoc.sees_all_organizations(), byoc.require_organization(uuid, text), byoc.invoking_role(), '
        'byoc.encrypt(uuid, text, text), byoc.decrypt(uuid, bytea, text), byoc.encrypt_bytes(uuid, bytea, text), byoc.decrypt_bytes(uuid, bytea, text), '
        'byoc.envelope_key_id(bytea), byoc.sms_segments(text), byoc.decrypted_fields(uuid, uuid, integer, bytea), '
        'byoc.add_credential(text, jsonb, text, uuid), byoc.add_credential(text, text, text, uuid), byoc.parse_fields(text), '
        'byoc.update_credential(uuid, jsonb), byoc.update_credential(uuid, text), byoc.change_credential(uuid, uuid, jsonb, text, boolean), '
        'byoc.credential_org(uuid), byoc.verify_credential(uuid), byoc.revoke_credential(uuid), byoc.start_oauth(text, bytea, bytea, text, uuid), '
        'byoc.send_sms(text, text, timestamptz, uuid, text, timestamptz, uuid), byoc.cancel_sms(uuid), byoc.retry_sms(uuid), '
        'byoc.save_calendar_event(uuid, jsonb, uuid), byoc.cancel_calendar_event(uuid, uuid), byoc.calendar_event_id(uuid), '
        'byoc.call_webhook(text, jsonb, timestamptz, uuid, text, uuid), byoc.cancel_webhook(uuid), byoc.retry_webhook(uuid), '
        'byoc.resolve_unknown_sms(uuid, text), byoc.lift_opt_out(text, uuid), byoc.is_barred(text), byoc.queue_health(), '
        'byoc.rest_object(text, jsonb), byoc.rest_number(text, text, integer, integer, integer), byoc.rest_cursor(timestamptz, uuid), '
        'byoc.read_rest_cursor(text), byoc.rest_recall(text, text, text), byoc.rest_remember(text, jsonb), byoc.rest_session(), byoc.rest_providers(), '
        'byoc.rest_credential(uuid), byoc.rest_credentials(text, text), byoc.rest_add_credential(text, text, text), byoc.rest_match(uuid, text), '
        'byoc.rest_update_credential(uuid, text, text), byoc.rest_revoke_credential(uuid, text), byoc.rest_verify_credential(uuid, text), '
        'byoc.rest_audit(uuid, text, text), byoc.rest_messages(text, text, text, text), byoc.rest_message(uuid), byoc.rest_send_test(text, text), '
        'byoc.rest_day(text), byoc.rest_availability_window(text, text), byoc.rest_availability(text, text, jsonb), '
        'byoc.rest_statistics(text), byoc.rest_changes(interval), '
        'byoc.home(uuid), byoc.require_distributed(), byoc.require_home(uuid), byoc.worker_anchors(), byoc.rows_at_home(text), byoc.rows_at_homes(anyelement) TO %s', grantee);
    PERFORM byoc.audit_if_possible('privileges.granted', jsonb_build_object('to', grantee, 'as', 'tenant'));
END
$$;
COMMENT ON FUNCTION byoc.grant_tenant(regrole) IS
    'Gives a role what a tenant''s session needs: its own credentials and messages, within a tenant context.';

CREATE FUNCTION byoc.grant_admin(role regrole) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    grantee text := role::text;
BEGIN
    PERFORM byoc.grant_tenant(role);
    EXECUTE format('GRANT UPDATE (name, settings) ON byoc.organizations TO %s', grantee);
    EXECUTE format('GRANT SELECT ON byoc.sms_triggers, byoc.calendar_triggers, byoc.webhook_triggers, byoc.key_status, byoc.master_keys, byoc.stats TO %s', grantee);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON byoc.provider_overrides, byoc.provider_error_overrides, byoc.sender_limits TO %s', grantee);
    EXECUTE format(
        'GRANT EXECUTE ON FUNCTION byoc.set_org(uuid, text, text, boolean), byoc.create_organization(text, uuid), '
        'byoc.create_sms_trigger(regclass, text, text, text, text, text, text, text, text), byoc.drop_sms_trigger(regclass, text), '
        'byoc.enqueue_sms_trigger(), byoc.rehearse_sms_trigger(regclass, text, text, text, text, text), byoc.trigger_events_clause(text), '
        'byoc.require_on_error(text, text), byoc.free_trigger_name(regclass, text), '
        'byoc.register_sms_trigger(regclass, name, text, text, text, text, text, text), byoc.unregister_sms_trigger(regclass, name), '
        'byoc.create_calendar_trigger(regclass, text, text, text, text, text, text, text, text, interval, text, text, text, text, text, text), '
        'byoc.drop_calendar_trigger(regclass, text), byoc.follow_row_trigger(), byoc.rehearse_row_trigger(regclass, text[], text[], text, text, text), '
        'byoc.create_webhook_trigger(regclass, text, text[], text, text, text, text, text, text), byoc.drop_webhook_trigger(regclass, text), '
        'byoc.register_webhook_trigger(regclass, name, text, text[], text, text, text, text), byoc.unregister_webhook_trigger(regclass, name), '
        'byoc.webhook_problem(text, jsonb), '
        'byoc.register_calendar_trigger(jsonb), byoc.unregister_calendar_trigger(regclass, name), byoc.is_time_zone(text), '
        'byoc.keyring(), byoc.reload_keyring(), byoc.rewrap_keys(), byoc.rotate_organization_key(uuid), byoc.reencrypt(uuid, integer), '
        'byoc.destroy_unused_key(uuid, integer), byoc.shred_organization(uuid), '
        'byoc.adopt_installation(), byoc.resume_restored(uuid), byoc.seal_audit_log(), byoc.prune(interval, integer), byoc.stats() TO %s', grantee);
    PERFORM byoc.audit_if_possible('privileges.granted', jsonb_build_object('to', grantee, 'as', 'admin'));
END
$$;
COMMENT ON FUNCTION byoc.grant_admin(regrole) IS
    'Gives a role what the application''s owner or DBA needs: organizations and their keys, tenant contexts, triggers, provider settings.';

CREATE FUNCTION byoc.grant_dispatcher(role regrole) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    grantee text := role::text;
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA byoc TO %s', grantee);
    EXECUTE format(
        'GRANT EXECUTE ON FUNCTION byoc.api_version(), byoc.oldest_api_version(), byoc.register_dispatcher(uuid), byoc.announce_fallback(text, text), byoc.claim_jobs(uuid, integer, interval, uuid[], integer[], integer), '
        'byoc.dispatcher_sleep(uuid[]), byoc.heartbeat(uuid, interval), byoc.rescue_expired(), '
        'byoc.claim_reconciliations(integer, interval), byoc.record_reconciliation(uuid, text, text, timestamptz, timestamptz, jsonb, text, text), '
        'byoc.record_accepted(uuid[], uuid[], uuid[], smallint[], text[], text[], smallint[], integer[]), '
        'byoc.record_outcomes(jsonb), byoc.open_credentials(uuid[], uuid[]), byoc.claim_verifications(uuid, integer, interval), '
        'byoc.record_verification(uuid, uuid, integer, text, text), byoc.seal_audit_log(), byoc.queue_health(), byoc.stats(), '
        'byoc.queue_totals(), byoc.key_totals(), byoc.call_totals(), byoc.acceptance_times(), byoc.readiness(), '
        'byoc.receipt_key(), byoc.open_receipts(text[]), byoc.record_receipts(jsonb), byoc.expect_receipts(uuid[], uuid[], boolean[]), '
        'byoc.claim_calls(integer, interval, integer), byoc.record_calls(jsonb), '
        'byoc.claim_status_checks(integer), byoc.inbound_credential(uuid), '
        'byoc.record_inbound(uuid, uuid, text, text, text, text, text), byoc.note_refusals(uuid[], uuid[]), '
        'byoc.take_oauth_state(bytea, bytea), byoc.add_credential_by_oauth(bytea, text), '
        'byoc.claim_provider_revocations(integer, interval), byoc.record_provider_revocation(uuid, uuid, boolean), '
        'byoc.check_subject(uuid), byoc.send_check_sms(uuid, text, text), byoc.check_sms(uuid, uuid) TO %s', grantee);
    PERFORM byoc.audit_if_possible('privileges.granted', jsonb_build_object('to', grantee, 'as', 'dispatcher'));
END
$$;
COMMENT ON FUNCTION byoc.grant_dispatcher(regrole) IS 'Gives a role what byocd needs: functions only, no table.';

CREATE FUNCTION byoc.grant_auditor(role regrole) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    grantee text := role::text;
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA byoc TO %s', grantee);
    EXECUTE format('GRANT SELECT ON byoc.audit_log, byoc.audit_heads, byoc.organizations, byoc.key_status, byoc.master_keys TO %s', grantee);
    EXECUTE format(
        'GRANT EXECUTE ON FUNCTION byoc.api_version(), byoc.oldest_api_version(), byoc.verify_audit_log(uuid, bigint, bytea), byoc.keyring(), byoc.envelope_key_id(bytea), '
        'byoc.current_org_id(), byoc.current_org_role(), byoc.sees_all_organizations(), byoc.require_organization(uuid, text), '
        'byoc.require_distributed(), byoc.require_home(uuid), byoc.worker_anchors(), byoc.rows_at_home(text), byoc.rows_at_homes(anyelement), byoc.verify_at_homes(uuid, bigint, bytea) TO %s', grantee);
    PERFORM byoc.audit_if_possible('privileges.granted', jsonb_build_object('to', grantee, 'as', 'auditor'));
END
$$;
COMMENT ON FUNCTION byoc.grant_auditor(regrole) IS
    'Gives a role what an auditor needs: the audit trail of all organizations and its verification, the state of keys; no secret, '
    'no credential, no message.';

CREATE FUNCTION byoc.renew_grants() RETURNS TABLE (role regrole, part text)
LANGUAGE plpgsql VOLATILE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    -- What tells each part, whatever arguments a release's function has. An admin is a tenant too.
    FOR role, part IN
        SELECT DISTINCT a.grantee::regrole, k.part
        FROM (VALUES ('tenant', 'send_sms'), ('admin', 'set_org'), ('dispatcher', 'register_dispatcher'), ('auditor', 'verify_audit_log')) AS k (part, name)
        JOIN pg_proc p ON p.pronamespace = 'byoc'::regnamespace AND p.proname = k.name
        CROSS JOIN aclexplode(p.proacl) AS a
        WHERE a.grantee NOT IN (0, p.proowner)
        ORDER BY 1, 2
    LOOP
        EXECUTE format('SELECT byoc.grant_%s($1)', part) USING role;
        RETURN NEXT;
    END LOOP;
END
$$;
COMMENT ON FUNCTION byoc.renew_grants() IS
    'After ALTER EXTENSION pg_byoc UPDATE: gives each role that has a part (byoc.grant_tenant and its like) what this release''s part consists of. '
    'Returns the roles and their parts.';

CREATE FUNCTION byoc.close_types() RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    opened regtype;
BEGIN
    FOR opened IN
        SELECT DISTINCT t.oid::regtype FROM pg_type t, aclexplode(coalesce(t.typacl, acldefault('T', t.typowner))) AS a
        WHERE t.typnamespace = 'byoc'::regnamespace AND t.typcategory <> 'A' AND a.grantee = 0
    LOOP
        EXECUTE format('REVOKE ALL ON TYPE %s FROM PUBLIC', opened);
    END LOOP;
END
$$;
COMMENT ON FUNCTION byoc.close_types() IS
    'Internal: takes from PUBLIC the use of types that pg_upgrade gave it, since PostgreSQL dumps no privileges of row types.';

-- Nobody but the owner starts with anything: PostgreSQL's defaults open functions and types to PUBLIC, and the default
-- privileges of who runs CREATE EXTENSION may open the rest to others. Row types count: a table with a column of one would
-- keep ours from being altered. In an upgrade this is for what is new: grants on the rest stay.
DO $$
DECLARE
    existing text[] := current_setting('pg_byoc.existing');
    opened record;
BEGIN
    FOR opened IN
        WITH object (id, kind, name, owner, acl) AS (
            SELECT n.tableoid::regclass || ' ' || n.oid, 'SCHEMA', n.nspname::text, n.nspowner, n.nspacl FROM pg_catalog.pg_namespace n WHERE n.nspname = 'byoc'
            UNION ALL
            SELECT p.tableoid::regclass || ' ' || p.oid, 'FUNCTION', p.oid::regprocedure::text, p.proowner, coalesce(p.proacl, acldefault('f', p.proowner))
            FROM pg_catalog.pg_proc p WHERE p.pronamespace = 'byoc'::regnamespace
            UNION ALL
            SELECT c.tableoid::regclass || ' ' || c.oid, 'TABLE', c.oid::regclass::text, c.relowner, c.relacl
            FROM pg_catalog.pg_class c WHERE c.relnamespace = 'byoc'::regnamespace AND c.relkind IN ('r', 'v')
            UNION ALL
            SELECT t.tableoid::regclass || ' ' || t.oid, 'TYPE', t.oid::regtype::text, t.typowner, coalesce(t.typacl, acldefault('T', t.typowner))
            FROM pg_catalog.pg_type t WHERE t.typnamespace = 'byoc'::regnamespace AND t.typcategory <> 'A'
        )
        SELECT DISTINCT o.kind, o.name, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS grantee
        FROM object o, aclexplode(o.acl) AS a WHERE a.grantee <> o.owner AND o.id <> ALL (existing)
    LOOP
        EXECUTE format('REVOKE ALL ON %s %s FROM %s', opened.kind, opened.name, opened.grantee);
    END LOOP;
END
$$;
