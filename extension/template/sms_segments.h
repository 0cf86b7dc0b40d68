// How many segments an SMS takes.
#pragma once

#include <string_view>

namespace byoc {

// By 3GPP TS 23.038 and 23.040: up to 160 septets of the GSM-7 alphabet in one segment, 153 in each of several; a
// character of its extension table takes two septets, which stay together. With any other character the message is
// UCS-2: 70 UTF-16 code units in one segment, 67 in each of several; a surrogate pair stays together. 1 for an empty
// body. `body` is UTF-8.
int count_segments(std::string_view body) noexcept;

}  // namespace byoc
