// probe_batch/N: the pool probes N idle connections in one batch.
// floor_probe_batch/N: bare liburing does the same to N sockets.
//
// Both peek at each socket (MSG_PEEK | MSG_DONTWAIT) in one submission, have the same kind of peer,
// and end when the last answer has come.

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <vector>

#include <bench/micro/bare_uring.h>
#include <bench/micro/echo_peer.h>
#include <bench/micro/measured_run.h>
#include <bench/micro/micro.h>
#include <bench/micro/pool_client.h>

namespace conpool::micro {
namespace {

task<void> validate_again_and_again(pool_client& client, endpoint to, std::size_t count,
                                    measured_run& run) {
  run.begin();
  for (std::int64_t i = 0; i < run.iterations(); ++i) {
    auto report = co_await client.pool().validate(to);
    if (!report || report->alive != count) [[unlikely]] {
      run.fail(report ? "not all connections were alive" : report.error().message());
      break;
    }
  }
  run.end();
  client.end_run();
}

}  // namespace

void probe_batch(benchmark::State& state) {
  const auto count = static_cast<std::size_t>(state.range(0));
  echo_peer peer;
  pool_config config;
  config.max_connections_per_endpoint = static_cast<std::uint32_t>(count);
  config.validation = validation_policy::probe;
  pool_client client(config);
  const endpoint_handle to = client.handle_of(peer);
  client.fill(to, count);
  measured_run run(state);
  run.count_ring(client.home().ring(), "batch");
  client.home().spawn(validate_again_and_again, std::ref(client), to.peer(), count, std::ref(run));
  client.run();
  if (run.failed()) return;
  state.counters["probes"] = static_cast<double>(client.pool().totals().probes);
}

void floor_probe_batch(benchmark::State& state) {
  const auto count = static_cast<std::size_t>(state.range(0));
  echo_peer peer;
  std::vector<int> sockets;
  sockets.reserve(count);
  for (std::size_t i = 0; i < count; ++i) sockets.push_back(connect_blocking(peer.address()));
  bare_uring ring;
  char byte = 0;
  std::size_t answers = 0;
  std::size_t dead = 0;
  std::uint64_t enters = 0;
  measured_run run(state);
  run.begin();
  for (std::int64_t i = 0; i < run.iterations(); ++i) {
    for (const int fd : sockets) {
      io_uring_sqe* const entry = io_uring_get_sqe(ring.get());
      io_uring_prep_recv(entry, fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    }
    for (answers = 0; answers < count;) {
      enters += ring.turn([&](const io_uring_cqe& entry) {
        ++answers;
        if (entry.res != -EAGAIN) ++dead;
      });
    }
  }
  run.end();
  for (const int fd : sockets) close(fd);
  if (dead > 0) return run.fail("a connection was found dead");
  state.counters["enters_per_batch"] =
      static_cast<double>(enters) / static_cast<double>(run.iterations());
}

}  // namespace conpool::micro
