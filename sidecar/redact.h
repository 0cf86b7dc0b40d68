// What may be said about private values in a log line.
#pragma once

#include <string>
#include <string_view>

namespace byocd {

/// A phone number (or any address) as a log line may show it: the first two and the last two characters,
/// `+1…00`. Texts shorter than seven characters are hidden whole.
std::string masked_number(std::string_view number);

/// The last line of defence, run over every log line: hides E.164 numbers, 32-digit hexadecimal tokens that
/// are not SIDs (a SID has a two-letter prefix and is no secret), base64 keys, JSON Web Tokens, `Basic` and
/// `Bearer` credentials and passwords in URLs. It cannot know message bodies: those are never passed to the log.
std::string redacted(std::string_view text);

}  // namespace byocd
