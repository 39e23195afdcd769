#include <tests/support/postgres_wire.h>

#include <utility>

namespace conpool::test {
namespace {

constexpr std::int32_t version_3 = 196'608;
constexpr std::int32_t cancel_code = 80'877'102;
constexpr std::size_t header_bytes = 5;  // of a message: its kind and its length

void append_number(std::string& to, std::int32_t number) {
  const auto bits = static_cast<std::uint32_t>(number);
  for (int shift = 24; shift >= 0; shift -= 8) to += static_cast<char>(bits >> shift & 0xffU);
}

void append_text(std::string& to, std::string_view text) {
  to.append(text);
  to += '\0';
}

std::string with_length(const std::string& body) {
  std::string made;
  append_number(made, static_cast<std::int32_t>(body.size() + 4));
  return made + body;
}

}  // namespace

std::string postgres_startup(std::string_view user, std::string_view database,
                             std::string_view application) {
  std::string body;
  append_number(body, version_3);
  for (const auto& [name, value] : {std::pair<std::string_view, std::string_view>{"user", user},
                                    {"database", database},
                                    {"application_name", application}}) {
    append_text(body, name);
    append_text(body, value);
  }
  append_text(body, {});
  return with_length(body);
}

std::string postgres_cancel_request(std::int32_t process, std::int32_t secret) {
  std::string body;
  append_number(body, cancel_code);
  append_number(body, process);
  append_number(body, secret);
  return with_length(body);
}

std::string spell_postgres(char kind, std::string_view text) {
  std::string body;
  if (kind != 'X') append_text(body, text);
  return kind + with_length(body);
}

std::int32_t postgres_number(std::string_view body, std::size_t at) {
  if (body.size() < at + 4) return -1;
  std::uint32_t bits = 0;
  for (const char byte : body.substr(at, 4)) bits = bits << 8U | static_cast<unsigned char>(byte);
  return static_cast<std::int32_t>(bits);
}

std::optional<postgres_message> take_postgres_message(std::string& received) {
  if (received.size() < header_bytes) return std::nullopt;
  const auto size = static_cast<std::size_t>(postgres_number(received, 1)) + 1;
  if (received.size() < size) return std::nullopt;
  postgres_message taken{received.front(), received.substr(header_bytes, size - header_bytes)};
  received.erase(0, size);
  return taken;
}

std::vector<std::string> postgres_columns(std::string_view body) {
  std::vector<std::string> columns;
  std::size_t at = 2;  // behind their number
  while (at + 4 <= body.size()) {
    const std::int32_t size = postgres_number(body, at);
    at += 4;
    const std::size_t bytes = size < 0 ? 0 : static_cast<std::size_t>(size);
    columns.emplace_back(body.substr(at, bytes));
    at += bytes;
  }
  return columns;
}

std::string postgres_error(std::string_view body) {
  std::string code;
  std::string text;
  while (!body.empty() && body.front() != '\0') {
    const std::size_t end = body.find('\0');
    if (end == body.npos) break;
    const std::string_view value = body.substr(1, end - 1);
    if (body.front() == 'C') code = value;
    if (body.front() == 'M') text = value;
    body.remove_prefix(end + 1);
  }
  return code + ": " + text;
}

}  // namespace conpool::test
