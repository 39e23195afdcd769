#include <bench/resp.h>

#include <charconv>

namespace conpool::bench {
namespace {

constexpr std::size_t line_bytes_max = 1024;

// Moves a line from the front of `rest` into `line`, without its CRLF.
resp_status take_line(std::string_view& rest, std::string_view& line) noexcept {
  const std::size_t end = rest.substr(0, line_bytes_max).find("\r\n");
  if (end == std::string_view::npos) {
    return rest.size() < line_bytes_max ? resp_status::incomplete : resp_status::malformed;
  }
  line = rest.substr(0, end);
  rest.remove_prefix(end + 2);
  return resp_status::complete;
}

bool parse_length(std::string_view text, std::int64_t& into) noexcept {
  const char* const begin = text.data();
  const char* const end = begin + text.size();
  const auto parsed = std::from_chars(begin, end, into);
  return parsed.ec == std::errc{} && parsed.ptr == end;
}

// Moves `length` bytes from the front of `rest` into `bytes`, and removes the CRLF after them.
resp_status take_bulk(std::string_view& rest, std::int64_t length,
                      std::string_view& bytes) noexcept {
  if (length < 0 || static_cast<std::uint64_t>(length) > resp_bulk_bytes_max) {
    return resp_status::malformed;
  }
  const auto size = static_cast<std::size_t>(length);
  if (rest.size() < size + 2) return resp_status::incomplete;
  if (rest.substr(size, 2) != "\r\n") return resp_status::malformed;
  bytes = rest.substr(0, size);
  rest.remove_prefix(size + 2);
  return resp_status::complete;
}

}  // namespace

resp_command parse_command(std::string_view bytes) noexcept {
  resp_command made;
  std::string_view rest = bytes;
  std::string_view line;
  if (!rest.empty() && rest.front() != '*') made.status = resp_status::malformed;
  if (made.status != resp_status::malformed) made.status = take_line(rest, line);
  if (made.status != resp_status::complete) return made;

  std::int64_t count = 0;
  if (!parse_length(line.substr(1), count) || count < 1 ||
      count > static_cast<std::int64_t>(resp_arguments_max)) {
    made.status = resp_status::malformed;
    return made;
  }
  made.count = static_cast<std::size_t>(count);
  for (std::size_t index = 0; index < made.count; ++index) {
    std::int64_t length = 0;
    made.status = take_line(rest, line);
    if (made.status != resp_status::complete) return made;
    if (line.empty() || line.front() != '$' || !parse_length(line.substr(1), length)) {
      made.status = resp_status::malformed;
      return made;
    }
    made.status = take_bulk(rest, length, made.arguments[index]);
    if (made.status != resp_status::complete) return made;
  }
  made.size = bytes.size() - rest.size();
  return made;
}

resp_reply parse_reply(std::string_view bytes) noexcept {
  resp_reply made;
  std::string_view rest = bytes;
  std::string_view line;
  made.status = take_line(rest, line);
  if (made.status != resp_status::complete) return made;
  made.kind = line.empty() ? '\0' : line.front();
  if (made.kind == '+' || made.kind == '-' || made.kind == ':') {
    made.text = line.substr(1);
  } else if (std::int64_t length = 0; made.kind == '$' && parse_length(line.substr(1), length)) {
    made.null = length == -1;
    if (!made.null) made.status = take_bulk(rest, length, made.text);
  } else {
    made.status = resp_status::malformed;
  }
  if (made.status == resp_status::complete) made.size = bytes.size() - rest.size();
  return made;
}

void append_bulk(std::string& to, std::string_view bytes) {
  to.append("$").append(std::to_string(bytes.size())).append("\r\n").append(bytes).append("\r\n");
}

void append_command(std::string& to, std::span<const std::string_view> arguments) {
  to.append("*").append(std::to_string(arguments.size())).append("\r\n");
  for (const std::string_view argument : arguments) append_bulk(to, argument);
}

}  // namespace conpool::bench
