-- Templates of SMS triggers: what they make of a row, and what is refused when the trigger is created.
BEGIN;
\ir support/setup.sql
SELECT plan(57);

CREATE TABLE byoc_test.leads (
    org_id uuid, name text, phone text, service text, summary text, score int DEFAULT 50, fee numeric(8, 2), seen_at timestamptz, data jsonb,
    "Full Name" text, "größe🔥" text, other_org uuid, vip boolean, tags text[]);
UPDATE byoc.organizations SET settings = '{"alert_phone": "+15005550009", "name": "Clinic", "count": 3, "nested": {"a": 1}, "nothing": null}' WHERE id = byoc_test.org_a();

-- Renders `body` over one row by a trigger of its own, and undoes the trigger.
CREATE FUNCTION byoc_test.rendered(body text, VARIADIC columns text[] DEFAULT '{}') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    trigger_name text := byoc.create_sms_trigger('byoc_test.leads', '{{phone}}', body);
    result text;
BEGIN
    EXECUTE format('INSERT INTO byoc_test.leads (org_id, phone%s) VALUES (byoc_test.org_a(), %L%s)',
                   (SELECT coalesce(string_agg(', ' || quote_ident(columns[i]), '' ORDER BY i), '') FROM generate_series(1, coalesce(array_length(columns, 1), 0), 2) AS i), '+15005550006',
                   (SELECT coalesce(string_agg(', ' || quote_nullable(columns[i + 1]), '' ORDER BY i), '') FROM generate_series(1, coalesce(array_length(columns, 1), 0), 2) AS i));
    PERFORM byoc.drop_sms_trigger('byoc_test.leads', trigger_name);
    SELECT m.body INTO STRICT result FROM byoc.all_sms_messages m WHERE m.source_table = 'byoc_test.leads';
    DELETE FROM byoc.queue;
    DELETE FROM byoc.messages;
    RETURN result;
END
$$;

SELECT is(byoc_test.rendered('plain text'), 'plain text', 'text without references stays as it is');
SELECT is(byoc_test.rendered('Hi {{name}}!', 'name', 'Zoë 🔥'), 'Hi Zoë 🔥!', 'a column''s value takes its reference''s place, byte for byte');
SELECT is(byoc_test.rendered('{{ name }}', 'name', 'Ann'), 'Ann', 'blanks within the braces do not count');
SELECT is(byoc_test.rendered('{{name}}{{name}}{{service}}', 'name', 'a', 'service', 'b'), 'aab', 'references may touch and repeat');
SELECT is(byoc_test.rendered('[{{name}}]'), '[]', 'NULL is nothing');
SELECT is(byoc_test.rendered('{{name|default:"there"}}'), 'there', 'default takes the place of NULL');
SELECT is(byoc_test.rendered('{{name|default:"there"}}', 'name', ''), 'there', 'and of empty text');
SELECT is(byoc_test.rendered('{{name|default:"there"}}', 'name', 'Ann'), 'Ann', 'but not of a value');
SELECT is(byoc_test.rendered('{{name | default : "there"}}'), 'there', 'blanks around a filter do not count');
SELECT is(byoc_test.rendered('{{name|default:"say \"hi\" \\ }} | {{"}}'), 'say "hi" \ }} | {{', 'a default may hold quotes, backslashes, braces and bars');
SELECT is(byoc_test.rendered('{{name|default:""}}x'), 'x', 'a default may be empty');
SELECT is(byoc_test.rendered('{{summary|truncate:5}}', 'summary', 'abcdefgh'), 'abcde', 'truncate keeps the first characters');
SELECT is(byoc_test.rendered('{{summary|truncate:80}}', 'summary', repeat('é', 79) || '🔥🔥'), repeat('é', 79) || '🔥', 'truncate counts characters, not bytes, and splits none');
SELECT is(byoc_test.rendered('{{summary|truncate:5}}', 'summary', 'abcde'), 'abcde', 'text of the very length stays');
SELECT is(byoc_test.rendered('{{summary|truncate:2}}', 'summary', U&'e\0301e\0301'), U&'e\0301', 'a combining mark counts as a character of its own');
SELECT is(byoc_test.rendered('{{name|truncate:3|default:"there"}}'), 'there', 'filters apply from left to right: a default after truncate stays whole');
SELECT is(byoc_test.rendered('{{name|default:"there"|truncate:3}}'), 'the', 'a default before truncate is cut');
SELECT is(byoc_test.rendered('{{score}} {{fee}} {{vip}} {{tags}}', 'fee', '12.50', 'vip', 'true', 'tags', '{a,b}'), '50 12.50 t {a,b}', 'other types are written as PostgreSQL writes them; column defaults count');
SELECT is(byoc_test.rendered('{{data}}', 'data', '{"a": "{{name}}"}'), '{"a": "{{name}}"}', 'jsonb is written as text');
SELECT is(byoc_test.rendered('{{summary}}', 'summary', '{{name}} {{org.name}} {{', 'name', 'Ann'), '{{name}} {{org.name}} {{', 'a value that looks like a template is not read as one');
SELECT is(byoc_test.rendered('{{Full Name}}', 'Full Name', 'Ann Lee'), 'Ann Lee', 'a column name with capitals and a blank');
SELECT is(byoc_test.rendered('{{größe🔥}}', 'größe🔥', 'XL'), 'XL', 'a column name with Unicode');
SELECT is(byoc_test.rendered('{{org.name}} {{org.alert_phone}}'), 'Clinic +15005550009', 'settings of the row''s organization');
SELECT is(byoc_test.rendered('{{org.count}} {{org.nested}}'), '3 {"a": 1}', 'a setting that is no string is written as JSON');
SELECT is(byoc_test.rendered('[{{org.unset}}][{{org.nothing}}]x'), '[][]x', 'a setting that is absent or null is nothing');
SELECT is(byoc_test.rendered('{{org.unset|default:"none"}}'), 'none', 'and may have a default');
SELECT is(byoc_test.rendered('{ } {a} }} { {x'), '{ } {a} }} { {x', 'single braces and closing ones are text');
SELECT is(byoc_test.rendered(E'🔥 HOT LEAD\n{{name}} {{phone}}\n{{service}}: {{summary|truncate:80}}', 'name', 'Zoë', 'service', 'Implant', 'summary', repeat('🦷', 90)),
          E'🔥 HOT LEAD\nZoë +15005550006\nImplant: ' || repeat('🦷', 80), 'the clinic''s alert comes out byte for byte');
SELECT is(byoc_test.rendered('{{summary|truncate:1500}}', 'summary', repeat('long ', 20000)), left(repeat('long ', 20000), 1500), 'a long stored value is read whole before it is cut');

-- Refused at creation
CREATE FUNCTION byoc_test.creation(body text) RETURNS text LANGUAGE sql AS $$
    SELECT byoc_test.error_of(format('SELECT byoc.create_sms_trigger(%L, %L, %L)', 'byoc_test.leads', '{{phone}}', body));
$$;
SELECT matches(byoc_test.creation(body), pattern, 'refused at creation: ' || body)
FROM (VALUES
    ('Hi {{nam}}', '^42703 body template: table leads has no column "nam"'),
    ('{{NAME}}', '^42703 .*"NAME"'),
    ('{{leads.name}}', '^42703 .*"leads.name"'),
    ('{{ctid}}', '^42703 .*"ctid"'),
    ('{{name', '^42601 body template, at character 1: \{\{ without a matching'),
    ('Hi {{name}', '^42601 body template, at character 4: \{\{ without a matching'),
    ('Hi {{', '^42601 .*at character 4'),
    ('{{}}', '^42601 .*needs a column name'),
    ('{{ }}', '^42601 .*needs a column name'),
    ('{{org.}}', '^42601 .*needs a column name'),
    ('{{name|upper}}', '^42601 .*unknown filter.*default.*truncate'),
    ('{{name|}}', '^42601 .*unknown filter'),
    ('{{name|default}}', '^42601 .*argument is wrong'),
    ('{{name|default:there}}', '^42601 .*argument is wrong'),
    ('{{name|default:"there}}', '^42601 .*argument is wrong'),
    ('{{name|default:"a" "b"}}', '^42601 .*argument is wrong'),
    ('{{name|truncate}}', '^42601 .*argument is wrong'),
    ('{{name|truncate:0}}', '^42601 .*argument is wrong'),
    ('{{name|truncate:-1}}', '^42601 .*argument is wrong'),
    ('{{name|truncate:10001}}', '^42601 .*argument is wrong'),
    ('{{name|truncate:99999999999999999999}}', '^42601 .*argument is wrong'),
    ('{{name|truncate:x}}', '^42601 .*argument is wrong'),
    ('{{{{name}}}}', '^42601 .*needs a column name')) AS v (body, pattern);
SELECT matches(byoc_test.creation('é🔥 {{name'), 'at character 4: ', 'the position of a mistake counts characters, as the message says');
SELECT byoc_test.refused($$SELECT byoc.create_sms_trigger('byoc_test.leads', '{{fone}}', 'x')$$, '42703', '^42703 to_number template: .*"fone"', 'the number''s template is checked and named too');
SELECT byoc_test.refused($$SELECT byoc.create_sms_trigger('byoc_test.leads', '{{phone', 'x')$$, '42601', '^42601 to_number template', 'and its braces');
SELECT is_empty($$SELECT * FROM byoc.sms_triggers WHERE target = 'byoc_test.leads'::regclass$$, 'none of the refused triggers exists');
SELECT is_empty($$SELECT * FROM pg_trigger WHERE tgrelid = 'byoc_test.leads'::regclass$$, 'not even half');

SELECT * FROM finish();
ROLLBACK;
