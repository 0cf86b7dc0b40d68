#include "accepted_params.h"

#include <algorithm>

#include "array_param.h"
#include "outcome_json.h"

namespace byocd {

namespace {

bool is_plain(const std::optional<std::string>& text) {
  return !text || (text->size() <= longest_text &&
                   std::all_of(text->begin(), text->end(), [](char c) { return c >= ' ' && c <= '~'; }));
}

}  // namespace

bool is_plainly_accepted(const JobOutcome& outcome) {
  return outcome.outcome.kind == OutcomeKind::accepted && is_plain(outcome.outcome.provider_sid) &&
         is_plain(outcome.outcome.from_number);
}

std::vector<std::optional<std::string>> accepted_params(const std::vector<JobOutcome>& outcomes) {
  using Element = ArrayParam::Element;
  ArrayParam org_ids(Element::uuid);
  ArrayParam ids(Element::uuid);
  ArrayParam claim_ids(Element::uuid);
  ArrayParam attempts(Element::int2);
  ArrayParam provider_sids(Element::text);
  ArrayParam from_numbers(Element::text);
  ArrayParam segments(Element::int2);
  ArrayParam durations(Element::int4);
  for (const auto& job : outcomes) {
    if (!is_plainly_accepted(job)) continue;
    org_ids.add_uuid(job.org_id);
    ids.add_uuid(job.id);
    claim_ids.add_uuid(job.claim->id);
    attempts.add_int2(job.attempt);
    provider_sids.add_text(job.outcome.provider_sid);
    from_numbers.add_text(job.outcome.from_number);
    segments.add_int2(job.outcome.segments);
    durations.add_int4(static_cast<std::int32_t>(job.duration.count()));
  }
  return {org_ids.take(),       ids.take(),          claim_ids.take(), attempts.take(),
          provider_sids.take(), from_numbers.take(), segments.take(),  durations.take()};
}

}  // namespace byocd
