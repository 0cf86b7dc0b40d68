#include "rate_limiter.h"

#include <algorithm>

namespace byocd {

bool RateLimiter::admit(const std::string& caller, Clock::time_point now) {
  using Seconds = std::chrono::duration<double>;
  if (now - swept_ >= std::chrono::seconds(1)) {
    std::erase_if(buckets_, [&](const auto& entry) { return now - entry.second.at >= std::chrono::seconds(1); });
    swept_ = now;
  }
  Bucket& bucket = buckets_.try_emplace(caller, Bucket{double(per_second_), now}).first->second;
  bucket.left = std::min(double(per_second_), bucket.left + Seconds(now - bucket.at).count() * per_second_);
  bucket.at = now;
  if (bucket.left < 1) return false;
  bucket.left -= 1;
  return true;
}

}  // namespace byocd
