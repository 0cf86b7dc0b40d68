-- The application's side: its table, and a role that may do nothing but insert into it.
CREATE TABLE leads (
    org_id  uuid NOT NULL,
    name    text,
    phone   text,
    service text,
    summary text,
    score   int DEFAULT 50
);
CREATE ROLE app LOGIN;
GRANT INSERT ON leads TO app;

-- byocd's role moves jobs to providers by calling functions; it reads no table. For requests of the REST API it becomes
-- `tenant`, and acts for the organization of the request's token.
CREATE ROLE byocd LOGIN NOINHERIT;
SELECT byoc.grant_dispatcher('byocd');
CREATE ROLE tenant;
SELECT byoc.grant_tenant('tenant');
GRANT tenant TO byocd;
