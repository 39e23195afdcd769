#include <tests/soak/soak_operator.h>

#include <chrono>
#include <csignal>
#include <string>

#include <poll.h>

#include <tests/support/nginx_server.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t nginx = 0;
constexpr std::size_t redis = 1;
constexpr std::size_t postgres = 2;

duration::rep monotonic_now() {
  return std::chrono::steady_clock::now().time_since_epoch().count();
}

}  // namespace

// What passes here is the servers' time.
void let_pass(duration time) {
  ::poll(nullptr, 0,
         static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(time).count()));
}

soak_operator::soak_operator(soak_board& on, std::uint64_t seed) : board_(&on), dice_(seed) {
  on.ports = {free_port(), redis_.port(), postgres_.port()};
  start_nginx();
  for (std::size_t which = 0; which < soak_servers; ++which) ready(which);
}

void soak_operator::start_nginx() {
  nginx_ = run_nginx(files_,
                     "server { listen 127.0.0.1:" + std::to_string(board_->ports[nginx]) +
                         "; keepalive_timeout 500ms; keepalive_requests 200;\n"
                         "location / { return 200 \"$request_uri end\\n\"; } }\n",
                     board_->ports[nginx]);
}

void soak_operator::ready(std::size_t which) {
  board_->ready_since[which] = monotonic_now();
}

void soak_operator::disturb() {
  const std::size_t which = dice_.below(soak_servers);
  const auto well_for = duration(monotonic_now() - board_->ready_since[which].load());
  // The clients are given the time to find out that it is back, and some to work.
  if (well_for < board_->back_within() + 300ms) return;
  ++count_;
  board_->ready_since[which] = 0;
  switch (dice_.below(3)) {
    case 0:
      pause(which, 10ms + dice_.up_to(900ms));
      break;
    case 1:
      kill_and_restart(which, 0ms);
      break;
    default:
      kill_and_restart(which, 50ms + dice_.up_to(1950ms));
      break;
  }
  ready(which);
}

void soak_operator::pause(std::size_t which, duration time) {
  if (which == nginx) nginx_->signal(SIGSTOP);
  if (which == redis) redis_.pause();
  if (which == postgres) postgres_.pause();
  let_pass(time);
  if (which == nginx) nginx_->signal(SIGCONT);
  if (which == redis) redis_.resume();
  if (which == postgres) postgres_.resume();
}

// Each returns from its restart when the server answers.
void soak_operator::kill_and_restart(std::size_t which, duration down) {
  if (which == nginx) nginx_.reset();
  if (which == redis) redis_.kill();
  if (which == postgres) postgres_.kill();
  let_pass(down);
  if (which == nginx) start_nginx();
  if (which == redis) redis_.restart();
  if (which == postgres) postgres_.restart();
}

}  // namespace conpool::test
