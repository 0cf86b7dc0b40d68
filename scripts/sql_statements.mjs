// An extension's script as a list of statements, each with a name that says what it makes.

// The statements of an SQL script with their text as it is, comments between them left out; psql's commands too.
export function statementsOf(script) {
  const statements = [];
  let at = 0;
  while (at < script.length) {
    const gap = /^(\s+|--[^\n]*(\n|$)|\\[^\n]*(\n|$))/.exec(script.slice(at));
    if (gap) {
      at += gap[0].length;
      continue;
    }
    const end = endOfStatement(script, at);
    statements.push(script.slice(at, end));
    at = end;
  }
  return statements;
}

// What has to be passed over as a whole: comments, strings, quoted names, bodies.
const WHOLE = /--[^\n]*|\/\*[^]*?\*\/|\b[eE]'(?:[^'\\]|\\[^]|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|\$(\w*)\$[^]*?\$\1\$|\bBEGIN ATOMIC\b[^]*?^END;|;/gm;

function endOfStatement(script, from) {
  WHOLE.lastIndex = from;
  for (let match = WHOLE.exec(script); match; match = WHOLE.exec(script)) {
    if (match[0] === ';' || match[0].startsWith('BEGIN ATOMIC')) return WHOLE.lastIndex;
  }
  throw new Error(`a statement without an end: ${script.slice(from, from + 80)}`);
}

const NAMED = [
  [/^CREATE (FUNCTION) (\S+?)\(/, (statement) => `(${argumentTypes(statement)})`],
  [/^CREATE (VIEW|TABLE|DOMAIN|TYPE|SCHEMA) (\S+)/],
  [/^CREATE (?:UNIQUE )?(INDEX) (\S+)/, () => '', (statement) => / ON (\w+\.)/.exec(statement)[1]],
  [/^CREATE (TRIGGER|POLICY) (\S+)/, (statement) => ` ON ${/ ON (\S+)/.exec(statement)[1]}`],
  [/^ALTER TABLE \S+ (ENABLE) ALWAYS TRIGGER ([^\s;]+)/, (statement) => ` ON ${/ TABLE (\S+)/.exec(statement)[1]}`],
  [/^(INSERT) INTO (\S+)/],
  [/^(COMMENT) ON (\w+ [^;]*?)\s+IS\b/],
];

// What a statement makes: { kind, name, text }. One that cannot be told by a name is named by its text.
export function describe(text) {
  for (const [pattern, after = () => '', before = () => ''] of NAMED) {
    const [, kind, name] = pattern.exec(text) ?? [];
    if (kind) return { kind, name: `${before(text)}${name.replace(/;$/, '')}${after(text)}`, text };
  }
  return { kind: /^\w+/.exec(text)[0], name: text, text };
}

// The types that tell functions of one name apart, as DROP FUNCTION wants them.
function argumentTypes(statement) {
  const open = statement.indexOf('(');
  return splitAtCommas(statement.slice(open + 1, closing(statement, open)))
    .filter((argument) => !/^OUT\b/.test(argument))
    .map((argument) => argument.replace(/\s+DEFAULT\s[^]*$/, '').replace(/^(IN|INOUT|VARIADIC)\s+/, '').replace(/^\S+\s+/, ''))
    .join(', ');
}

function closing(text, open) {
  let depth = 0;
  for (let at = open; ; at += 1) {
    if (text[at] === "'") at = text.indexOf("'", at + 1);
    else if (text[at] === '(') depth += 1;
    else if (text[at] === ')' && (depth -= 1) === 0) return at;
  }
}

function splitAtCommas(text) {
  const parts = [''];
  let depth = 0;
  let quoted = false;
  for (const letter of text) {
    if (letter === "'") quoted = !quoted;
    if (!quoted && letter === '(') depth += 1;
    if (!quoted && letter === ')') depth -= 1;
    if (letter === ',' && depth === 0 && !quoted) parts.push('');
    else parts[parts.length - 1] += letter;
  }
  return parts.map((part) => part.trim()).filter(Boolean);
}
