#include <bench/echo_server.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include <bench/resp.h>
#include <bench/tls.h>
#include <conpool/runtime/address.h>
#include <conpool/runtime/listener.h>
#include <conpool/runtime/shard.h>
#include <conpool/runtime/socket.h>
#include <conpool/runtime/task.h>

namespace conpool::bench {

struct key_value_store {
  struct hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view key) const noexcept {
      return std::hash<std::string_view>()(key);
    }
  };
  std::unordered_map<std::string, std::string, hash, std::equal_to<>> values;
};

namespace {

constexpr std::size_t stored_values_max = 1 << 20;
constexpr std::size_t read_bytes_min = 4096;
// The server must not end idle connections: that is the pool's job.
constexpr io_timeouts patient{std::chrono::hours(24), std::chrono::hours(24)};
constexpr std::chrono::milliseconds accept_again_after(10);

task<void> serve_echo(socket peer, std::size_t message_bytes) {
  std::vector<std::byte> message(message_bytes);
  const std::span<std::byte> whole(message);
  for (;;) {
    auto received = co_await peer->read_exactly(whole);
    if (!received) co_return;
    auto sent = co_await peer->write(std::span<const std::byte>(whole));
    if (!sent) co_return;
  }
}

void append_answer(std::string& to, key_value_store& store, const resp_command& command) {
  const std::string_view name = command.arguments[0];
  if (name == "PING" && command.count == 1) {
    to += "+PONG\r\n";
  } else if (name == "GET" && command.count == 2) {
    const auto found = store.values.find(command.arguments[1]);
    if (found == store.values.end()) {
      to += "$-1\r\n";
    } else {
      append_bulk(to, found->second);
    }
  } else if (name == "SET" && command.count == 3) {
    const auto found = store.values.find(command.arguments[1]);
    if (found != store.values.end()) {
      found->second = command.arguments[2];
      to += "+OK\r\n";
    } else if (store.values.size() < stored_values_max) {
      store.values.emplace(command.arguments[1], command.arguments[2]);
      to += "+OK\r\n";
    } else {
      to += "-OOM this server keeps no more values\r\n";
    }
  } else {
    to += "-ERR this server knows PING, SET key value and GET key\r\n";
  }
}

// Answers every complete command in `input` and removes it. Returns false if it is not RESP.
bool answer(std::string& input, std::string& output, key_value_store& store) {
  std::size_t taken = 0;
  for (;;) {
    const resp_command command = parse_command(std::string_view(input).substr(taken));
    if (command.status == resp_status::malformed) return false;
    if (command.status == resp_status::incomplete) break;
    append_answer(output, store, command);
    taken += command.size;
  }
  input.erase(0, taken);
  return true;
}

task<void> serve_redis(socket peer, key_value_store& store) {
  std::string input;
  std::string output;
  for (;;) {
    const std::size_t filled = input.size();
    input.resize(filled + std::max(filled, read_bytes_min));
    const std::span<char> room = std::span<char>(input).subspan(filled);
    auto received = co_await peer->read(room);
    if (!received || *received == 0) co_return;
    input.resize(filled + *received);
    output.clear();
    const bool understood = answer(input, output, store);
    if (!understood) output += "-ERR Protocol error\r\n";
    auto sent = co_await peer->write(std::string_view(output));
    if (!sent || !understood) co_return;
  }
}

task<void> serve(socket peer, std::optional<tls_acceptor> tls, wire_protocol protocol,
                 std::size_t message_bytes, key_value_store& store) {
  if (tls) {
    auto secured = co_await tls->accept(*peer);
    if (!secured) co_return;
  }
  if (protocol == wire_protocol::redis) {
    auto work = serve_redis(std::move(peer), store);
    co_await work;
  } else {
    auto work = serve_echo(std::move(peer), message_bytes);
    co_await work;
  }
}

task<void> accept_all(listener door, std::optional<tls_acceptor> tls, wire_protocol protocol,
                      std::size_t message_bytes, key_value_store& store) {
  shard& home = *shard::current();
  while (!home.stopping()) {
    auto peer = co_await door.accept();
    if (peer) {
      home.spawn(serve, std::move(*peer), tls, protocol, message_bytes, std::ref(store));
    } else if (peer.error() == errc::too_many_files || peer.error() == errc::io_failed) {
      auto waited = co_await home.sleep_for(accept_again_after);
      if (!waited) co_return;
    } else {
      co_return;  // the shard is stopping
    }
  }
}

// Opens one server on the shard that runs this task.
task<result<endpoint>> open_server(const run_plan& plan, const server_identity& own,
                                   key_value_store& store) {
  shard& home = *shard::current();
  std::optional<tls_acceptor> tls;
  if (plan.tls) {
    result<tls_acceptor> made = tls_acceptor::make(own);
    if (!made) co_return fail(std::move(made.error()));
    tls.emplace(std::move(*made));
  }
  result<socket_address> loopback = socket_address::ip("127.0.0.1", 0);
  if (!loopback) co_return fail(std::move(loopback.error()));
  listen_options options;
  options.accepted.timeouts = patient;
  result<listener> door = listener::open(home, *loopback, options);
  if (!door) co_return fail(std::move(door.error()));
  const char* const scheme = plan.tls ? "tls://" : "tcp://";
  result<endpoint> where = endpoint::parse(scheme + door->address().to_string());
  if (where && plan.tls) where = trusting(*where, own.root_pem);
  home.spawn(accept_all, std::move(*door), std::move(tls), plan.protocol,
             std::size_t{plan.message_bytes}, std::ref(store));
  co_return std::move(where);
}

}  // namespace

result<std::unique_ptr<embedded_servers>> embedded_servers::start(const run_plan& plan) {
  std::unique_ptr<embedded_servers> made(new embedded_servers());
  runtime_options options;
  options.shards = plan.server_shards;
  result<std::unique_ptr<runtime>> threads = runtime::create(options);
  if (!threads) return fail(std::move(threads.error()));
  made->runtime_ = std::move(*threads);
  const server_identity own = plan.tls ? make_server_identity() : server_identity();
  for (unsigned index = 0; index < plan.servers; ++index) {
    made->stores_.push_back(std::make_unique<key_value_store>());
    result<endpoint> one =
        made->runtime_->run_on(index % plan.server_shards, open_server, std::cref(plan),
                               std::cref(own), std::ref(*made->stores_.back()));
    if (!one) return fail(std::move(one.error()));
    made->endpoints_.push_back(std::move(*one));
  }
  return made;
}

embedded_servers::~embedded_servers() = default;

}  // namespace conpool::bench
