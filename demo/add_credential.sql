-- $1 organization, $2 fields with the auth token: as a bind parameter it is in no statement text and no log
SELECT byoc.add_credential('twilio', $2::jsonb, display_name => 'Main Twilio account', org_id => $1::uuid)
