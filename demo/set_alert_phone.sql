-- $1 organization, $2 phone number; templates read it as {{org.alert_phone}}
UPDATE byoc.organizations
SET settings = settings || jsonb_build_object('alert_phone', $2::text)
WHERE id = $1::uuid
