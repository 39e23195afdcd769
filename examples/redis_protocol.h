// Redis as a protocol of a pool: RESP3 with a login, a ping, and a client-side cache that the
// server keeps honest (CLIENT TRACKING).
//
//   redis_protocol speaks;
//   speaks.database = 2;
//   speaks.invalidated = [&](std::string_view key) { cache.erase(key); };
//   auto backends = conpool::pool::create(home, config, std::move(speaks));
//
//   auto lease = co_await backends->acquire(to);
//   auto asked = redis_command(**lease, words);           // words: std::vector<std::string>
//   auto reply = co_await asked;                          // the reply's bytes, as RESP3 has them
//
// The server announces changed keys whenever it likes: in front of a reply, and while a connection
// is idle. In the latter case the pool hands the bytes to on_idle_data(), which tells a push from
// dirt. When a connection ends, the server forgets what it tracked, so invalidated() is called with
// an empty key.
//
// https://redis.io/docs/latest/develop/reference/protocol-spec/
#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <conpool/conpool.h>

// Parses the value at the start of `bytes`. Returns how many bytes it takes: 0 if more have to
// come, npos if it is not a value. Adds its strings to `strings`, and a null one as an empty one.
inline std::size_t redis_value(std::string_view bytes, std::vector<std::string_view>& strings) {
  constexpr std::int64_t bytes_max = 64 << 20;
  std::size_t at = 0;
  for (std::int64_t left = 1; left > 0; --left) {
    const std::size_t line = bytes.find("\r\n", at);
    if (line == bytes.npos) return 0;
    const char kind = bytes[at];
    const std::string_view text = bytes.substr(at + 1, line > at ? line - at - 1 : 0);
    at = line + 2;
    if (std::string_view("+-:_#,(").find(kind) != bytes.npos) {
      strings.push_back(text);
      continue;
    }
    std::int64_t count = 0;
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), count);
    const bool whole = parsed.ec == std::errc() && parsed.ptr == text.data() + text.size();
    if (!whole || count < -1 || count > bytes_max) return bytes.npos;
    const auto size = static_cast<std::size_t>(count < 0 ? 0 : count);
    if (kind == '*' || kind == '~' || kind == '>') {
      left += static_cast<std::int64_t>(size);
    } else if (kind == '%') {
      left += static_cast<std::int64_t>(2 * size);
    } else if (kind == '$' || kind == '!' || kind == '=') {
      if (count >= 0 && bytes.size() - at < size + 2) return 0;
      strings.push_back(bytes.substr(at, size));
      if (count >= 0) at += size + 2;
    } else {
      return bytes.npos;
    }
  }
  return at;
}

struct redis_protocol;
conpool::task<conpool::result<std::string>> redis_command(conpool::connection& on,
                                                          std::vector<std::string> words);

struct redis_protocol {
  struct state {
    redis_protocol* speaks = nullptr;
    std::string unread;  // received and not consumed yet
  };

  unsigned database = 0;
  bool tracking = true;
  // Called when a key that a connection has read was changed. An empty key means that all of them
  // may have been.
  std::function<void(std::string_view key)> invalidated = [](std::string_view) {
  };

  conpool::task<conpool::result<void>> on_connect(conpool::connection& to, state& own) {
    own.speaks = this;
    std::vector<std::vector<std::string>> steps;
    steps.push_back(words("HELLO", "3"));
    if (database != 0) steps.push_back(words("SELECT", std::to_string(database)));
    if (tracking) steps.push_back(words("CLIENT", "TRACKING", "ON"));
    for (std::vector<std::string>& step : steps) {
      auto asked = redis_command(to, std::move(step));
      auto reply = co_await asked;
      if (!reply) co_return conpool::fail(std::move(reply.error()));
      if (reply->front() == '-') co_return refused(*reply);
    }
    co_return conpool::result<void>{};
  }

  conpool::task<conpool::result<void>> ping(conpool::connection& to, state&) {
    auto asked = redis_command(to, words("PING"));
    auto reply = co_await asked;
    if (!reply) co_return conpool::fail(std::move(reply.error()));
    if (*reply != "+PONG\r\n") co_return refused(*reply);
    co_return conpool::result<void>{};
  }

  // The next user of the connection would take an unread reply for its own. One that has not come
  // yet is known to the pool: redis_command() expects it.
  bool on_release(conpool::connection&, state& own) const {
    return own.unread.empty() || own.unread.front() == '>';
  }

  conpool::idle_data on_idle_data(conpool::connection&, state& own,
                                  std::span<const std::byte> bytes) const {
    own.unread.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return take_pushes(own) ? conpool::idle_data::keep : conpool::idle_data::dirt;
  }

  void on_close(conpool::connection&, state&, conpool::close_reason) const noexcept {
    if (tracking) invalidated({});
  }

  // Consumes what the server sent of its own accord. Returns false if anything else is left.
  bool take_pushes(state& own) const {
    while (!own.unread.empty() && own.unread.front() == '>') {
      std::vector<std::string_view> strings;
      const std::size_t size = redis_value(own.unread, strings);
      if (size == 0) return true;  // the rest is on its way
      if (size == own.unread.npos) return false;
      if (!strings.empty() && strings.front() == "invalidate") {
        for (std::size_t i = 1; i < strings.size(); ++i) invalidated(strings[i]);
      }
      own.unread.erase(0, size);
    }
    return own.unread.empty();
  }

  // This is a function because g++ 12 must not see braces in a statement that awaits.
  template <typename... Words>
  static std::vector<std::string> words(const Words&... each) {
    std::vector<std::string> made;
    (made.emplace_back(each), ...);
    return made;
  }

 private:
  static std::unexpected<conpool::error> refused(std::string_view reply) {
    return conpool::fail(
        conpool::error(conpool::errc::io_failed).with_detail(reply.substr(0, reply.find('\r'))));
  }
};

// Sends a command and returns its reply. After an error the connection is closed on release.
inline conpool::task<conpool::result<std::string>> redis_command(conpool::connection& on,
                                                                 std::vector<std::string> words) {
  auto& own = on.state<redis_protocol>();
  std::string request = "*" + std::to_string(words.size()) + "\r\n";
  for (const std::string& word : words) {
    request += "$" + std::to_string(word.size()) + "\r\n" + word + "\r\n";
  }
  on.expect_answers();
  auto sent = co_await on.write(request);
  if (!sent) co_return conpool::fail(std::move(sent.error()));
  std::vector<char> chunk(16 * 1024);
  for (;;) {
    if (!own.speaks->take_pushes(own)) {
      std::vector<std::string_view> strings;
      const std::size_t size = redis_value(own.unread, strings);
      if (size == own.unread.npos) {
        co_return conpool::fail(conpool::error(conpool::errc::io_failed, conpool::phase::read));
      }
      if (size != 0) {
        std::string reply = own.unread.substr(0, size);
        own.unread.erase(0, size);
        on.answered();
        co_return reply;
      }
    }
    auto count = co_await on.read(std::span<char>(chunk));
    if (!count) co_return conpool::fail(std::move(count.error()));
    if (*count == 0) {
      co_return conpool::fail(
          conpool::error(conpool::errc::connection_closed, conpool::phase::read));
    }
    own.unread.append(chunk.data(), *count);
  }
}
