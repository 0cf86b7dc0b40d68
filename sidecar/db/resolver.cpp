#include "resolver.h"

#include <netdb.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <mutex>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <utility>

namespace byocd {

Addresses look_up(const std::string& name) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  if (const int error = getaddrinfo(name.c_str(), nullptr, &hints, &list); error != 0)
    return fail(std::string(gai_strerror(error)));
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(list, &freeaddrinfo);
  std::vector<std::string> addresses;
  for (const addrinfo* each = list; each != nullptr; each = each->ai_next) {
    std::array<char, NI_MAXHOST> text{};
    if (getnameinfo(each->ai_addr, each->ai_addrlen, text.data(), text.size(), nullptr, 0, NI_NUMERICHOST) == 0)
      addresses.emplace_back(text.data());
  }
  if (addresses.empty()) return fail(std::string("no address"));
  return addresses;
}

// What threads have found out. The last one that knows of it ends it.
struct Resolver::Answers {
  ~Answers() { ::close(signal); }

  void add(const std::string& name, Addresses addresses) {
    const std::lock_guard lock(mutex);
    list.emplace_back(name, std::move(addresses));
    eventfd_write(signal, 1);
  }
  std::vector<std::pair<std::string, Addresses>> take() {
    const std::lock_guard lock(mutex);
    eventfd_t count = 0;
    eventfd_read(signal, &count);
    return std::exchange(list, {});
  }

  const int signal = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  std::mutex mutex;
  std::vector<std::pair<std::string, Addresses>> list;
};

Resolver::Resolver(Loop& loop, Lookup lookup) : lookup_(std::move(lookup)), answers_(std::make_shared<Answers>()) {
  if (answers_->signal < 0) throw std::runtime_error("no file descriptor for the resolver");
  watch_ = loop.watch_socket(answers_->signal, [this](SocketEvents) { take_answers(); });
  watch_->watch({true, false});
}

Resolver::~Resolver() = default;

Resolver::Request Resolver::resolve(const std::string& name, Callback callback) {
  const auto request = std::make_shared<const Callback>(std::move(callback));
  const auto [place, is_new] = waiting_.try_emplace(name);
  place->second.push_back(request);
  if (!is_new) return request;
  try {
    std::thread([answers = answers_, lookup = lookup_, name] { answers->add(name, lookup(name)); }).detach();
  } catch (const std::system_error& error) {
    answers_->add(name, fail(std::string(error.what())));
  }
  return request;
}

void Resolver::take_answers() {
  for (const auto& [name, addresses] : answers_->take()) {
    const auto waiting = waiting_.extract(name);  // first, because whoever is called may ask again
    for (const auto& each : waiting.mapped())
      if (const Request request = each.lock()) (*request)(addresses);
  }
}

}  // namespace byocd
