// What a simulated server speaks below its plain bytes: TLS, in tls_wire.h.
//
// One for each connection. Like the library's codec it moves nothing itself; the server sends what
// it is given, in the order in which it was given it.
#pragma once

#include <string>
#include <string_view>

namespace conpool::sim {

class wire {
 public:
  wire() = default;
  wire(const wire&) = delete;
  wire& operator=(const wire&) = delete;
  virtual ~wire() = default;

  // Takes what has arrived. The plain bytes in it are the result; `say` is what has to be sent.
  virtual std::string receive(std::string_view arrived, std::string& say) = 0;
  // What is sent for plain bytes (nothing before it can be), and at an end that the peer can tell
  // from a cut.
  virtual std::string seal(std::string_view plain) = 0;
  virtual std::string farewell() = 0;
  // It wants nothing to do with this client: the server leaves, or says nothing more.
  virtual bool gives_up() const noexcept { return false; }
};

}  // namespace conpool::sim
