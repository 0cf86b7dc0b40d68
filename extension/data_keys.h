// The organizations' data keys, unwrapped and kept ready in this backend.
#pragma once

#include "crypto/audit_mac.h"
#include "crypto/envelope.h"
#include "crypto/keyring.h"
#include "pg_boundary.h"

namespace byoc {

// The organization's active key and its id, for encrypting. Raises when the organization has none.
AeadKey* sealing_key(const pg_uuid_t* organization, int32* key_id);

// The organization's key with this id, for decrypting. Raises when it is unknown or destroyed.
AeadKey* opening_key(const pg_uuid_t* organization, int32 key_id);

// The nil UUID: the installation itself. Its data key is the audit key, and encrypts nothing.
extern const pg_uuid_t installation;

// The audit key; null when none was made yet. Raises when it cannot be unwrapped.
AuditKey* audit_key();

// A key id as it stands in an envelope's header: four bytes, big endian.
struct EncodedKeyId {
  char bytes[4];
  explicit EncodedKeyId(int32 key_id);
  std::string_view view() const { return {bytes, sizeof bytes}; }
};

// byoc.organization_keys.
Oid data_key_table();

// A master key and how many data keys of this database it wraps.
struct WrappingKey {
  char id[key_id_capacity + 1];
  int64 data_keys;
};

// All master keys that wrap data keys of this database, as of now (not of the query's snapshot), in palloc'ed memory.
WrappingKey* count_wrapping_keys(int* count);

// Registers the callbacks that drop cached keys; called once at load.
void install_data_key_callbacks();

}  // namespace byoc
