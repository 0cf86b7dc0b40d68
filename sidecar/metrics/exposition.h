// Writes metrics as Prometheus reads them.
// https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "histogram.h"

namespace byocd {

class Exposition {
 public:
  enum class Type { counter, gauge, histogram };
  /// Names and values. Never a phone number, a name of a person or anything that has no end of values.
  using Labels = std::vector<std::pair<std::string_view, std::string_view>>;

  static constexpr const char* content_type = "text/plain; version=0.0.4; charset=utf-8";

  /// Begins a metric; its samples follow.
  void metric(std::string_view name, Type type, std::string_view help);
  void sample(double value, const Labels& labels = {});
  void samples(const Histogram& histogram, Labels labels = {});
  /// Of a histogram that somebody else counts: each bucket alone, in the order of its bounds, the last one infinity.
  struct Bucket {
    double up_to = 0;
    double count = 0;
  };
  void samples(const std::vector<Bucket>& buckets, double sum, Labels labels = {});

  const std::string& text() const { return text_; }

 private:
  void line(std::string_view suffix, const Labels& labels, double value);

  std::string text_;
  std::string name_;
};

}  // namespace byocd
