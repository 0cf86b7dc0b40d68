#include "template/template.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

namespace byoc {
namespace {

struct Destroy {
  void operator()(Template* compiled) const { Template::destroy(compiled); }
};
using Compiled = std::unique_ptr<Template, Destroy>;

Compiled compile(std::string_view source) {
  TemplateProblem problem;
  Compiled compiled(Template::compile(source, problem));
  EXPECT_EQ(problem.error, TemplateError::none) << source;
  return compiled;
}

std::string render(std::string_view source, const std::vector<std::string_view>& values) {
  const auto compiled = compile(source);
  std::string out(compiled->render(values.data(), nullptr, 0), '\0');
  compiled->render(values.data(), out.data(), out.size());
  return out;
}

TemplateProblem problem_of(std::string_view source) {
  TemplateProblem problem;
  Compiled compiled(Template::compile(source, problem));
  EXPECT_EQ(compiled, nullptr) << source;
  return problem;
}

TEST(Template, PutsValuesIntoText) {
  EXPECT_EQ(render("", {}), "");
  EXPECT_EQ(render("plain { text } with }} braces", {}), "plain { text } with }} braces");
  EXPECT_EQ(render("{{name}}", {"Zoë"}), "Zoë");
  EXPECT_EQ(render("Hi {{ name }}, {{service}}!", {"Zoë", "🦷"}), "Hi Zoë, 🦷!");
}

TEST(Template, KnowsColumnsAndSettings) {
  const auto compiled = compile("{{phone}} {{org.alert_phone}} {{Mixed Case}}");
  ASSERT_EQ(compiled->references().size(), 3u);
  EXPECT_EQ(compiled->references()[0].kind, ReferenceKind::column);
  EXPECT_EQ(compiled->references()[1].kind, ReferenceKind::setting);
  EXPECT_EQ(compiled->references()[1].name, "alert_phone");
  EXPECT_EQ(compiled->references()[2].name, "Mixed Case");
}

TEST(Template, DefaultStandsInForAnEmptyValue) {
  EXPECT_EQ(render(R"({{name|default:"there"}})", {""}), "there");
  EXPECT_EQ(render(R"({{name|default:"there"}})", {"Zoë"}), "Zoë");
  EXPECT_EQ(render(R"({{name | default: "a \"quoted\" \\ }} |" }})", {""}), R"(a "quoted" \ }} |)");
}

TEST(Template, TruncateCountsCharactersNotBytes) {
  EXPECT_EQ(render("{{summary|truncate:3}}", {"çéàü"}), "çéà");
  EXPECT_EQ(render("{{summary|truncate:2}}", {"🔥🔥🔥"}), "🔥🔥");
  EXPECT_EQ(render("{{summary|truncate:80}}", {std::string(80, 'x')}), std::string(80, 'x'));
  EXPECT_EQ(render("{{summary|truncate:80}}", {std::string(81, 'x')}), std::string(80, 'x'));
}

TEST(Template, FiltersApplyFromLeftToRight) {
  EXPECT_EQ(render(R"({{name|default:"somebody"|truncate:4}})", {""}), "some");
  EXPECT_EQ(render(R"({{name|truncate:4|default:"nobody"}})", {""}), "nobody");
}

TEST(Template, ValuesAreNotTemplates) {
  EXPECT_EQ(render("{{name}}", {"{{secret}} {{"}), "{{secret}} {{");
}

TEST(Template, ProblemsHaveAKindAndAPosition) {
  EXPECT_EQ(problem_of("Hi {{name").error, TemplateError::unclosed_reference);
  EXPECT_EQ(problem_of("Hi {{name").position, 4u);
  EXPECT_EQ(problem_of("{{}}").error, TemplateError::bad_name);
  EXPECT_EQ(problem_of("{{org.}}").error, TemplateError::bad_name);
  EXPECT_EQ(problem_of("{{name {{other}}").error, TemplateError::bad_name);
  EXPECT_EQ(problem_of("{{name|upper}}").error, TemplateError::unknown_filter);
  for (const char* source : {"{{n|default}}", "{{n|default:there}}", R"({{n|default:"there}})",
                             R"({{n|default:"a" b}})", "{{n|truncate}}", "{{n|truncate:}}", "{{n|truncate:0}}",
                             "{{n|truncate:-1}}", "{{n|truncate:10001}}", "{{n|truncate:99999999}}"}) {
    EXPECT_EQ(problem_of(source).error, TemplateError::bad_argument) << source;
  }
}

TEST(Template, DescribesEveryProblem) {
  for (int i = 0; i <= static_cast<int>(TemplateError::out_of_memory); ++i) {
    EXPECT_STRNE(describe(static_cast<TemplateError>(i)), "unknown problem");
  }
}

TEST(Template, RenderNeverWritesPastItsCapacity) {
  const auto compiled = compile("ab{{x}}cd");
  const std::string_view values[] = {"XY"};
  for (std::size_t capacity = 0; capacity <= 6; ++capacity) {
    std::string out(8, '#');
    EXPECT_EQ(compiled->render(values, out.data(), capacity), 6u);
    EXPECT_EQ(out, std::string("abXYcd").substr(0, capacity) + std::string(8 - capacity, '#'));
  }
}

TEST(Characters, AreCountedInUtf8) {
  EXPECT_EQ(count_characters(""), 0u);
  EXPECT_EQ(count_characters("aé🔥"), 3u);
  EXPECT_EQ(first_characters("aé🔥", 2), "aé");
  EXPECT_EQ(first_characters("aé🔥", 9), "aé🔥");
}

}  // namespace
}  // namespace byoc
