-- Citus: each organization is at home on one worker, where byoc.homes, distributed by its id like the application's tables, has its
-- row. All that is its own is there, in plain tables, and is served there as in a database of its own; a trigger queues where its row
-- is. The coordinator has no organization's work: it asks their homes. Nothing here is used without Citus.

CREATE FUNCTION byoc.require_citus() RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_extension e WHERE e.extname = 'citus') THEN
        RAISE EXCEPTION 'this database has no Citus to distribute to' USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'CREATE EXTENSION citus, before pg_byoc, and add the workers; doc/scaling.md shows it. One server needs no byoc.distribute().';
    ELSIF NOT citus_is_coordinator() THEN
        RAISE EXCEPTION 'this is not the coordinator' USING ERRCODE = 'object_not_in_prerequisite_state';
    ELSIF NOT EXISTS (SELECT FROM citus_get_active_worker_nodes()) THEN
        RAISE EXCEPTION 'there is no worker' USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Add one: SELECT citus_add_node(''host'', 5432).';
    ELSIF EXISTS (SELECT FROM pg_dist_node n WHERE n.groupid = 0 AND n.shouldhaveshards) THEN
        RAISE EXCEPTION 'the coordinator may not hold shards: it is nobody''s home' USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = format('SELECT citus_set_node_property(%L, %s, ''shouldhaveshards'', false).',
                          (SELECT n.nodename FROM pg_dist_node n WHERE n.groupid = 0), (SELECT n.nodeport FROM pg_dist_node n WHERE n.groupid = 0));
    ELSIF current_setting('citus.enable_unsafe_triggers', true) IS DISTINCT FROM 'on' THEN
        RAISE EXCEPTION 'Citus allows no triggers on distributed tables' USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'Add citus.enable_unsafe_triggers = on to postgresql.conf of every node.';
    END IF;
END
$$;
COMMENT ON FUNCTION byoc.require_citus() IS 'Internal: raises 55000 unless this is the coordinator of Citus workers, with what pg_byoc needs of them.';

CREATE FUNCTION byoc.require_distributed() RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF to_regclass('byoc.homes') IS NULL THEN
        RAISE EXCEPTION 'nothing is distributed here' USING ERRCODE = 'feature_not_supported', HINT = 'byoc.distribute() does it, on Citus.';
    END IF;
END
$$;
COMMENT ON FUNCTION byoc.require_distributed() IS 'Internal: raises 0A000 unless this is a node of Citus with byoc.homes.';

CREATE FUNCTION byoc.require_alike_workers() RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    here CONSTANT text := (SELECT e.extversion FROM pg_extension e WHERE e.extname = 'pg_byoc');
    worker record;
BEGIN
    FOR worker IN
        SELECT n.nodename, n.nodeport, r.success, r.result
        FROM run_command_on_workers($command$
            SELECT e.extversion || ' ' || current_setting('byoc.wakeup') || ' ' || (SELECT min(k.id) FROM byoc.keyring() AS k WHERE k.state = 'active')
            FROM pg_catalog.pg_extension e WHERE e.extname = 'pg_byoc'$command$) AS r
        JOIN pg_dist_node n USING (nodename, nodeport)
    LOOP
        IF NOT worker.success OR worker.result = '' THEN
            RAISE EXCEPTION 'worker %:% has no pg_byoc that works: %', worker.nodename, worker.nodeport, coalesce(nullif(worker.result, ''), 'it is not there')
                USING ERRCODE = 'object_not_in_prerequisite_state',
                      HINT = 'Every node needs the extension''s files, shared_preload_libraries = ''citus, pg_byoc'' and the same key ring. '
                          'CREATE EXTENSION pg_byoc reaches the workers when it has committed.';
        ELSIF worker.result <> here || ' poll ' || (SELECT min(k.id) FROM byoc.keyring() AS k WHERE k.state = 'active') THEN
            RAISE EXCEPTION 'worker %:% differs: version, byoc.wakeup and active master key are %', worker.nodename, worker.nodeport, worker.result
                USING ERRCODE = 'object_not_in_prerequisite_state',
                      HINT = format('Every node needs pg_byoc %s, byoc.wakeup = poll and the same key ring.', here);
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION byoc.require_alike_workers() IS 'Internal: raises 55000 unless pg_byoc is the same on all Citus workers.';

-- What reaches each worker once: an id in every shard of byoc.homes_anchors stands for whoever has that shard.
CREATE FUNCTION byoc.worker_anchors() RETURNS SETOF uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM byoc.require_distributed();
    RETURN QUERY
        SELECT DISTINCT ON (p.groupid) a.org_id
        FROM byoc.anchors a
        JOIN pg_dist_placement p ON p.shardid = get_shard_id_for_distribution_column('byoc.homes_anchors', a.org_id)
        ORDER BY p.groupid, a.org_id;
END
$$;
COMMENT ON FUNCTION byoc.worker_anchors() IS 'Internal: for each Citus worker, an id that a statement on byoc.homes_anchors reaches it by.';

CREATE FUNCTION byoc.make_homes() RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    shards bigint[];
    shard bigint;
    anchor uuid;
BEGIN
    IF EXISTS (SELECT FROM byoc.organizations) THEN
        RAISE EXCEPTION 'there are organizations already' USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'Run byoc.distribute() right after CREATE EXTENSION pg_byoc.';
    END IF;
    -- Without a replica identity, which also keeps Citus from moving shards by itself: only byoc.homes would move, not what is at home there.
    CREATE TABLE byoc.homes (org_id uuid NOT NULL);
    ALTER TABLE byoc.homes REPLICA IDENTITY NOTHING;
    PERFORM create_distributed_table('byoc.homes', 'org_id');
    CREATE INDEX homes_org_id ON byoc.homes (org_id);
    CREATE TABLE byoc.anchors (org_id uuid NOT NULL); -- the coordinator's list of them
    CREATE TABLE byoc.homes_anchors (org_id uuid NOT NULL);
    ALTER TABLE byoc.homes_anchors REPLICA IDENTITY NOTHING;
    PERFORM create_distributed_table('byoc.homes_anchors', 'org_id', colocate_with => 'byoc.homes');
    shards := ARRAY(SELECT s.shardid FROM pg_dist_shard s WHERE s.logicalrelid = 'byoc.homes'::regclass);
    WHILE cardinality(shards) > 0 LOOP
        anchor := gen_random_uuid();
        shard := get_shard_id_for_distribution_column('byoc.homes', anchor);
        IF shard = ANY (shards) THEN
            INSERT INTO byoc.homes_anchors (org_id) VALUES (anchor);
            INSERT INTO byoc.anchors (org_id) VALUES (anchor);
            shards := array_remove(shards, shard);
        END IF;
    END LOOP;
    -- Everybody finds the home of the tenant context's organization; who may create organizations or verify their audit trails, everyone's.
    ALTER TABLE byoc.homes ENABLE ROW LEVEL SECURITY;
    CREATE POLICY own_or_administered ON byoc.homes
        USING (org_id = byoc.current_org_id() OR has_function_privilege('byoc.create_organization(text, uuid)'::regprocedure, 'EXECUTE')
               OR has_function_privilege('byoc.verify_audit_log(uuid, bigint, bytea)'::regprocedure, 'EXECUTE'));
    GRANT SELECT ON byoc.homes, byoc.homes_anchors TO PUBLIC;
END
$$;
COMMENT ON FUNCTION byoc.make_homes() IS 'Internal: makes the distributed table that says where an organization is at home.';

CREATE FUNCTION byoc.home(org_id uuid, OUT node_name text, OUT node_port integer)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM byoc.require_distributed();
    SELECT n.nodename, n.nodeport INTO node_name, node_port
    FROM pg_dist_placement p JOIN pg_dist_node n USING (groupid)
    WHERE p.shardid = get_shard_id_for_distribution_column('byoc.homes', home.org_id) AND n.noderole = 'primary';
END
$$;
COMMENT ON FUNCTION byoc.home(uuid) IS 'On Citus: the worker where the organization is at home, whose byocd sends for it.';

-- Triggers: definitions are kept for the table; Citus puts a trigger on each shard of it, under a name with the shard's number.
CREATE FUNCTION byoc.distributed_trigger(relation oid, trigger_name name, OUT target oid, OUT name name)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    shard CONSTANT bigint := substring((SELECT c.relname FROM pg_class c WHERE c.oid = relation) FROM '_([0-9]{1,18})$');
BEGIN
    IF shard IS NULL OR to_regclass('pg_catalog.pg_dist_shard') IS NULL THEN
        RETURN;
    END IF;
    SELECT coalesce(pg_partition_root(s.logicalrelid), s.logicalrelid) INTO target
    FROM pg_dist_shard s WHERE s.shardid = shard;
    name := regexp_replace(trigger_name, '_[0-9]+$', '');
END
$$;
COMMENT ON FUNCTION byoc.distributed_trigger(oid, name) IS
    'Internal: the table that a shard is of, here, and the name of its trigger; NULL for a relation that is no shard.';

CREATE FUNCTION byoc.require_colocated(target regclass, trigger_name name, org_column text) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_dist_partition t JOIN pg_dist_partition h ON h.colocationid = t.colocationid
        WHERE t.logicalrelid = target AND h.logicalrelid = 'byoc.homes'::regclass AND column_to_column_name(t.logicalrelid, t.partkey) = org_column) THEN
        RAISE EXCEPTION 'the rows of table % are not where their organizations are at home', target USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = format('Distribute it by the organization: SELECT create_distributed_table(%L, %L, colocate_with => ''byoc.homes'').', target, org_column);
    ELSIF octet_length(trigger_name) > 40 THEN
        RAISE EXCEPTION 'the name of a trigger on a distributed table has 40 bytes at most' USING ERRCODE = 'name_too_long';
    END IF;
END
$$;
COMMENT ON FUNCTION byoc.require_colocated(regclass, name, text) IS
    'Internal: raises 55000 unless Citus distributes the table by that column, together with byoc.homes.';

-- What is the same for all nodes, such as the definitions of triggers, is set on the coordinator.
CREATE FUNCTION byoc.take_setting(setting text, old_row jsonb, new_row jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF old_row IS NOT NULL THEN
        EXECUTE format('DELETE FROM byoc.%I AS t WHERE t IS NOT DISTINCT FROM jsonb_populate_record(NULL::byoc.%1$I, $1)', setting) USING old_row;
    END IF;
    IF new_row IS NOT NULL THEN
        EXECUTE format('INSERT INTO byoc.%I SELECT r.* FROM jsonb_populate_record(NULL::byoc.%1$I, $1) AS r ON CONFLICT DO NOTHING', setting) USING new_row;
    END IF;
END
$$;
COMMENT ON FUNCTION byoc.take_setting(text, jsonb, jsonb) IS 'Internal: on a Citus worker, what the coordinator changed of one of its tables.';

CREATE FUNCTION byoc.tell_workers(setting text, old_row jsonb, new_row jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    anchor uuid;
BEGIN
    FOR anchor IN SELECT byoc.worker_anchors() LOOP
        PERFORM byoc.take_setting(setting, old_row, new_row) FROM byoc.homes_anchors a WHERE a.org_id = anchor;
    END LOOP;
END
$$;
COMMENT ON FUNCTION byoc.tell_workers(text, jsonb, jsonb) IS 'Internal: byoc.take_setting() on every Citus worker, in this transaction.';

CREATE FUNCTION byoc.follow_setting() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_OP <> 'DELETE' AND TG_TABLE_NAME LIKE '%\_trigger\_definitions' THEN
        PERFORM byoc.require_colocated(NEW.target, NEW.name, NEW.org_column);
    END IF;
    PERFORM byoc.tell_workers(TG_TABLE_NAME, CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END, CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION byoc.follow_setting() IS 'Internal: row trigger of what is set on a Citus coordinator for all nodes.';

-- The coordinator's byoc.organizations is a directory. Their homes have their own.
CREATE FUNCTION byoc.take_organization(id uuid, name text, settings jsonb) RETURNS void
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE byoc.organizations o SET name = take_organization.name, settings = take_organization.settings WHERE o.id = take_organization.id;
$$;
COMMENT ON FUNCTION byoc.take_organization(uuid, text, jsonb) IS 'Internal: at an organization''s home, what the coordinator changed of it.';

CREATE FUNCTION byoc.follow_organization() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM byoc.take_organization(NEW.id, NEW.name, NEW.settings) FROM byoc.homes h WHERE h.org_id = NEW.id;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION byoc.follow_organization() IS 'Internal: row trigger of a Citus coordinator''s organizations.';
