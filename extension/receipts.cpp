// byoc.receipt_key and byoc.read_receipt_token: the tokens in the addresses that providers call back.

#include "crypto/receipt_token.h"
#include "master_keys.h"
#include "result_row.h"

#include <openssl/crypto.h>

namespace byoc {

extern "C" {

PG_FUNCTION_INFO_V1(byoc_receipt_key);
// byoc.receipt_key() -> bytea: the key that signs new tokens
Datum byoc_receipt_key(PG_FUNCTION_ARGS) {
  auto* key = static_cast<bytea*>(palloc(VARHDRSZ + receipt_key_size));
  SET_VARSIZE(key, VARHDRSZ + receipt_key_size);
  uint8 derived[receipt_key_size];
  Keyring ring;
  copy_keyring(ring);
  const bool good = derive_receipt_key(*ring.active(), derived);
  cleanse(ring);
  memcpy(VARDATA(key), derived, receipt_key_size);
  OPENSSL_cleanse(derived, sizeof derived);
  if (!good) ereport(ERROR, (errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION), errmsg("OpenSSL failed")));
  PG_RETURN_BYTEA_P(key);
}

PG_FUNCTION_INFO_V1(byoc_read_receipt_token);
// byoc.read_receipt_token(token text) -> (org_id uuid, message_id uuid, attempt int), all NULL for a forged token
Datum byoc_read_receipt_token(PG_FUNCTION_ARGS) {
  const text* token = PG_GETARG_TEXT_PP(0);
  ReceiptSubject subject = {};
  Keyring ring;
  copy_keyring(ring);
  const bool good = read_receipt_token(ring, {VARDATA_ANY(token), VARSIZE_ANY_EXHDR(token)}, subject);
  cleanse(ring);
  pg_uuid_t ids[2];
  static_assert(sizeof ids[0].data == sizeof subject.organization);
  memcpy(ids[0].data, subject.organization, UUID_LEN);
  memcpy(ids[1].data, subject.message, UUID_LEN);
  Datum values[] = {UUIDPGetDatum(&ids[0]), UUIDPGetDatum(&ids[1]), Int32GetDatum(subject.attempt)};
  bool nulls[] = {!good, !good, !good};
  return row_of(fcinfo, values, nulls);
}
}

}  // namespace byoc
