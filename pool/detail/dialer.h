// Opens one connection to an endpoint: resolves, connects, shakes hands, lets the protocol say
// hello.
//
// It knows no queue and no limits: whoever asks for a connection has decided that it may be opened.
// All of it happens within one deadline, and what has failed is closed before the error is
// returned. Used on its shard only; connect() runs as a part of a task of the shard.
#pragma once

#include <memory>
#include <optional>

#include <conpool/pool/detail/endpoint_facts.h>
#include <conpool/pool/detail/pooled_connection.h>
#include <conpool/runtime/address.h>
#include <conpool/runtime/clock.h>
#include <conpool/runtime/error.h>
#include <conpool/runtime/task.h>

namespace conpool {

namespace tls {
class profile;
struct resumption;
}  // namespace tls

class dialer {
 public:
  explicit dialer(endpoint_facts& facts);

  // Whether this build can open connections to it.
  static bool supports(const endpoint& to) noexcept;

  // A connection that stands, in the stage `connecting`, which is the caller's from now on. Errors:
  // resolve_failed, connect_failed, connect_timeout, handshake_timeout, too_many_files,
  // out_of_memory, those of TLS, whatever the protocol's on_connect said, and cancelled and the
  // like, each with the number of addresses that were tried.
  task<result<pooled_connection*>> connect(time_point deadline);

 private:
  task<result<pooled_connection*>> connect_to(socket_address to, time_point deadline);
  task<result<pooled_connection*>> try_once(const socket_address& to, time_point deadline,
                                            tls::resumption& earlier);
  result<pooled_connection*> make_connection(int fd);
  result<void> check_connected(const pooled_connection& fresh, int fd,
                               const socket_address& to) const;
  error describe(error why, const socket_address& to, const std::optional<error>& in_vain) const;
  task<result<int>> open_socket(int family);
  error not_opened(int code) const;
  task<result<void>> greet(pooled_connection& fresh, time_point deadline);
  result<void> check_greeted(const pooled_connection& fresh) const;
  error said_by_protocol(const error& cause) const;
  // In tls_dial.cpp, or in no_tls.cpp in builds without TLS.
  task<result<void>> shake_hands(pooled_connection& fresh, time_point deadline,
                                 tls::resumption& earlier);

  endpoint_facts* facts_;
  std::optional<socket_address> fixed_address_;  // nothing to resolve
  std::shared_ptr<const tls::profile> profile_;  // of tls://, from the first dial on
};

}  // namespace conpool
