// What `byocd top` shows, as text.
#pragma once

#include <string>
#include <vector>

#include "../db/queue_view.h"

namespace byocd {

/// Lines of at most `width` characters, `height` of them at most (0: as many as there are). `time`: of the clock.
/// `styled`: with ANSI colours, which do not count as characters.
std::vector<std::string> make_frame(const QueueOverview& overview, const std::string& time, std::size_t width,
                                    std::size_t height, bool styled);

}  // namespace byocd
