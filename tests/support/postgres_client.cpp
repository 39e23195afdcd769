#include <tests/support/postgres_client.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <span>
#include <utility>

#include <conpool/runtime/buffered_reader.h>
#include <conpool/runtime/socket.h>

#include <tests/support/postgres_wire.h>

namespace conpool::test {
namespace {

using pg_state = postgres_protocol::state;

constexpr std::chrono::seconds cancel_connect_time{10};
constexpr std::chrono::milliseconds cancel_again_after{100};
constexpr std::int32_t cleartext = 3;  // in an authentication request

// Counts what the pool does at a time with its connections.
class counted_round_trip {
 public:
  explicit counted_round_trip(postgres_protocol::figures& in) : in_(&in) {
    in_->most = std::max(in_->most, ++in_->now);
  }
  ~counted_round_trip() { --in_->now; }
  counted_round_trip(const counted_round_trip&) = delete;
  counted_round_trip& operator=(const counted_round_trip&) = delete;

 private:
  postgres_protocol::figures* in_;
};

// Trying again helps if the server is starting, and not after a wrong password or database.
error server_error(std::string_view body) {
  const std::string text = postgres_error(body);
  error made = error(errc::io_failed, phase::read).with_detail(text);
  const bool is_refusal = text.starts_with("28") || text.starts_with("3D");
  return is_refusal ? std::move(made).permanent() : made;
}

constexpr frame_format message_format{
    .header_bytes = 5, .length_at = 1, .length_bytes = 4, .uncounted_bytes = 1};

task<result<postgres_message>> next_message(connection& on) {
  buffered_reader in(on);
  auto whole = co_await in.read_frame<message_format>();
  if (!whole) co_return fail(std::move(whole.error()));
  postgres_message made;
  made.kind = whole->front();
  made.body = whole->substr(message_format.header_bytes);
  co_return made;
}

// Reads up to and with ReadyForQuery.
task<result<postgres_rows>> rest_of_answer(connection& on, pg_state& own) {
  postgres_rows rows;
  std::optional<error> refused;
  for (;;) {
    auto reading = next_message(on);
    auto message = co_await reading;
    // A fatal error is the last that the server says.
    if (!message) co_return fail(refused ? std::move(*refused) : std::move(message.error()));
    switch (message->kind) {
      case 'D':
        rows.push_back(postgres_columns(message->body).front());
        break;
      case 'E':
        refused = server_error(message->body);
        break;
      case 'K':
        own.process = postgres_number(message->body, 0);
        own.secret = postgres_number(message->body, 4);
        break;
      case 'Z':
        own.transaction = message->body.front();
        if (on.answers_owed() > 0) on.answered();  // none is for a login
        if (refused) co_return fail(std::move(*refused));
        co_return rows;
      default:
        break;
    }
  }
}

}  // namespace

task<result<postgres_rows>> postgres_query(connection& on, std::string sql) {
  pg_state& own = on.state<postgres_protocol>();
  const std::string message = spell_postgres('Q', sql);
  on.expect_answers();
  auto sent = co_await on.write(message);
  if (!sent) co_return fail(std::move(sent.error()));
  auto reading = rest_of_answer(on, own);
  auto rows = co_await reading;
  co_return rows;
}

// PostgreSQL 15, 55.2.10: the server answers with one byte, and nothing may be behind it.
task<result<void>> postgres_protocol::secure(connection& to) const {
  const std::string please("\0\0\0\x08\x04\xd2\x16\x2f", 8);
  auto sent = co_await to.write(please);
  if (!sent) co_return fail(std::move(sent.error()));
  buffered_reader in(to);
  auto answer = co_await in.read_exactly(1);
  if (!answer) co_return fail(std::move(answer.error()));
  if (*answer != "S") co_return fail(error(errc::unsupported).with_detail("no TLS there"));
  auto work = to.upgrade(secured_as);
  auto done = co_await work;
  co_return done;
}

task<result<void>> postgres_protocol::on_connect(connection& to, state& own) const {
  if (secured_as != nullptr) {
    auto securing = secure(to);
    auto secured = co_await securing;
    if (!secured) co_return fail(std::move(secured.error()));
  }
  const std::string hello = postgres_startup(user, database, "pooled");
  auto sent = co_await to.write(hello);
  if (!sent) co_return fail(std::move(sent.error()));
  for (;;) {
    auto reading = next_message(to);
    auto message = co_await reading;
    if (!message) co_return fail(std::move(message.error()));
    if (message->kind == 'E') co_return fail(server_error(message->body));
    if (message->kind != 'R') co_return fail(error(errc::io_failed).with_detail("no login"));
    const std::int32_t wanted = postgres_number(message->body, 0);
    if (wanted == 0) break;
    if (wanted != cleartext) co_return fail(error(errc::unsupported).with_detail("no such login"));
    const std::string answer = spell_postgres('p', password);
    auto told = co_await to.write(answer);
    if (!told) co_return fail(std::move(told.error()));
  }
  auto reading = rest_of_answer(to, own);
  auto ready = co_await reading;
  if (!ready) co_return fail(std::move(ready.error()));
  co_return result<void>{};
}

bool postgres_protocol::needs_cleaning(const connection&, const state& own) const {
  return own.transaction != 'I';
}

task<bool> postgres_protocol::on_release(connection& one, state& own) const {
  const counted_round_trip counted(*seen);
  auto asked = postgres_query(one, "rollback");
  auto done = co_await asked;
  if (!done) co_return false;
  ++seen->rolled_back;
  co_return own.transaction == 'I';
}

// The server closes the cancel request's connection once it has signalled the session. So no cancel
// is under way any more when this returns, which could hit the next lease's query.
task<bool> postgres_protocol::cancel(shard& home, std::int32_t process, std::int32_t secret) const {
  const socket_address server = socket_address::ip("127.0.0.1", port).value();
  auto dialing = connect_socket(home, server, socket_options(), cancel_connect_time);
  auto side = co_await dialing;
  if (!side) co_return false;
  const std::string request = postgres_cancel_request(process, secret);
  auto sent = co_await (*side)->write(request);
  if (!sent) co_return false;
  char nothing[16];
  auto ended = co_await (*side)->read(std::span<char>(nothing));
  co_return ended.has_value() && *ended == 0;
}

task<bool> postgres_protocol::recover(connection& one, state& own, close_reason) const {
  const counted_round_trip counted(*seen);
  if (one.answers_owed() > 0) {
    // A cancel request that overtakes its query is lost, as the server was idle then. So it is sent
    // again until the answer ends.
    bool answers = false;
    while (!answers) {
      auto cancelling = cancel(one.home(), own.process, own.secret);
      auto cancelled = co_await cancelling;
      if (!cancelled) co_return false;
      auto ready = co_await one.wait_readable(cancel_again_after);
      answers = ready || ready.error() != errc::read_timeout;
    }
    auto reading = rest_of_answer(one, own);
    auto rest = co_await reading;
    // The server's own error says that it was cancelled; any other end is one of the connection.
    if (!rest && one.answers_owed() > 0) co_return false;
  }
  ++seen->recovered;
  co_return true;
}

task<void> postgres_protocol::farewell(connection& one, state&) const {
  const counted_round_trip counted(*seen);
  const std::string goodbye = spell_postgres('X');
  auto sent = co_await one.write(goodbye);
  if (sent) ++seen->farewells;
}

}  // namespace conpool::test
