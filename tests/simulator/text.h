/// What a message's text costs: characters and segments
/// (https://www.twilio.com/docs/glossary/what-is-gsm-7-character-encoding).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace simulator {

/// Whether `text` is well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms).
bool is_utf8(std::string_view text);

/// Unicode code points in well-formed UTF-8; what the 1,600 character limit is counted in here.
std::size_t count_characters(std::string_view text);

/// Segments of well-formed UTF-8: GSM-7 (160, or 153 each when longer) if every character is in GSM 03.38, else UCS-2
/// (70, or 67 each). A GSM extension character takes two septets, a character beyond the basic plane two UCS-2 units;
/// neither is split over two segments. An empty text is one segment.
unsigned count_segments(std::string_view text);

/// Appends `text` as a JSON string, quotes included (RFC 8259, section 7); well-formed UTF-8 passes unchanged.
void append_json_string(std::string& out, std::string_view text);

}  // namespace simulator
