// All that the catalog says of the extension, object by object.

const acl = (list, kind, owner) => `(SELECT string_agg(CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END || ' ' || a.privilege_type ||
    CASE WHEN a.is_grantable THEN ' with grant option' ELSE '' END || ' by ' || a.grantor::regrole, ', ' ORDER BY a.grantee, a.privilege_type, a.grantor)
  FROM aclexplode(coalesce(${list}, acldefault('${kind}', ${owner}))) AS a)`;

// Names and definitions, without anything that depends on when or in which order the objects were made: columns are counted without dropped
// ones, and PostgreSQL's own note pg_attver of views' columns is left out.
const OBJECTS = `
  SELECT 'extension' AS object, jsonb_build_object('version', extversion, 'schema', extnamespace::regnamespace, 'relocatable', extrelocatable) AS definition
  FROM pg_extension WHERE extname = 'pg_byoc'
  UNION ALL
  SELECT 'member ' || i.type || ' ' || i.identity, '{}'
  FROM pg_depend d JOIN pg_extension e ON e.extname = 'pg_byoc' AND d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid,
       pg_identify_object(d.classid, d.objid, d.objsubid) AS i
  WHERE d.deptype = 'e'
  UNION ALL
  SELECT 'data of ' || t.id::regclass || ' in dumps', jsonb_build_object('condition', e.extcondition[t.n])
  FROM pg_extension e, unnest(e.extconfig) WITH ORDINALITY AS t (id, n) WHERE e.extname = 'pg_byoc'
  UNION ALL
  SELECT 'schema ' || nspname, jsonb_build_object('owner', nspowner::regrole, 'privileges', ${acl('nspacl', 'n', 'nspowner')}, 'comment', obj_description(oid, 'pg_namespace'))
  FROM pg_namespace WHERE nspname = 'byoc'
  UNION ALL
  SELECT 'function ' || p.oid::regprocedure, jsonb_build_object('definition', pg_get_functiondef(p.oid), 'owner', p.proowner::regrole,
    'privileges', ${acl('p.proacl', 'f', 'p.proowner')}, 'comment', obj_description(p.oid, 'pg_proc'))
  FROM pg_proc p WHERE p.pronamespace = 'byoc'::regnamespace
  UNION ALL
  SELECT 'relation ' || c.oid::regclass, jsonb_build_object('kind', c.relkind, 'owner', c.relowner::regrole, 'privileges', ${acl('c.relacl', 'r', 'c.relowner')},
    'options', c.reloptions, 'persistence', c.relpersistence, 'row security', c.relrowsecurity, 'forced', c.relforcerowsecurity, 'replica identity', c.relreplident,
    'method', c.relam::regclass, 'view', CASE c.relkind WHEN 'v' THEN pg_get_viewdef(c.oid) END, 'index', CASE c.relkind WHEN 'i' THEN pg_get_indexdef(c.oid) END,
    'comment', obj_description(c.oid, 'pg_class'))
  FROM pg_class c WHERE c.relnamespace = 'byoc'::regnamespace
  UNION ALL
  SELECT 'column ' || c.oid::regclass || '.' || a.attname, jsonb_build_object('place', row_number() OVER (PARTITION BY c.oid ORDER BY a.attnum),
    'type', format_type(a.atttypid, a.atttypmod), 'collation', a.attcollation::regcollation, 'not null', a.attnotnull, 'default', pg_get_expr(d.adbin, d.adrelid),
    'identity', a.attidentity, 'generated', a.attgenerated, 'storage', a.attstorage, 'compression', a.attcompression, 'statistics', a.attstattarget,
    'options', (SELECT array_agg(o) FROM unnest(a.attoptions) AS o WHERE o !~ '^pg_attver='), 'privileges', ${acl('a.attacl', 'c', 'c.relowner')}, 'comment', col_description(c.oid, a.attnum))
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
  WHERE c.relnamespace = 'byoc'::regnamespace
  UNION ALL
  SELECT 'constraint ' || coalesce(c.conrelid::regclass::text, '') || coalesce(nullif(c.contypid, 0)::regtype::text, '') || ' ' || c.conname,
    jsonb_build_object('definition', pg_get_constraintdef(c.oid), 'valid', c.convalidated, 'comment', obj_description(c.oid, 'pg_constraint'))
  FROM pg_constraint c WHERE c.connamespace = 'byoc'::regnamespace
  UNION ALL
  SELECT 'trigger ' || t.tgrelid::regclass || ' ' || t.tgname, jsonb_build_object('definition', pg_get_triggerdef(t.oid), 'enabled', t.tgenabled, 'comment', obj_description(t.oid, 'pg_trigger'))
  FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE c.relnamespace = 'byoc'::regnamespace AND NOT t.tgisinternal
  UNION ALL
  SELECT 'policy ' || p.polrelid::regclass || ' ' || p.polname, jsonb_build_object('command', p.polcmd, 'permissive', p.polpermissive, 'roles', p.polroles::regrole[],
    'using', pg_get_expr(p.polqual, p.polrelid), 'check', pg_get_expr(p.polwithcheck, p.polrelid), 'comment', obj_description(p.oid, 'pg_policy'))
  FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid WHERE c.relnamespace = 'byoc'::regnamespace
  UNION ALL
  SELECT 'type ' || t.oid::regtype, jsonb_build_object('kind', t.typtype, 'base', format_type(t.typbasetype, t.typtypmod), 'not null', t.typnotnull, 'default', t.typdefault,
    'labels', (SELECT jsonb_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid),
    'owner', t.typowner::regrole, 'privileges', ${acl('t.typacl', 'T', 't.typowner')}, 'comment', obj_description(t.oid, 'pg_type'))
  FROM pg_type t WHERE t.typnamespace = 'byoc'::regnamespace
  UNION ALL
  SELECT 'privileges at first, of ' || i.type || ' ' || i.identity, to_jsonb(${acl('p.initprivs', 'f', "'postgres'::regrole")})
  FROM pg_init_privs p, pg_identify_object(p.classoid, p.objoid, p.objsubid) AS i WHERE i.schema = 'byoc' OR i.identity = 'byoc'
  UNION ALL
  SELECT 'shipped provider ' || s.name, to_jsonb(s) FROM byoc.shipped_providers s
  UNION ALL
  SELECT 'shipped error ' || s.provider || ' ' || s.code, to_jsonb(s) FROM byoc.shipped_provider_errors s`;

// { object: definition }. Whoever asks sees every name with its schema.
export async function catalog(db) {
  await db.query('SET search_path = pg_catalog');
  const rows = await db.rows(OBJECTS);
  await db.query('RESET search_path');
  return Object.fromEntries(rows.map(({ object, definition }) => [object, definition]));
}

// A line for each thing in which `found` differs from `wanted`.
export function differences(found, wanted) {
  return [...new Set([...Object.keys(wanted), ...Object.keys(found)])].sort().flatMap((object) => {
    if (!(object in found)) return [`- ${object} is missing`];
    if (!(object in wanted)) return [`- ${object} should not be there`];
    const of = (definition) => (definition instanceof Object ? definition : { '': definition });
    return Object.keys({ ...of(wanted[object]), ...of(found[object]) })
      .filter((name) => JSON.stringify(of(found[object])[name]) !== JSON.stringify(of(wanted[object])[name]))
      .map((name) => `- ${object}${name && `, ${name}`}: is ${short(of(found[object])[name])}, should be ${short(of(wanted[object])[name])}`);
  });
}

function short(value) {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > 300 ? `${text.slice(0, 300)}...` : text;
}
