-- What byoc.distribute() puts on a Citus coordinator in the place of functions and views that need an organization's rows: the same names,
-- which ask its home. They are made of the catalog, so that arguments and defaults are those of the release.

-- Citus forgets a SET LOCAL of a savepoint that was released, for the nodes that it reaches later.
CREATE FUNCTION byoc.require_home(organization uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    context_there uuid;
BEGIN
    IF organization IS NULL THEN
        PERFORM byoc.require_organization(organization);
    END IF;
    PERFORM byoc.require_distributed();
    SELECT byoc.current_org_id() INTO context_there FROM byoc.homes h WHERE h.org_id = organization;
    IF NOT FOUND THEN
        PERFORM byoc.require_organization(organization);
        IF NOT EXISTS (SELECT FROM byoc.organizations o WHERE o.id = organization) THEN
            RAISE EXCEPTION 'organization % does not exist', organization USING ERRCODE = 'foreign_key_violation';
        END IF;
    END IF;
    IF context_there IS DISTINCT FROM byoc.current_org_id() THEN
        RAISE EXCEPTION 'the tenant context did not reach the worker where organization % is at home', organization
            USING ERRCODE = 'invalid_authorization_specification',
                  HINT = 'Set it by byoc.authenticate(token) or byoc.set_org(org_id), for the transaction, and not within a savepoint that is released.';
    END IF;
END
$$;
COMMENT ON FUNCTION byoc.require_home(uuid) IS
    'Internal: raises unless the organization has a home, and the tenant context is there what it is here: 28000, 42501 or 23503.';

CREATE FUNCTION byoc.forward_function(forwarded regprocedure) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    p pg_proc;
    organization text;
    call text;
BEGIN
    SELECT * INTO p FROM pg_proc WHERE oid = forwarded;
    -- Whose: what an argument says, else the tenant context.
    organization := CASE WHEN 'org_id' = ANY (p.proargnames[:p.pronargs]) THEN format('$%s', array_position(p.proargnames, 'org_id'))
                         ELSE 'byoc.current_org_id()' END;
    call := format('byoc.%I(%s)', p.proname, (SELECT string_agg('$' || n, ', ' ORDER BY n) FROM generate_series(1, p.pronargs) AS n));
    EXECUTE format($definition$
        CREATE OR REPLACE FUNCTION byoc.%I(%s) RETURNS %s
        LANGUAGE plpgsql VOLATILE SECURITY INVOKER
        SET search_path = pg_catalog, pg_temp
        AS $function$
        #variable_conflict use_column
        DECLARE
            home_of CONSTANT uuid := %s;
            answer %s;
        BEGIN
            PERFORM byoc.require_home(home_of);
            %s WHERE home.org_id = home_of;
            %s
        END
        $function$ $definition$,
        p.proname, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid), organization,
        CASE WHEN p.proretset OR p.prorettype = 'void'::regtype THEN 'text' ELSE format_type(p.prorettype, NULL) END,
        CASE WHEN p.proretset THEN format('RETURN QUERY SELECT r.* FROM byoc.homes AS home, LATERAL %s AS r', call)
             ELSE format('SELECT %s INTO answer FROM byoc.homes AS home', call) END,
        CASE WHEN p.proretset OR p.prorettype = 'void'::regtype THEN '' ELSE 'RETURN answer;' END);
END
$$;
COMMENT ON FUNCTION byoc.forward_function(regprocedure) IS
    'Internal: makes a function of a Citus coordinator run where the organization is at home that its org_id names, or the tenant context.';

CREATE FUNCTION byoc.refuse_function(refused regprocedure, hint text) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    p pg_proc;
BEGIN
    SELECT * INTO p FROM pg_proc WHERE oid = refused;
    EXECUTE format($definition$
        CREATE OR REPLACE FUNCTION byoc.%I(%s) RETURNS %s
        LANGUAGE plpgsql VOLATILE SECURITY INVOKER
        SET search_path = pg_catalog, pg_temp
        AS $function$
        BEGIN
            RAISE EXCEPTION 'byoc.%s() does nothing on a Citus coordinator' USING ERRCODE = 'feature_not_supported', HINT = %L;
        END
        $function$ $definition$,
        p.proname, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid), p.proname, hint);
END
$$;
COMMENT ON FUNCTION byoc.refuse_function(regprocedure, text) IS 'Internal: makes a function of a Citus coordinator raise 0A000 with a hint.';

CREATE FUNCTION byoc.rows_at_home(view_name text) RETURNS SETOF jsonb
LANGUAGE plpgsql VOLATILE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY EXECUTE format('SELECT to_jsonb(v) FROM byoc.%I v', view_name);
END
$$;
COMMENT ON FUNCTION byoc.rows_at_home(text) IS 'Internal: on a Citus worker, the rows that the caller sees in a view of byoc''s.';

CREATE FUNCTION byoc.rows_at_homes(of_view anyelement) RETURNS SETOF anyelement
LANGUAGE plpgsql VOLATILE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    view_name CONSTANT text := (SELECT t.typname FROM pg_type t WHERE t.oid = pg_typeof(of_view));
    organization CONSTANT uuid := byoc.current_org_id();
    anchor uuid;
    found jsonb;
BEGIN
    IF organization IS NOT NULL THEN
        PERFORM byoc.require_home(organization);
        FOR found IN SELECT r FROM byoc.homes h, LATERAL byoc.rows_at_home(view_name) AS r WHERE h.org_id = organization LOOP
            RETURN NEXT jsonb_populate_record(of_view, found);
        END LOOP;
        RETURN;
    END IF;
    FOR anchor IN SELECT byoc.worker_anchors() LOOP
        FOR found IN SELECT r FROM byoc.homes_anchors a, LATERAL byoc.rows_at_home(view_name) AS r WHERE a.org_id = anchor LOOP
            RETURN NEXT jsonb_populate_record(of_view, found);
        END LOOP;
    END LOOP;
END
$$;
COMMENT ON FUNCTION byoc.rows_at_homes(anyelement) IS
    'Internal: what a view of byoc''s shows on the Citus worker where the tenant context''s organization is at home; on all workers without a context.';

CREATE FUNCTION byoc.verify_at_homes(organization uuid, n bigint, digest bytea) RETURNS TABLE (org_id uuid, entries bigint, first_broken uuid)
LANGUAGE plpgsql VOLATILE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    anchor uuid;
BEGIN
    IF organization IS NOT NULL THEN
        RETURN QUERY SELECT v.* FROM byoc.homes h, LATERAL byoc.verify_audit_log(organization, n, digest) AS v WHERE h.org_id = organization;
        RETURN;
    END IF;
    FOR anchor IN SELECT byoc.worker_anchors() LOOP
        RETURN QUERY SELECT v.* FROM byoc.homes_anchors a, LATERAL byoc.verify_audit_log(NULL::uuid, NULL::bigint, NULL::bytea) AS v WHERE a.org_id = anchor;
    END LOOP;
END
$$;
COMMENT ON FUNCTION byoc.verify_at_homes(uuid, bigint, bytea) IS 'Internal: byoc.verify_audit_log() where the organization is at home; on all Citus workers without one.';

CREATE FUNCTION byoc.make_coordinator() RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
-- What is made here is this node's alone.
SET citus.enable_ddl_propagation = off
AS $$
DECLARE
    forwarded CONSTANT text[] := '{add_credential,update_credential,change_credential,verify_credential,revoke_credential,
        send_sms,cancel_sms,retry_sms,resolve_unknown_sms,lift_opt_out,save_calendar_event,cancel_calendar_event,call_webhook,cancel_webhook,retry_webhook,
        encrypt,decrypt,encrypt_bytes,decrypt_bytes,rotate_organization_key,reencrypt,destroy_unused_key,
        rest_session,rest_credential,rest_credentials,rest_add_credential,rest_update_credential,rest_revoke_credential,rest_verify_credential,
        rest_audit,rest_messages,rest_message,rest_send_test,rest_statistics,rest_changes}';
    each_worker CONSTANT text := 'Run it on each worker: SELECT * FROM run_command_on_workers(''SELECT byoc.%s(...)'').';
    at_home CONSTANT text := 'Connect to the organization''s home: SELECT * FROM byoc.home(org_id).';
    f record;
    setting text;
    view_name text;
BEGIN
    FOR f IN SELECT p.oid FROM pg_proc p WHERE p.pronamespace = 'byoc'::regnamespace AND p.proname = ANY (forwarded) LOOP
        PERFORM byoc.forward_function(f.oid);
    END LOOP;
    FOR f IN SELECT p.oid, p.proname FROM pg_proc p WHERE p.pronamespace = 'byoc'::regnamespace
             AND p.proname IN ('rewrap_keys', 'resume_restored', 'adopt_installation', 'prune') LOOP
        PERFORM byoc.refuse_function(f.oid, format(each_worker, f.proname));
    END LOOP;
    FOR f IN SELECT p.oid FROM pg_proc p WHERE p.pronamespace = 'byoc'::regnamespace AND p.proname IN ('start_oauth', 'rest_availability_window') LOOP
        PERFORM byoc.refuse_function(f.oid, at_home);
    END LOOP;
    FOREACH view_name IN ARRAY
        '{sms_messages,sms_events,credentials,decrypted_credentials,calendar_events,webhook_calls,audit_log,audit_heads,queue_health,call_health,key_status}'::text[] LOOP
        EXECUTE format('CREATE OR REPLACE VIEW byoc.%I WITH (security_barrier) AS SELECT v.* FROM byoc.rows_at_homes(NULL::byoc.%1$I) AS v', view_name);
    END LOOP;
    FOREACH setting IN ARRAY
        '{sms_trigger_definitions,calendar_trigger_definitions,webhook_trigger_definitions,provider_overrides,provider_error_overrides,sender_limits}'::text[] LOOP
        EXECUTE format('CREATE OR REPLACE TRIGGER follow_setting AFTER INSERT OR UPDATE OR DELETE ON byoc.%I FOR EACH ROW '
                       'EXECUTE FUNCTION byoc.follow_setting()', setting);
        EXECUTE format('SELECT byoc.tell_workers(%L, NULL, to_jsonb(t)) FROM byoc.%1$I t', setting);
    END LOOP;
    CREATE OR REPLACE TRIGGER follow_organization AFTER UPDATE OF name, settings ON byoc.organizations
        FOR EACH ROW EXECUTE FUNCTION byoc.follow_organization();
    CREATE OR REPLACE FUNCTION byoc.create_organization(name text, id uuid DEFAULT gen_random_uuid()) RETURNS uuid
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $function$
    BEGIN
        INSERT INTO byoc.organizations (id, name) VALUES (create_organization.id, create_organization.name);
        INSERT INTO byoc.homes (org_id) VALUES (create_organization.id);
        PERFORM byoc.create_organization(create_organization.name, create_organization.id) FROM byoc.homes h WHERE h.org_id = create_organization.id;
        RETURN create_organization.id;
    END
    $function$;
    CREATE OR REPLACE FUNCTION byoc.verify_audit_log(org_id uuid DEFAULT NULL, n bigint DEFAULT NULL, digest bytea DEFAULT NULL)
    RETURNS TABLE (org_id uuid, entries bigint, first_broken uuid)
    LANGUAGE sql VOLATILE SECURITY INVOKER
    SET search_path = pg_catalog, pg_temp
    AS $function$ SELECT v.* FROM byoc.verify_at_homes($1, $2, $3) AS v $function$;
    CREATE OR REPLACE FUNCTION byoc.shred_organization(id uuid) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $function$
    BEGIN
        PERFORM byoc.shred_organization(shred_organization.id) FROM byoc.homes h WHERE h.org_id = shred_organization.id;
        UPDATE byoc.organizations o SET shredded_at = now() WHERE o.id = shred_organization.id AND o.shredded_at IS NULL;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'organization % does not exist', shred_organization.id USING ERRCODE = 'foreign_key_violation';
        END IF;
    END
    $function$;
END
$$;
COMMENT ON FUNCTION byoc.make_coordinator() IS 'Internal: puts what asks the organizations'' homes in the place of what would look for their rows here.';

CREATE FUNCTION byoc.distribute() RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM byoc.require_citus();
    PERFORM byoc.require_alike_workers();
    IF to_regclass('byoc.homes') IS NULL THEN
        PERFORM byoc.make_homes();
    END IF;
    PERFORM byoc.make_coordinator();
END
$$;
COMMENT ON FUNCTION byoc.distribute() IS
    'On a Citus coordinator, right after CREATE EXTENSION: gives each organization a home on one worker, where its messages are queued and sent, and makes '
    'the functions and views of the coordinator ask there. Run it again after ALTER EXTENSION UPDATE. doc/scaling.md says what works and what does not.';
