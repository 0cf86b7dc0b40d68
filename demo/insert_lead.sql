-- All that the application does. $1 organization, $2 name, $3 phone, $4 service, $5 summary, $6 score
INSERT INTO leads (org_id, name, phone, service, summary, score)
VALUES ($1, $2, $3, $4, $5, $6)
