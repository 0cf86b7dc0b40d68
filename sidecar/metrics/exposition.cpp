#include "exposition.h"

#include <fmt/format.h>

#include <cmath>
#include <iterator>

namespace byocd {

namespace {

const char* to_string(Exposition::Type type) {
  switch (type) {
    case Exposition::Type::counter:
      return "counter";
    case Exposition::Type::gauge:
      return "gauge";
    case Exposition::Type::histogram:
      return "histogram";
  }
  return "untyped";
}

std::string escaped(std::string_view value) {
  std::string text;
  for (const char c : value) {
    if (c == '\n') {
      text += "\\n";
      continue;
    }
    if (c == '\\' || c == '"') text += '\\';
    text += c;
  }
  return text;
}

std::string number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  return fmt::format("{}", value);
}

}  // namespace

void Exposition::metric(std::string_view name, Type type, std::string_view help) {
  name_ = name;
  fmt::format_to(std::back_inserter(text_), "# HELP {0} {1}\n# TYPE {0} {2}\n", name, help, to_string(type));
}

void Exposition::sample(double value, const Labels& labels) {
  line("", labels, value);
}

void Exposition::samples(const Histogram& histogram, Labels labels) {
  std::vector<Bucket> buckets;
  for (std::size_t i = 0; i <= Histogram::bounds.size(); ++i)
    buckets.push_back(
        {i < Histogram::bounds.size() ? Histogram::bounds[i] : INFINITY, static_cast<double>(histogram.count(i))});
  samples(buckets, histogram.sum(), std::move(labels));
}

void Exposition::samples(const std::vector<Bucket>& buckets, double sum, Labels labels) {
  double count = 0;
  for (const auto& bucket : buckets) {
    count += bucket.count;
    const std::string bound = number(bucket.up_to);
    labels.emplace_back("le", bound);
    line("_bucket", labels, count);
    labels.pop_back();
  }
  line("_sum", labels, sum);
  line("_count", labels, count);
}

void Exposition::line(std::string_view suffix, const Labels& labels, double value) {
  text_ += name_;
  text_ += suffix;
  char separator = '{';
  for (const auto& [name, content] : labels) {
    fmt::format_to(std::back_inserter(text_), "{}{}=\"{}\"", separator, name, escaped(content));
    separator = ',';
  }
  if (separator == ',') text_ += '}';
  fmt::format_to(std::back_inserter(text_), " {}\n", number(value));
}

}  // namespace byocd
