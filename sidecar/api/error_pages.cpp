#include "error_pages.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>

#include <array>
#include <charconv>
#include <string>
#include <string_view>

#include "default_headers.h"
#include "exchange.h"

namespace byocd {

namespace {

constexpr std::size_t longest_page = 1024;
constexpr std::string_view end_of_line = "\r\n";
constexpr std::string_view page_type = "\r\nContent-Type: text/html\r\n";
constexpr std::string_view page_end = "</BODY></HTML>\n";

const char* explanation(int status) {
  switch (status) {
    case 413:
      return "The body is longer than 64 KiB.";
    case 501:
      return "The method is not known here.";
    default:
      return "The request is malformed, or its headers are longer than 24 KiB.";
  }
}

// The page of evhttp_send_error() with all its headers, and none of our own, which come with status 200.
bool is_error_page(std::string_view text) {
  return text.starts_with("HTTP/1.") && text.ends_with(page_end) && text.find(page_type) != text.npos;
}

std::string problem(std::string_view page) {
  const std::string_view line = page.substr(0, page.find(end_of_line));  // HTTP/1.1 400 Bad Request
  int status = 0;
  if (line.size() > 12) std::from_chars(line.data() + 9, line.data() + 12, status);
  const std::string title(line.substr(std::min(line.size(), std::size_t{13})));
  const ApiAnswer answer = problem_answer(status, title, explanation(status));
  std::string text(line);
  const auto add = [&](std::string_view name, std::string_view value) {
    text.append(end_of_line).append(name).append(": ").append(value);
  };
  add("Content-Type", answer.content_type);
  add("Content-Length", std::to_string(answer.body.size()));
  add("Connection", "close");
  for (const auto& [name, value] : default_headers) add(name, value);
  return text.append(end_of_line).append(end_of_line).append(answer.body);
}

// evhttp has the whole page in the buffer before the loop sends anything of it.
void on_output(evbuffer* output, const evbuffer_cb_info* change, void*) {
  std::array<char, longest_page> start;
  const std::size_t length = evbuffer_get_length(output);
  if (change->n_added == 0 || length > start.size()) return;
  evbuffer_copyout(output, start.data(), length);
  const std::string_view text(start.data(), length);
  if (!is_error_page(text)) return;
  const std::string better = problem(text);
  evbuffer_drain(output, length);
  evbuffer_add(output, better.data(), better.size());
}

}  // namespace

void replace_error_pages(bufferevent* connection) {
  evbuffer_add_cb(bufferevent_get_output(connection), &on_output, nullptr);
}

}  // namespace byocd
