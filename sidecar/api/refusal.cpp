#include "refusal.h"

#include <cctype>
#include <nlohmann/json.hpp>

#include "../log.h"

namespace byocd {

namespace {

using nlohmann::ordered_json;

// "the body must be a JSON object" as a sentence. A name (auth_token must be ..., byoc.token is ...) stays as it is.
std::string sentence(std::string text) {
  if (text.empty()) return text;
  if (text.find_first_of("_.") > text.find(' '))
    text[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[0])));
  if (text.back() != '.') text += '.';
  return text;
}

bool of_class(const DbError& error, std::string_view code_class) {
  return std::string_view(error.sqlstate).substr(0, 2) == code_class;
}

bool is_wrong_input(const DbError& error) {
  return of_class(error, "22") || of_class(error, "54") || error.sqlstate == "23514" || error.sqlstate == "23502";
}

bool is_in_the_way(const DbError& error) {
  return error.sqlstate == "55000" || error.sqlstate == "23505" || error.sqlstate == "23503";
}

// What the role lacks, not the user: byoc's own refusals say it in other words.
bool is_missing_grant(const DbError& error) {
  return error.sqlstate == "42501" && error.message.starts_with("permission denied");
}

ApiAnswer unprocessable(const DbError& error) {
  std::string detail = sentence(error.message);
  if (!error.hint.empty()) detail += " " + error.hint;
  return field_problem(error.column, detail);
}

ApiAnswer unexpected(const DbError& error) {
  log::error("a request of the REST API failed: {}", error.text());
  return problem_answer(500, "Internal Server Error", "Something went wrong here; the server's log says what.");
}

}  // namespace

ApiAnswer field_problem(const std::string& field, const std::string& detail) {
  ordered_json problem{
      {"type", "about:blank"}, {"title", "Unprocessable Content"}, {"status", 422}, {"detail", detail}};
  if (!field.empty()) problem["errors"] = {{{"field", field}, {"detail", detail}}};
  ApiAnswer answer = json_answer(422, problem);
  answer.content_type = "application/problem+json";
  return answer;
}

ApiAnswer not_now_problem(const std::string& detail) {
  ApiAnswer answer = problem_answer(503, "Service Unavailable", detail);
  answer.headers.emplace_back("Retry-After", "1");
  return answer;
}

ApiAnswer refusal_problem(const DbError& error) {
  const std::string detail = sentence(error.message);
  if (error.sqlstate == "28000") {
    ApiAnswer answer = problem_answer(401, "Unauthorized", detail);
    answer.headers.emplace_back("WWW-Authenticate", "Bearer error=\"invalid_token\"");
    return answer;
  }
  if (is_missing_grant(error)) return unexpected(error);
  if (error.sqlstate == "42501") return problem_answer(403, "Forbidden", detail);
  if (error.sqlstate == "P0002") return problem_answer(404, "Not Found", detail);
  if (error.sqlstate == "PT412") return problem_answer(412, "Precondition Failed", detail);
  if (is_in_the_way(error)) return problem_answer(409, "Conflict", detail);
  if (error.transient()) return not_now_problem("The database is away or busy. Try again.");
  if (is_wrong_input(error)) return unprocessable(error);
  return unexpected(error);
}

}  // namespace byocd
