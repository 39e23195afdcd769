#include <conpool/runtime/resolver.h>

#include <algorithm>

#include <conpool/runtime/detail/ready_queue.h>
#include <conpool/runtime/detail/resolver_channel.h>

namespace conpool {
namespace {

using address_list = std::vector<socket_address>;

// Names are compared without regard to case, in ASCII only.
std::string key_of(std::string_view host) {
  std::string key(host);
  for (char& c : key) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return key;
}

// Spares most names the attempt to parse them: an IPv6 address has a colon, an IPv4 address ends in
// a digit.
bool may_be_numeric(std::string_view host) noexcept {
  return host.find(':') != host.npos || (host.back() >= '0' && host.back() <= '9');
}

}  // namespace

// A question under way, and the tasks that wait for its answer; there may be none any more.
struct resolver::look_up : detail::resolver_question {
  look_up(resolver& owner, const std::string& name) noexcept
      : detail::resolver_question(&resolver::answered), home(&owner), key(&name) {}

  resolver* home;
  const std::string* key;  // in under_way_
  intrusive_list<resolve_awaiter, list_hook<resolver>> waiters;
};

resolver& resolver::use(shard& home, const resolver_options& options) {
  CONPOOL_ASSERT(home.find_extension<resolver>() == nullptr,
                 "the resolver is chosen before the first look-up");
  return home.extension<resolver>(options);
}

resolver::resolver(shard& home, const resolver_options& options)
    : stop_hook(&resolver::stop), home_(&home), options_(options) {
  home.add_stop_hook(*this);
}

resolver::~resolver() {
  home_->remove_stop_hook(*this);
  channel_.reset();  // answers what is under way
  CONPOOL_ASSERT(under_way_.empty(), "a resolver was destroyed with a question unanswered");
}

void resolver::stop(stop_hook& hook) noexcept {
  auto& self = static_cast<resolver&>(hook);
  if (self.channel_) self.channel_->cancel_all();
}

void resolver::join(resolve_awaiter& waiter) {
  const auto [at, is_new] = under_way_.try_emplace(key_of(waiter.host_));
  if (is_new) at->second = std::make_unique<look_up>(*this, at->first);
  look_up& joined = *at->second;
  joined.waiters.push_back(waiter);
  if (!is_new) {
    ++statistics_.coalesced;
    return;
  }
  ++statistics_.questions;
  if (!channel_) channel_ = std::make_unique<detail::resolver_channel>(*home_, options_);
  channel_->ask(at->first.c_str(), joined);  // the answer may come, and end it, before this returns
}

// c-ares calls this from within its own work, so it wakes tasks but runs none.
void resolver::answered(detail::resolver_question& question,
                        detail::resolver_answer&& answer) noexcept {
  look_up& ended = static_cast<look_up&>(question);
  resolver& self = *ended.home;
  const auto taken = self.under_way_.extract(*ended.key);  // keeps `ended` until the end
  CONPOOL_ASSERT(!taken.empty(), "a question was answered twice");
  if (self.home_->stopping()) {
    // Half an answer would look like a whole one.
    answer.addresses = fail(error(errc::shard_stopped, phase::resolve));
  } else if (answer.addresses && answer.addresses->empty()) {
    answer.addresses = fail(error(errc::resolve_failed, phase::resolve)
                                .with_detail("name not found: it has no address"));
  }
  if (answer.addresses) {
    const duration lifetime =
        std::clamp<duration>(answer.time_to_live, cached_at_least, cached_at_most);
    self.cache_.store(taken.key(), *answer.addresses, self.home_->now() + lifetime);
  }
  while (!ended.waiters.empty()) {
    resolve_awaiter& waiter = ended.waiters.pop_front();
    waiter.answer_.emplace(answer.addresses);
    waiter.wake();
  }
}

bool resolver::resolve_awaiter::await_ready() {
  home().assert_owner();
  if (host_.empty() || host_.size() > host_bytes_max || host_.find('\0') != host_.npos) {
    answer_.emplace(fail(error(errc::invalid_argument, phase::resolve)
                             .with_detail("a host name has 1 to 255 bytes, none of them zero")));
    return true;
  }
  if (may_be_numeric(host_)) {
    const result<socket_address> numeric = socket_address::ip(host_, port_);
    if (numeric) answer_.emplace(address_list{*numeric});
  }
  if (answer_) return true;
  if (const address_list* cached = resolver_->cache_.find(key_of(host_), home().now())) {
    ++resolver_->statistics_.cache_hits;
    answer_.emplace(*cached);
  }
  if (!answer_) return false;
  // The answer is there; when the inline budget is spent, other tasks go first all the same.
  ready_queue* const queue = ready_queue::current();
  return queue == nullptr || queue->spend_inline_budget();
}

bool resolver::resolve_awaiter::begin(std::coroutine_handle<> handle, context* where) noexcept {
  if (!answer_ && home().stopping()) {
    answer_.emplace(fail(error(errc::shard_stopped, phase::resolve)));
    return false;
  }
  if (!park(handle, where, deadline_)) return false;
  if (answer_) {
    wake();
  } else {
    resolver_->join(*this);
  }
  return true;
}

// The question goes on without this waiter.
void resolver::resolve_awaiter::interrupt(wait_point& waiting, errc) noexcept {
  auto& self = static_cast<resolve_awaiter&>(waiting);
  intrusive_list<resolve_awaiter, list_hook<resolver>>::unlink(self);
  self.wake();
}

result<address_list> resolver::resolve_awaiter::await_resume() {
  if (!answer_) return fail(error(interrupted_by(), phase::resolve).about(host_));
  if (!*answer_) return fail(std::move(answer_->error()).about(host_));
  for (socket_address& address : **answer_) address.set_port(port_);
  return std::move(*answer_);
}

}  // namespace conpool
