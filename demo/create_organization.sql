-- $1 name
SELECT byoc.create_organization($1)
