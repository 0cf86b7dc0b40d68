#include "uuid_v7.h"

#include "crypto/envelope.h"

#include <ctime>

namespace byoc {

void make_uuid_v7(pg_uuid_t* id) {
  static uint64 last = 0;
  static NonceSource random;
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  // 48 bits of milliseconds and 12 bits of 1/4096 ms (RFC 9562, section 6.2, method 3).
  const uint64 fraction = static_cast<uint64>(now.tv_nsec % 1000000) * 4096 / 1000000;
  uint64 time = (static_cast<uint64>(now.tv_sec) * 1000 + static_cast<uint64>(now.tv_nsec / 1000000)) << 12 | fraction;
  if (time <= last) time = last + 1;  // the clock stood still or went back
  last = time;

  uint8 noise[nonce_size];
  if (!random.next(MyProcPid, noise)) {
    ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate random values")));
  }
  for (int i = 0; i < 6; ++i) id->data[i] = static_cast<uint8>(time >> (52 - 8 * i));
  id->data[6] = static_cast<uint8>(0x70 | ((time >> 8) & 0x0F));
  id->data[7] = static_cast<uint8>(time);
  memcpy(id->data + 8, noise, 8);
  id->data[8] = static_cast<uint8>(0x80 | (id->data[8] & 0x3F));
}

extern "C" {

PG_FUNCTION_INFO_V1(byoc_uuid_v7);
// byoc.uuid_v7() -> uuid
Datum byoc_uuid_v7(PG_FUNCTION_ARGS) {
  auto* id = static_cast<pg_uuid_t*>(palloc(sizeof(pg_uuid_t)));
  make_uuid_v7(id);
  PG_RETURN_UUID_P(id);
}
}

}  // namespace byoc
