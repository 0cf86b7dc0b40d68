// doc/reference.md: every setting, view, table, function and type that somebody outside of the extension uses, as a server's catalog has
// them, in rooms by the file of sql/ that makes them.
//
//   node scripts/reference.mjs     writes it, from a private server

import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Run, TOP } from './run.mjs';
import { Cluster } from './stack.mjs';

export const REFERENCE = `${TOP}/doc/reference.md`;

const ROOMS = new Map([
  ['Privileges', 'privileges'],
  ['Tenant context and encryption', 'schema'],
  ['Organizations and keys', 'organizations keys key_rotation'],
  ['Credentials', 'credential_views credentials credential_fields verification oauth providers'],
  ['SMS', 'views enqueue messages commands jobs lanes limits fallback claim outcome resend reconcile settle receipts inbound'],
  ['Google Calendar', 'calendar_views calendar_events calendar_triggers'],
  ['Webhooks', 'webhooks webhook_triggers'],
  ['Audit', 'audit'],
  ['Operations', 'health call_health monitoring maintenance calls call_outcomes check'],
  ['Citus', 'distribute coordinator'],
  ['REST API', 'api api_messages availability'],
]);
const FOR_BYOCD = 'What byocd calls';
// Rooms that are for few readers: short, with a word about them.
const NOTES = new Map([
  ['REST API', 'What `byocd` runs for a request ([api.md](api.md)), in its tenant context. For: tenant, admin.'],
  [FOR_BYOCD, 'The contract between database and sidecar, versioned by `byoc.api_version()`; it may change with each release. For: dispatcher.'],
]);
const PARTS = ['tenant', 'admin', 'auditor', 'dispatcher'];

// What nobody but the extension uses is left out: storage tables, and what its comment calls internal.
const OBJECTS = `
  WITH part AS (SELECT oid, substr(rolname, 11) AS name FROM pg_roles WHERE rolname ~ '^reference_'),
  object AS (
    SELECT 'pg_proc'::regclass AS class, oid, proname AS name, 'function' AS kind, proacl AS acl FROM pg_proc WHERE pronamespace = 'byoc'::regnamespace
    UNION ALL
    SELECT 'pg_class', oid, relname, CASE relkind WHEN 'v' THEN 'view' ELSE 'table' END, relacl FROM pg_class
    WHERE relnamespace = 'byoc'::regnamespace AND relkind IN ('r', 'v')
    UNION ALL
    SELECT 'pg_type', oid, typname, 'type', NULL FROM pg_type WHERE typnamespace = 'byoc'::regnamespace AND typtype IN ('d', 'e', 'r'))
  SELECT o.*, obj_description(o.oid, o.class::text) AS comment, pg_get_function_arguments(o.oid) AS arguments,
         pg_get_function_result(o.oid) AS result, format_type(t.typbasetype, t.typtypmod) AS base,
         (SELECT string_agg(pg_get_constraintdef(c.oid), ' ') FROM pg_constraint c WHERE c.contypid = o.oid) AS checks,
         (SELECT json_agg(json_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod), 'comment', col_description(o.oid, a.attnum))
                          ORDER BY a.attnum)
          FROM pg_attribute a WHERE o.class = 'pg_class'::regclass AND a.attrelid = o.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
         (SELECT coalesce(json_object_agg(g.name, g.privileges), '{}')
          FROM (SELECT p.name, string_agg(e.privilege, ', ' ORDER BY e.nth) AS privileges
                FROM (SELECT a.grantee, a.privilege_type AS privilege, array_position('{SELECT,INSERT,UPDATE,DELETE}', a.privilege_type) AS nth
                      FROM aclexplode(o.acl) AS a
                      UNION ALL
                      SELECT a.grantee, format('%s (%s)', a.privilege_type, string_agg(c.attname, ', ' ORDER BY c.attnum)), 9
                      FROM pg_attribute c, aclexplode(c.attacl) AS a WHERE o.class = 'pg_class'::regclass AND c.attrelid = o.oid
                      GROUP BY a.grantee, a.privilege_type) AS e
                JOIN part p ON p.oid = e.grantee GROUP BY p.name) AS g) AS grants
  FROM object o LEFT JOIN pg_type t ON t.oid = o.oid AND o.class = 'pg_type'::regclass
  ORDER BY o.name, o.oid`;

const SETTINGS = `SELECT name, boot_val AS value, coalesce(unit, '') AS unit, context, short_desc || coalesce(' ' || extra_desc, '') AS comment
  FROM pg_settings WHERE name ~ '^byoc\\.' ORDER BY name`;
const CHANGED_BY = { sighup: 'the configuration file, at a reload', superuser: 'a superuser, `SET`', user: 'anybody, `SET`' };

// The page's text, and the names of what has no comment. `db`: a session of a superuser in a database of its own.
export async function reference(db) {
  await db.query(`BEGIN; CREATE EXTENSION pg_byoc; ${PARTS.map((part) => `CREATE ROLE reference_${part}; SELECT byoc.grant_${part}('reference_${part}')`).join('; ')}`);
  const objects = (await db.rows(OBJECTS)).filter(isPublic);
  const settings = await db.rows(SETTINGS);
  await db.query('ROLLBACK');
  return { text: page(settings, objects), uncommented: objects.flatMap(uncommented) };
}

const isPublic = ({ kind, grants, comment, result }) =>
  (kind !== 'table' || Object.keys(grants).length > 0) && result !== 'trigger' && !comment?.startsWith('Internal: ');

const uncommented = ({ name, comment, columns }) =>
  [...(comment ? [] : [name]), ...(columns ?? []).filter((column) => !column.comment).map((column) => `${name}.${column.name}`)];

const KINDS = ['view', 'table', 'function', 'type'];
const byKind = (a, b) => KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind); // and by name, as they come

function page(settings, objects) {
  const files = definingFiles();
  const rooms = new Map([...ROOMS.keys(), FOR_BYOCD].map((title) => [title, []]));
  for (const object of [...objects].sort(byKind)) {
    const [title] = isForByocd(object) ? [FOR_BYOCD] : [...ROOMS].find(([, parts]) => parts.split(' ').includes(files.get(object.name))) ?? [];
    if (!title) throw new Error(`no room in scripts/reference.mjs for byoc.${object.name}, of sql/${files.get(object.name)}.sql`);
    rooms.get(title).push(object);
  }
  const chapters = [...rooms].map(([title, members]) => `## ${title}\n\n${NOTES.has(title) ? list(title, members) : entries(members)}`);
  return [INTRODUCTION, contents(rooms), settingsTable(settings), ...chapters].join('\n');
}

const isForByocd = ({ kind, grants }) => kind === 'function' && Object.keys(grants).join() === 'dispatcher';

// Which file of sql/ makes which name.
function definingFiles() {
  const files = new Map();
  for (const file of readdirSync(`${TOP}/sql`).filter((name) => /^\w+\.sql$/.test(name))) {
    for (const [, name] of readFileSync(`${TOP}/sql/${file}`, 'utf8').matchAll(/^CREATE (?:OR REPLACE )?(?:FUNCTION|VIEW|TABLE|DOMAIN|TYPE) byoc\.(\w+)/gm)) {
      files.set(name, file.replace('.sql', ''));
    }
  }
  return files;
}

const INTRODUCTION = `# Reference

Written by \`make reference\` from the catalog's comments: change those. Left out is what only the extension itself uses; \`\\d+ byoc.*\` and
\`\\df+ byoc.*\` show that too.

**For** names who may use an object: roles that were given \`byoc.grant_tenant\`, \`grant_admin\`, \`grant_auditor\` or \`grant_dispatcher\`. An owner
of the extension, or a superuser, may use everything. The nil UUID is \`00000000-0000-0000-0000-000000000000\`.
`;

function contents(rooms) {
  const links = (members) => [...new Set(members.map(({ name }) => name))].map((name) => `[${name}](#byoc${name})`).join(', ');
  const lines = [...rooms].map(([title, members]) =>
    `- [${title}](#${title.toLowerCase().replaceAll(' ', '-')})${NOTES.has(title) ? '' : `: ${links(members)}`}`);
  return `- [Settings](#settings)\n${lines.join('\n')}\n`;
}

function settingsTable(settings) {
  const rows = settings.map(({ name, value, unit, context, comment }) =>
    `| \`${name}\` | ${value === '' || value === null ? '' : `\`${value}${unit && ` ${unit}`}\``} | ${CHANGED_BY[context] ?? context} | ${cell(comment)} |`);
  return `## Settings

| setting | default | changed by | |
|---|---|---|---|
${rows.join('\n')}

Two more are no configuration, and in no list of PostgreSQL's: \`byoc.token\`, the tenant context ([tenant-context.md](tenant-context.md)), and
\`byoc.fallback\`, which \`byocd\` sets.
`;
}

// Functions of one name have one heading.
function entries(members) {
  const heading = ({ kind, name }) => `### byoc.${name}${kind === 'function' ? '()' : ''}`;
  return members.map((object, i) => (i > 0 && heading(members[i - 1]) === heading(object) ? '' : `${heading(object)}\n\n`) + entry(object)).join('\n');
}

function entry(object) {
  const { kind, comment, columns } = object;
  const lines = [];
  if (kind === 'function') lines.push('```sql', signature(object), '```', '');
  if (kind === 'type') lines.push(`Domain over ${short(object.base)}: ${values(object.checks)}.`, '');
  lines.push(prose(comment ?? ''), '');
  if (kind !== 'type') lines.push(`For: ${audience(object)}.`, '');
  if (columns) {
    lines.push('| column | type | |', '|---|---|---|');
    for (const column of columns) lines.push(`| \`${column.name}\` | ${short(column.type)} | ${cell(column.comment ?? '')} |`);
    lines.push('');
  }
  return lines.join('\n');
}

function list(title, members) {
  const items = members.map((object) => {
    const comment = (object.comment ?? '').replace(/^For byocd: /, '');
    return `- \`${signature(object).replace(/\s+/g, ' ').replaceAll('( ', '(')}\`\n  ${prose(comment.charAt(0).toUpperCase() + comment.slice(1))}`;
  });
  return `${NOTES.get(title)}\n\n${items.join('\n')}\n`;
}

// Parts with the same privileges together: "tenant, admin (SELECT, INSERT); auditor (SELECT)".
function audience({ kind, name, grants }) {
  const groups = new Map();
  for (const part of PARTS.filter((each) => grants[each])) groups.set(grants[part], [...groups.get(grants[part]) ?? [], part]);
  if (groups.size === 0) return kind === 'view' ? `whoever is given \`GRANT SELECT ON byoc.${name}\`` : 'the owner';
  return [...groups].map(([privileges, parts]) => parts.join(', ') + (kind === 'function' ? '' : ` (${privileges})`)).join('; ');
}

function signature({ name, arguments: list, result }) {
  const parts = (text) => short(text).split(/, (?=(?:OUT )?"?\w+"? )/);
  const wrap = (head, items) => {
    const line = `${head}(${items.join(', ')})`;
    return line.length <= 110 ? line : `${head}(\n${items.map((item) => `    ${item}`).join(',\n')})`;
  };
  const table = /^TABLE\((.*)\)$/.exec(result);
  const call = wrap(`byoc.${name}`, list ? parts(list) : []);
  const returns = table ? wrap('TABLE ', parts(table[1])) : short(result);
  return `${call}${`${call}${returns}`.length > 100 ? '\n' : ' '}RETURNS ${returns}`;
}

const values = (checks) => [...checks.matchAll(/'([^']*)'::text/g)].map(([, value]) => `\`${value}\``).join(', ');
const short = (text) => text.replaceAll('timestamp with time zone', 'timestamptz').replace(/(NULL|'[^']*')::[\w ]+(\[\])?/g, '$1');
const cell = (text) => prose(text).replaceAll('|', '\\|').replaceAll('\n', ' ');

// A comment as Markdown: names, calls and templates as code, other pages as links.
function prose(text) {
  return text.replace(/`[^`]*`|\{+[^{}]*\}+|\bdoc\/([\w-]+\.md)|\bbyoc\.\w+(?:\([^()]*\))?|\b[a-z]+(?:_[a-z0-9]+)+(?:\.[a-z_]+)*\b|[<*_]/g, (found, document) => {
    if (document) return `[${document}](${document})`;
    if (/^[<*_]$/.test(found)) return `\\${found}`;
    return found.startsWith('`') ? found : `\`${found}\``;
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const cluster = new Cluster(new Run(`reference-${process.pid}`));
  const db = await cluster.connect();
  const { text, uncommented: missing } = await reference(db);
  await db.end();
  if (missing.length > 0) throw new Error(`without a COMMENT: ${missing.join(', ')}`);
  writeFileSync(REFERENCE, text);
}
