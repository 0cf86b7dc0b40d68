#include "database_servers.h"

#include <libpq-fe.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>

namespace byocd {

namespace {

constexpr const char* default_port = "5432";  // of a list with gaps

// As libpq has it when it is about to connect, which a mode that does not exist keeps it from.
std::map<std::string, std::string> options_of(const std::string& conninfo) {
  const std::array<const char*, 3> keys{"dbname", "sslmode", nullptr};
  const std::array<const char*, 3> values{conninfo.c_str(), "none of them", nullptr};
  const std::unique_ptr<PGconn, decltype(&PQfinish)> connection(PQconnectStartParams(keys.data(), values.data(), 1),
                                                                &PQfinish);
  const std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)> options(PQconninfo(connection.get()),
                                                                             &PQconninfoFree);
  std::map<std::string, std::string> found;
  for (const auto* option = options.get(); option != nullptr && option->keyword != nullptr; ++option)
    found[option->keyword] = option->val != nullptr ? option->val : "";
  return found;
}

// Of an empty text: nothing.
std::vector<std::string> items(const std::string& text) {
  std::vector<std::string> list;
  for (std::size_t begin = 0, end = 0; !text.empty() && end != text.npos; begin = end + 1) {
    end = text.find(',', begin);
    list.push_back(text.substr(begin, end - begin));
  }
  return list;
}

}  // namespace

DatabaseServers servers_of(const std::string& conninfo) {
  auto options = options_of(conninfo);
  const auto hosts = items(options["host"]), addresses = items(options["hostaddr"]), ports = items(options["port"]);
  const std::string& wanted = options["target_session_attrs"];
  DatabaseServers servers{{}, wanted.empty() || wanted == "any"};
  const std::size_t count = std::max(hosts.size(), addresses.size());
  const auto fits = [count](const auto& list) { return list.empty() || list.size() == count; };
  const bool is_list = count > 0 && fits(hosts) && fits(addresses) && (fits(ports) || ports.size() == 1);
  for (std::size_t i = 0; is_list && i < count; ++i) {
    const auto item = [i](const auto& list) { return list.empty() ? "" : list[list.size() == 1 ? 0 : i]; };
    const std::string port = item(ports);
    servers.list.push_back({item(hosts), item(addresses), port.empty() ? default_port : port});
  }
  const bool is_nameless =
      std::any_of(servers.list.begin(), servers.list.end(),
                  [](const DatabaseServer& server) { return server.host.empty() && server.hostaddr.empty(); }) ||
      std::find(addresses.begin(), addresses.end(), "") != addresses.end();
  if (servers.list.empty() || is_nameless) servers.list = {DatabaseServer{}};
  return servers;
}

}  // namespace byocd
