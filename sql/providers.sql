-- What a provider's credential consists of, and what a provider's errors mean. Shipped rows are never dumped (the
-- extension's script makes them again); the DBA's changes are, and the views show both as one.

CREATE TABLE byoc.shipped_providers (
    name text PRIMARY KEY,
    fields jsonb NOT NULL,
    alternatives jsonb NOT NULL
);
COMMENT ON TABLE byoc.shipped_providers IS 'Providers that this release knows. Read-only: change them through byoc.provider_overrides.';
COMMENT ON COLUMN byoc.shipped_providers.fields IS
    'Per field: title, required, secret, pattern (regular expression) and must_be, the pattern in words.';
COMMENT ON COLUMN byoc.shipped_providers.alternatives IS
    'List of choices; of each choice exactly one list of fields must be given in full, and nothing of the others.';
ALTER TABLE byoc.shipped_providers ENABLE ROW LEVEL SECURITY;

CREATE TABLE byoc.provider_overrides (
    name text PRIMARY KEY,
    enabled boolean NOT NULL DEFAULT true,
    fields jsonb CHECK (jsonb_typeof(fields) = 'object')
);
COMMENT ON TABLE byoc.provider_overrides IS
    'The DBA''s changes to shipped providers: switched off, or other fields. NULL fields: as shipped.';
COMMENT ON COLUMN byoc.provider_overrides.name IS 'The provider.';
COMMENT ON COLUMN byoc.provider_overrides.enabled IS 'false: no credential of it can be added.';
COMMENT ON COLUMN byoc.provider_overrides.fields IS 'Instead of the shipped ones, in the form of byoc.providers; NULL: as shipped.';
ALTER TABLE byoc.provider_overrides ENABLE ROW LEVEL SECURITY;
CREATE POLICY by_grant ON byoc.provider_overrides USING (true); -- they belong to no organization
SELECT pg_extension_config_dump('byoc.provider_overrides', '');

CREATE VIEW byoc.providers AS
SELECT s.name, coalesce(o.fields, s.fields) AS fields, s.alternatives, coalesce(o.enabled, true) AS enabled
FROM byoc.shipped_providers s
LEFT JOIN byoc.provider_overrides o ON o.name = s.name;
COMMENT ON VIEW byoc.providers IS 'Providers as shipped, with byoc.provider_overrides applied.';
COMMENT ON COLUMN byoc.providers.name IS 'What credential_type says.';
COMMENT ON COLUMN byoc.providers.fields IS 'By field: title, required, secret, and pattern (a regular expression), which must_be puts in words.';
COMMENT ON COLUMN byoc.providers.alternatives IS
    'List of choices; of each choice exactly one list of fields must be given in full, and nothing of the others.';
COMMENT ON COLUMN byoc.providers.enabled IS 'false: switched off by byoc.provider_overrides; no credential of it can be added.';

INSERT INTO byoc.shipped_providers (name, fields, alternatives) VALUES
('twilio', '{
  "account_sid": {"title": "Account SID", "required": true, "secret": false,
    "pattern": "^AC[0-9a-fA-F]{32}$", "must_be": "AC followed by 32 hexadecimal digits"},
  "auth_token": {"title": "Auth token", "required": false, "secret": true,
    "pattern": "^[0-9a-zA-Z]{32}$", "must_be": "32 letters and digits"},
  "api_key_sid": {"title": "API key SID", "required": false, "secret": false,
    "pattern": "^SK[0-9a-fA-F]{32}$", "must_be": "SK followed by 32 hexadecimal digits"},
  "api_key_secret": {"title": "API key secret", "required": false, "secret": true,
    "pattern": "^[0-9a-zA-Z]{32}$", "must_be": "32 letters and digits"},
  "phone_number": {"title": "Phone number", "required": false, "secret": false,
    "pattern": "^\\+[1-9][0-9]{6,14}$", "must_be": "an E.164 number such as +14155550100"},
  "messaging_service_sid": {"title": "Messaging Service SID", "required": false, "secret": false,
    "pattern": "^MG[0-9a-fA-F]{32}$", "must_be": "MG followed by 32 hexadecimal digits"},
  "region": {"title": "Region", "required": false, "secret": false,
    "pattern": "^[a-z]{2}[0-9]{1,2}$", "must_be": "a Twilio region such as ie1"},
  "edge": {"title": "Edge location", "required": false, "secret": false,
    "pattern": "^[a-z]{3,20}(-[a-z]{2,10})?$", "must_be": "a Twilio edge location such as dublin"}
 }', '[[["auth_token"], ["api_key_sid", "api_key_secret"]], [["phone_number"], ["messaging_service_sid"]]]'),
('google_calendar', '{
  "account": {"title": "Google account", "required": false, "secret": false,
    "pattern": "^[!-~]+@[!-~]+$", "must_be": "the account''s mail address"},
  "client_id": {"title": "Client ID", "required": false, "secret": false, "pattern": "^[!-~]+$", "must_be": "printable ASCII without blanks"},
  "client_secret": {"title": "Client secret", "required": false, "secret": true, "pattern": "^[!-~]+$", "must_be": "printable ASCII without blanks"},
  "refresh_token": {"title": "Refresh token", "required": false, "secret": true, "pattern": "^[!-~]+$", "must_be": "printable ASCII without blanks"},
  "calendar_id": {"title": "Calendar ID", "required": false, "secret": false, "pattern": "^[!-~]+$", "must_be": "printable ASCII without blanks"}
 }', '[]'),
('stripe', '{
  "secret_key": {"title": "Secret key", "required": true, "secret": true,
    "pattern": "^(sk|rk)_(test|live)_[0-9a-zA-Z]{10,247}$", "must_be": "a key that begins with sk_test_, sk_live_, rk_test_ or rk_live_"}
 }', '[]'),
('webhook', '{
  "url": {"title": "URL", "required": true, "secret": false,
    "pattern": "^https?://[^/?#@\\\\\\s]+([/?][!-~]*)?$", "must_be": "an address such as https://app.example.org/webhooks, without a user name"},
  "secret": {"title": "Signing secret", "required": true, "secret": true,
    "pattern": "^whsec_([A-Za-z0-9+/]{4}){8,21}([A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)?$", "must_be": "the prefix whsec_ with 24 to 64 random bytes in base64"},
  "previous_secret": {"title": "Previous signing secret", "required": false, "secret": true,
    "pattern": "^whsec_([A-Za-z0-9+/]{4}){8,21}([A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)?$", "must_be": "the prefix whsec_ with 24 to 64 random bytes in base64"}
 }', '[]');

CREATE TABLE byoc.shipped_provider_errors (
    provider text NOT NULL,
    code text NOT NULL,
    class text NOT NULL,
    title text NOT NULL,
    PRIMARY KEY (provider, code)
);
COMMENT ON TABLE byoc.shipped_provider_errors IS
    'Provider error codes that this release knows (Twilio: https://www.twilio.com/docs/api/errors). Change them through byoc.provider_error_overrides.';
ALTER TABLE byoc.shipped_provider_errors ENABLE ROW LEVEL SECURITY;

CREATE DOMAIN byoc.error_class AS text
    CHECK (VALUE IN ('retry_later', 'resend', 'pause_credential', 'permanent_recipient', 'permanent_message'));
COMMENT ON DOMAIN byoc.error_class IS
    'What an error means: retry_later (tried again while the message may be), resend (accepted, then failed: sent again as often as '
    'byoc.resend_schedule() says), pause_credential (the tenant has to mend something), permanent_recipient, permanent_message.';
ALTER TABLE byoc.shipped_provider_errors ALTER COLUMN class TYPE byoc.error_class;

CREATE TABLE byoc.provider_error_overrides (
    provider text NOT NULL,
    code text NOT NULL,
    class byoc.error_class NOT NULL,
    title text,
    PRIMARY KEY (provider, code)
);
COMMENT ON TABLE byoc.provider_error_overrides IS 'The DBA''s own classes: for codes that are not shipped, or instead of the shipped class.';
COMMENT ON COLUMN byoc.provider_error_overrides.provider IS 'The provider.';
COMMENT ON COLUMN byoc.provider_error_overrides.code IS 'The provider''s error code.';
COMMENT ON COLUMN byoc.provider_error_overrides.class IS 'What is made of it.';
COMMENT ON COLUMN byoc.provider_error_overrides.title IS 'What people are told; NULL: as shipped.';
ALTER TABLE byoc.provider_error_overrides ENABLE ROW LEVEL SECURITY;
CREATE POLICY by_grant ON byoc.provider_error_overrides USING (true); -- they belong to no organization
SELECT pg_extension_config_dump('byoc.provider_error_overrides', '');

CREATE VIEW byoc.provider_errors AS
SELECT coalesce(o.provider, s.provider) AS provider, coalesce(o.code, s.code) AS code, coalesce(o.class, s.class) AS class,
       coalesce(o.title, s.title) AS title
FROM byoc.shipped_provider_errors s
FULL JOIN byoc.provider_error_overrides o ON o.provider = s.provider AND o.code = s.code;
COMMENT ON VIEW byoc.provider_errors IS 'Error codes and their class as shipped, with byoc.provider_error_overrides applied.';
COMMENT ON COLUMN byoc.provider_errors.provider IS 'The provider.';
COMMENT ON COLUMN byoc.provider_errors.code IS 'The provider''s error code.';
COMMENT ON COLUMN byoc.provider_errors.class IS 'What is made of it: see doc/errors.md.';
COMMENT ON COLUMN byoc.provider_errors.title IS 'What it means.';

INSERT INTO byoc.shipped_provider_errors (provider, code, class, title) VALUES
('twilio', '20429', 'retry_later', 'too many requests'),
('twilio', '21611', 'retry_later', 'the sender''s queue is full'),
('twilio', '63038', 'retry_later', 'daily message cap reached'),
('twilio', '30022', 'retry_later', 'carrier rate limit reached'),
('twilio', '30023', 'retry_later', 'carrier daily cap reached'),
('twilio', '30027', 'retry_later', 'carrier daily cap reached (T-Mobile)'),
('twilio', '30001', 'resend', 'queue overflow'),
('twilio', '30003', 'resend', 'handset unreachable'),
('twilio', '30008', 'resend', 'unknown delivery error'),
('twilio', '30410', 'resend', 'provider timeout'),
('twilio', '20003', 'pause_credential', 'wrong account SID or token'),
('twilio', '21212', 'pause_credential', 'the sender is not a valid number'),
('twilio', '21606', 'pause_credential', 'the sender does not belong to the account'),
('twilio', '21701', 'pause_credential', 'the Messaging Service does not exist'),
('twilio', '21703', 'pause_credential', 'the Messaging Service has no sender'),
('twilio', '21704', 'pause_credential', 'the Messaging Service has no sender for the recipient'),
('twilio', '21705', 'pause_credential', 'the Messaging Service is invalid'),
('twilio', '30002', 'pause_credential', 'account suspended'),
('twilio', '30032', 'pause_credential', 'toll-free number not verified'),
('twilio', '30034', 'pause_credential', 'number not registered for A2P 10DLC'),
('twilio', '21211', 'permanent_recipient', 'the recipient is not a valid number'),
('twilio', '21408', 'permanent_recipient', 'the recipient''s region is not enabled in the account'),
('twilio', '21608', 'permanent_recipient', 'trial account: the recipient is not verified'),
('twilio', '21610', 'permanent_recipient', 'the recipient has opted out'),
('twilio', '21612', 'permanent_recipient', 'the recipient cannot be reached from this sender'),
('twilio', '21614', 'permanent_recipient', 'the recipient is not a mobile number'),
('twilio', '30004', 'permanent_recipient', 'message blocked'),
('twilio', '30005', 'permanent_recipient', 'unknown handset'),
('twilio', '30006', 'permanent_recipient', 'landline or unreachable carrier'),
('twilio', '21602', 'permanent_message', 'empty body'),
('twilio', '21617', 'permanent_message', 'body too long'),
('twilio', '30007', 'permanent_message', 'filtered by the carrier'),
('webhook', 'refused', 'retry_later', 'the receiver did not take it'),
('webhook', 'http_410', 'pause_credential', 'the receiver wants no more webhooks'),
('webhook', 'address_not_permitted', 'pause_credential', 'the URL leads to an address that may not be called'),
('webhook', 'credential_incomplete', 'pause_credential', 'the URL or the secret is missing or malformed');
