// byoc.encrypt, byoc.decrypt and the internal byoc.seal, byoc.unseal: envelopes as SQL functions.

#include "audit.h"
#include "crypto/envelope.h"
#include "data_keys.h"
#include "pg_boundary.h"
#include "secret_statements.h"
#include "tenant_context.h"

#include <openssl/crypto.h>

namespace byoc {
namespace {

constexpr std::string_view credential_place = "organization_api_credentials.encrypted_fields";
constexpr std::string_view application_place = "application";  // envelopes in an application's own columns

NonceSource nonces;

std::string_view view_of(const text* value) {
  return {VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)};
}

[[noreturn]] void raise(EnvelopeError error) {
  const char* reason = "OpenSSL failed";
  const char* hint = "Nothing was read or written.";
  switch (error) {
    case EnvelopeError::malformed:
      reason = "the value is not an envelope of pg_byoc";
      hint = "Only values made by byoc.encrypt can be decrypted.";
      break;
    case EnvelopeError::unknown_version:
      reason = "the envelope has an unknown format version";
      hint = "It was written by a newer release of pg_byoc, or is not an envelope at all.";
      break;
    case EnvelopeError::not_authentic:
      reason = "the envelope does not belong here or was altered";
      hint = "Organization, place and context must be those that it was encrypted for.";
      break;
    case EnvelopeError::none:
    case EnvelopeError::failed:
      break;
  }
  ereport(ERROR,
          (errcode(ERRCODE_DATA_EXCEPTION), errmsg("could not encrypt or decrypt: %s", reason), errhint("%s", hint)));
}

bytea* seal(const pg_uuid_t* organization, std::string_view place, std::string_view context,
            std::string_view plaintext) {
  note_secret();
  int32 key_number = 0;
  AeadKey* aead = sealing_key(organization, &key_number);
  const EncodedKeyId key_id(key_number);
  const size_t size = envelope_size(key_id.view().size(), plaintext.size());
  auto* envelope = static_cast<bytea*>(palloc(VARHDRSZ + size));
  SET_VARSIZE(envelope, VARHDRSZ + size);
  uint8 nonce[nonce_size];
  EnvelopeError error = EnvelopeError::failed;
  if (nonces.next(MyProcPid, nonce)) {
    error = aead->seal(key_id.view(), {organization->data, place, context}, nonce, plaintext,
                       reinterpret_cast<uint8*>(VARDATA(envelope)));
  }
  if (error != EnvelopeError::none) raise(error);
  return envelope;
}

// The id of the key that an envelope was sealed with.
int32 key_number_of(std::string_view envelope) {
  std::string_view key_id;
  size_t size = 0;
  if (const EnvelopeError error = read_header(envelope, key_id, size); error != EnvelopeError::none) raise(error);
  if (key_id.size() != sizeof(EncodedKeyId::bytes)) raise(EnvelopeError::malformed);
  uint32 key_number = 0;
  for (char c : key_id) key_number = key_number << 8 | static_cast<uint8>(c);
  return static_cast<int32>(key_number);
}

text* open(const pg_uuid_t* organization, std::string_view place, std::string_view context, std::string_view envelope) {
  note_secret();
  AeadKey* aead = opening_key(organization, key_number_of(envelope));
  std::string_view key_id;
  size_t size = 0;
  (void)read_header(envelope, key_id, size);
  auto* plaintext = static_cast<text*>(palloc(VARHDRSZ + size));
  SET_VARSIZE(plaintext, VARHDRSZ + size);
  const EnvelopeError error =
      aead->open(envelope, {organization->data, place, context}, reinterpret_cast<uint8*>(VARDATA(plaintext)));
  if (error != EnvelopeError::none) raise(error);
  return plaintext;
}

}  // namespace

extern "C" {

PG_FUNCTION_INFO_V1(byoc_encrypt);
// byoc.encrypt(org_id uuid, plaintext text, context text) and byoc.encrypt_bytes(..., bytea, ...) -> bytea
Datum byoc_encrypt(PG_FUNCTION_ARGS) {
  const pg_uuid_t* organization = PG_GETARG_UUID_P(0);
  require_organization(organization, OrganizationRole::member);
  PG_RETURN_BYTEA_P(
      seal(organization, application_place, view_of(PG_GETARG_TEXT_PP(2)), view_of(PG_GETARG_TEXT_PP(1))));
}

PG_FUNCTION_INFO_V1(byoc_decrypt_bytes);
// byoc.decrypt_bytes(org_id uuid, ciphertext bytea, context text) -> bytea
Datum byoc_decrypt_bytes(PG_FUNCTION_ARGS) {
  const pg_uuid_t* organization = PG_GETARG_UUID_P(0);
  require_organization(organization, OrganizationRole::member);
  PG_RETURN_TEXT_P(open(organization, application_place, view_of(PG_GETARG_TEXT_PP(2)), view_of(PG_GETARG_TEXT_PP(1))));
}

PG_FUNCTION_INFO_V1(byoc_decrypt);
// byoc.decrypt(org_id uuid, ciphertext bytea, context text) -> text
Datum byoc_decrypt(PG_FUNCTION_ARGS) {
  auto* plaintext = DatumGetTextPP(byoc_decrypt_bytes(fcinfo));
  const std::string_view value = view_of(plaintext);
  if (!pg_verifymbstr(value.data(), static_cast<int>(value.size()), true)) {
    ereport(ERROR, (errcode(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE), errmsg("the decrypted value is not text"),
                    errhint("It was encrypted with byoc.encrypt_bytes; read it with byoc.decrypt_bytes.")));
  }
  PG_RETURN_TEXT_P(plaintext);
}

// The context of an internal envelope is the id of its row.
static std::string_view row_context(const pg_uuid_t* row) {
  return {reinterpret_cast<const char*>(row->data), UUID_LEN};
}

PG_FUNCTION_INFO_V1(byoc_seal);
// byoc.seal(org_id uuid, place text, row_id uuid, plaintext text) -> bytea: for the extension's own columns
Datum byoc_seal(PG_FUNCTION_ARGS) {
  PG_RETURN_BYTEA_P(seal(PG_GETARG_UUID_P(0), view_of(PG_GETARG_TEXT_PP(1)), row_context(PG_GETARG_UUID_P(2)),
                         view_of(PG_GETARG_TEXT_PP(3))));
}

PG_FUNCTION_INFO_V1(byoc_unseal);
// byoc.unseal(org_id uuid, place text, row_id uuid, envelope bytea) -> text
Datum byoc_unseal(PG_FUNCTION_ARGS) {
  PG_RETURN_TEXT_P(open(PG_GETARG_UUID_P(0), view_of(PG_GETARG_TEXT_PP(1)), row_context(PG_GETARG_UUID_P(2)),
                        view_of(PG_GETARG_TEXT_PP(3))));
}

PG_FUNCTION_INFO_V1(byoc_reseal);
// byoc.reseal(org_id uuid, place text, row_id uuid, envelope bytea) -> bytea: the same content under the active key.
// The plaintext does not leave this function.
Datum byoc_reseal(PG_FUNCTION_ARGS) {
  const pg_uuid_t* organization = PG_GETARG_UUID_P(0);
  const std::string_view place = view_of(PG_GETARG_TEXT_PP(1));
  const pg_uuid_t* row = PG_GETARG_UUID_P(2);
  text* plaintext = open(organization, place, row_context(row), view_of(PG_GETARG_TEXT_PP(3)));
  bytea* envelope = nullptr;
  PG_TRY();
  { envelope = seal(organization, place, row_context(row), view_of(plaintext)); }
  PG_FINALLY();
  { OPENSSL_cleanse(VARDATA(plaintext), VARSIZE_ANY_EXHDR(plaintext)); }
  PG_END_TRY();
  PG_RETURN_BYTEA_P(envelope);
}

PG_FUNCTION_INFO_V1(byoc_decrypted_fields);
// byoc.decrypted_fields(org_id uuid, id uuid, version int, envelope bytea) -> jsonb: for byoc.decrypted_credentials
// only, which a caller must be allowed to read. In C, since a SECURITY DEFINER function does not see whose rights the
// view was read with.
Datum byoc_decrypted_fields(PG_FUNCTION_ARGS) {
  const pg_uuid_t* organization = PG_GETARG_UUID_P(0);
  const pg_uuid_t* credential = PG_GETARG_UUID_P(1);
  const Oid view = get_relname_relid("decrypted_credentials", get_namespace_oid("byoc", false));
  if (!OidIsValid(view) || pg_class_aclcheck(view, GetUserId(), ACL_SELECT) != ACLCHECK_OK) {
    aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_VIEW, "decrypted_credentials");
  }
  require_organization(organization, OrganizationRole::member);
  const Datum version =
      DirectFunctionCall1(jsonb_in, CStringGetDatum(psprintf("{\"version\": %d}", PG_GETARG_INT32(2))));
  append_audit_entry({organization, "credential.decrypted", credential, DatumGetJsonbP(version), nullptr});
  const auto text_of = [](const pg_uuid_t* id) {
    return DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(id)));
  };
  log_audit(psprintf("credential %s of organization %s was decrypted", text_of(credential), text_of(organization)),
            current_actor());
  text* plaintext = open(organization, credential_place, row_context(credential), view_of(PG_GETARG_TEXT_PP(3)));
  char* json = text_to_cstring(plaintext);
  OPENSSL_cleanse(VARDATA(plaintext), VARSIZE_ANY_EXHDR(plaintext));
  const Datum fields = DirectFunctionCall1(jsonb_in, CStringGetDatum(json));
  OPENSSL_cleanse(json, strlen(json));
  PG_RETURN_DATUM(fields);
}

PG_FUNCTION_INFO_V1(byoc_envelope_key_id);
// byoc.envelope_key_id(envelope bytea) -> int
Datum byoc_envelope_key_id(PG_FUNCTION_ARGS) {
  PG_RETURN_INT32(key_number_of(view_of(PG_GETARG_TEXT_PP(0))));
}
}

}  // namespace byoc
