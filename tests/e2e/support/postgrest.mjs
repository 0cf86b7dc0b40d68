// What PostgREST sends to the server for a request, by its documentation ("Transactions") and in the shape of its statements: Debian 12 has
// no PostgREST that could be started. It verifies the token itself first; this takes its claims as they are.

const quoted = (name) => `"${name.replaceAll('"', '""')}"`;
const BODY = `SELECT null::bigint AS total_result_set, pg_catalog.count(_postgrest_t) AS page_total, coalesce(json_agg(_postgrest_t), '[]') AS body
  FROM (SELECT * FROM pgrst_source) _postgrest_t`;

// A documented curl command: { method, path, query, headers, body }.
export function readCurl(command, token) {
  const headers = Object.fromEntries([...command.matchAll(/-H (["'])(.*?): (.*?)\1/g)]
    .map(([, , name, value]) => [name.toLowerCase(), value.replace('$TOKEN', token)]));
  const [, path, query = ''] = /"\$POSTGREST\/([^"?]+)(?:\?([^"]*))?"/.exec(command);
  const [, body] = /-d '([^']*)'/.exec(command) ?? [];
  return { method: body === undefined ? 'GET' : 'POST', path, query, headers, body };
}

// Answers the JSON of a request, or throws what the server says. `session`: of the role that PostgREST logs in as.
export async function postgrest(session, { preRequest, schemas }, { method, path, query, headers, body }) {
  const claims = JSON.parse(Buffer.from((headers.authorization ?? '.e30').split('.')[1], 'base64url'));
  const schema = headers[method === 'GET' ? 'accept-profile' : 'content-profile'] ?? schemas[0];
  const settings = {
    search_path: `${quoted(schema)}, "public"`, role: claims.role ?? 'anon', 'request.jwt.claims': JSON.stringify(claims), 'request.method': method,
    'request.path': `/${path}`, 'request.headers': JSON.stringify(headers), 'request.cookies': '{}',
  };
  await session.query('START TRANSACTION');
  try {
    await session.query(`SELECT ${Object.keys(settings).map((name, i) => `set_config('${name}', $${i + 1}, true)`).join(', ')}`, Object.values(settings));
    await session.query(`SELECT ${preRequest.split('.').map(quoted).join('.')}()`);
    const [sql, params] = path.startsWith('rpc/') ? await rpc(session, schema, path.slice(4), body) : read(schema, path, new URLSearchParams(query));
    const answer = await session.value(`WITH pgrst_source AS (${sql}) SELECT body FROM (${BODY}) AS answer`, params);
    await session.query('COMMIT');
    return answer;
  } catch (error) {
    await session.query('ROLLBACK');
    throw error;
  }
}

function read(schema, table, query) {
  const from = `${quoted(schema)}.${quoted(table)}`;
  const { select = '*', order, limit, ...filters } = Object.fromEntries(query);
  const columns = select.split(',').map((name) => (name === '*' ? `${from}.*` : `${from}.${quoted(name)}`));
  const equal = Object.entries(filters).map(([name, value]) => [`${from}.${quoted(name)}`, /^eq\.(.*)$/.exec(value)[1]]);
  const params = equal.map(([, value]) => value);
  let sql = `SELECT ${columns.join(', ')} FROM ${from}`;
  if (equal.length) sql += ` WHERE ${equal.map(([column], i) => `${column} = $${i + 1}`).join(' AND ')}`;
  if (order) sql += ` ORDER BY ${from}.${quoted(order.split('.')[0])} ${order.split('.')[1]}`;
  if (limit) sql += ` LIMIT $${params.push(limit)}`;
  return [sql, params];
}

async function rpc(session, schema, name, body) {
  const types = new Map((await session.rows(`SELECT a.name, format_type(a.type, NULL) AS type
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace, unnest(p.proargnames, p.proargtypes::oid[]) AS a (name, type)
    WHERE n.nspname = $1 AND p.proname = $2`, [schema, name])).map((argument) => [argument.name, argument.type]));
  const given = Object.keys(JSON.parse(body));
  const call = `${quoted(schema)}.${quoted(name)}(${given.map((each) => `${quoted(each)} := pgrst_body.${quoted(each)}`).join(', ')})`;
  return [`SELECT pgrst_call.pgrst_scalar FROM (SELECT $1::json AS json_data) pgrst_payload,
    LATERAL (SELECT ${given.map(quoted).join(', ')} FROM json_to_record(pgrst_payload.json_data) AS _(${given.map((each) => `${quoted(each)} ${types.get(each)}`).join(', ')}) LIMIT 1) pgrst_body,
    LATERAL (SELECT ${call} pgrst_scalar) pgrst_call`, [body]];
}
