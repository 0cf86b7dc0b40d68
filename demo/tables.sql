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

-- byocd's role moves jobs to providers by calling functions; it reads no table.
CREATE ROLE byocd LOGIN;
SELECT byoc.grant_dispatcher('byocd');
