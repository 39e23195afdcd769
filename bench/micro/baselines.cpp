// The pools that conpool's is compared with: two textbook pools of real sockets, on one thread.
// They never suspend, and they know neither deadlines nor limits.

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <bench/micro/echo_peer.h>
#include <bench/micro/measured_run.h>
#include <bench/micro/micro.h>

namespace conpool::micro {
namespace {

constexpr std::size_t connections = 8;

class client_sockets {
 public:
  explicit client_sockets(const sockaddr_in& to) {
    for (std::size_t i = 0; i < connections; ++i) fds_.push_back(connect_blocking(to));
  }
  ~client_sockets() {
    for (const int fd : fds_) close(fd);
  }
  client_sockets(const client_sockets&) = delete;
  client_sockets& operator=(const client_sockets&) = delete;
  const std::vector<int>& fds() const noexcept { return fds_; }

 private:
  std::vector<int> fds_;
};

// A LIFO stack of descriptors. It looks at each one with a system call before it lends it.
class peeking_pool {
 public:
  explicit peeking_pool(const std::vector<int>& idle) : idle_(idle) {}

  // Returns the warmest idle connection that is alive, or -1 if there is none.
  int acquire() noexcept {
    while (!idle_.empty()) {
      const int fd = idle_.back();
      idle_.pop_back();
      char byte;
      const ssize_t found = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
      // A connection is alive if it has nothing to read: not the end, no error, no stray byte.
      if (found < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return fd;
      ++dead_;
    }
    return -1;
  }
  void release(int fd) { idle_.push_back(fd); }
  std::size_t dead() const noexcept { return dead_; }

 private:
  std::vector<int> idle_;
  std::size_t dead_ = 0;
};

// The pool that most code bases have: a mutex, a deque, and a condition variable for waiting
// callers.
class mutex_pool {
 public:
  class lease {
   public:
    lease(mutex_pool& owner, int fd) noexcept : owner_(&owner), fd_(fd) {}
    lease(lease&& other) noexcept : owner_(std::exchange(other.owner_, nullptr)), fd_(other.fd_) {}
    lease& operator=(lease&&) = delete;
    ~lease() {
      if (owner_ != nullptr) owner_->release(fd_);
    }
    int fd() const noexcept { return fd_; }

   private:
    mutex_pool* owner_;
    int fd_;
  };

  explicit mutex_pool(const std::vector<int>& idle) : idle_(idle.begin(), idle.end()) {}

  lease acquire() {
    std::unique_lock lock(mutex_);
    while (idle_.empty()) {
      ++waiting_;
      returned_.wait(lock);
      --waiting_;
    }
    const int fd = idle_.back();
    idle_.pop_back();
    return lease(*this, fd);
  }

 private:
  void release(int fd) {
    bool somebody_waits;
    {
      const std::lock_guard lock(mutex_);
      idle_.push_back(fd);
      somebody_waits = waiting_ > 0;
    }
    if (somebody_waits) returned_.notify_one();
  }

  std::mutex mutex_;
  std::condition_variable returned_;
  std::deque<int> idle_;
  std::size_t waiting_ = 0;
};

}  // namespace

void baseline_peek_syscall(benchmark::State& state) {
  echo_peer peer;
  const client_sockets sockets(peer.address());
  peeking_pool pool(sockets.fds());
  measured_run run(state);
  run.begin();
  for (std::int64_t i = 0; i < run.iterations(); ++i) {
    const int fd = pool.acquire();
    benchmark::DoNotOptimize(fd);
    if (fd < 0) return run.fail("the pool lost its connections");
    pool.release(fd);
  }
  run.end();
  if (pool.dead() > 0) run.fail("a connection was found dead");
}

void baseline_mutex_pool(benchmark::State& state) {
  echo_peer peer;  // has a second thread, so that a mutex costs what it costs in a real program
  const client_sockets sockets(peer.address());
  mutex_pool pool(sockets.fds());
  measured_run run(state);
  run.begin();
  for (std::int64_t i = 0; i < run.iterations(); ++i) {
    const mutex_pool::lease lease = pool.acquire();
    benchmark::DoNotOptimize(lease.fd());
  }
  run.end();
}

}  // namespace conpool::micro
