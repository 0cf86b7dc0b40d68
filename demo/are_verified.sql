-- Only verified credentials send
SELECT bool_and(verification_status = 'verified') FROM byoc.credentials
