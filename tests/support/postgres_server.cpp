#include <tests/support/postgres_server.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pwd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <tests/support/postgres_wire.h>
#include <tests/support/raw_sockets.h>

namespace conpool::test {
namespace {

constexpr int patience_s = 20;
constexpr int look_again_ms = 10;
constexpr int looks_max = patience_s * 1000 / look_again_ms;

// Where Debian has them: the newest of /usr/lib/postgresql/VERSION/bin.
std::filesystem::path programs() {
  std::filesystem::path newest;
  int newest_version = 0;
  std::error_code missing;
  for (const auto& entry : std::filesystem::directory_iterator("/usr/lib/postgresql", missing)) {
    const int version = std::atoi(entry.path().filename().c_str());
    if (version <= newest_version || !std::filesystem::exists(entry.path() / "bin/initdb"))
      continue;
    newest_version = version;
    newest = entry.path() / "bin";
  }
  return newest;
}

const passwd* unprivileged_user() {
  if (::geteuid() != 0) return nullptr;
  const passwd* const own = ::getpwnam("postgres");
  return own != nullptr ? own : ::getpwnam("nobody");
}

std::string program(const char* name) {
  return (programs() / name).string();
}

// One blocking session, from the login to the goodbye.
class outside_session {
 public:
  explicit outside_session(std::uint16_t port)
      : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const timeval patience{patience_s, 0};
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      throw std::runtime_error("PostgreSQL does not listen");
    }
    say(postgres_startup("conpool", "postgres", "outside"));
    static_cast<void>(answer());
  }
  ~outside_session() {
    const std::string goodbye = spell_postgres('X');
    static_cast<void>(::send(fd_.get(), goodbye.data(), goodbye.size(), MSG_NOSIGNAL));
  }

  std::vector<std::string> ask(std::string_view sql) {
    say(spell_postgres('Q', sql));
    return answer();
  }

 private:
  void say(const std::string& bytes) const {
    const ssize_t sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent != static_cast<ssize_t>(bytes.size())) {
      throw std::runtime_error("PostgreSQL does not listen any more");
    }
  }
  std::vector<std::string> answer() {
    std::vector<std::string> rows;
    std::string refused;
    for (;;) {
      while (auto message = take_postgres_message(received_)) {
        if (message->kind == 'D') rows.push_back(postgres_columns(message->body).front());
        if (message->kind == 'E') refused = postgres_error(message->body);
        if (message->kind != 'Z') continue;
        if (!refused.empty()) throw std::runtime_error("PostgreSQL says " + refused);
        return rows;
      }
      char some[4096];
      const ssize_t count = ::recv(fd_.get(), some, sizeof some, 0);
      if (count <= 0) throw std::runtime_error("PostgreSQL hung up. " + refused);
      received_.append(some, static_cast<std::size_t>(count));
    }
  }

  unique_fd fd_;
  std::string received_;
};

}  // namespace

bool postgres_server::is_installed() {
  return !programs().empty();
}

postgres_server::postgres_server(const std::string& certificate, const std::string& key)
    : has_tls_(!key.empty()) {
  if (!is_installed()) throw std::runtime_error("not installed: scripts/deps test");
  if (const passwd* const own = unprivileged_user()) {
    if (::chown(files_.path().c_str(), own->pw_uid, own->pw_gid) != 0) {
      throw std::runtime_error("no folder for PostgreSQL's user");
    }
  }
  const std::string said = (files_.path() / "initdb").string();
  server_process initdb(
      as_its_user({program("initdb"), "-D", (files_.path() / "data").string(), "-U", "conpool",
                   "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"}),
      said);
  if (initdb.wait_for_end() != 0) {
    std::ostringstream why;
    why << std::ifstream(said).rdbuf();
    throw std::runtime_error("initdb failed: " + why.str());
  }
  files_.file("hba", "host all locked 127.0.0.1/32 password\nhost all all 127.0.0.1/32 trust\n");
  if (has_tls_) {
    files_.file("certificate", certificate);
    // It takes only a key that nobody else can read.
    const std::string secret = files_.file("key", key);
    const passwd* const own = unprivileged_user();
    if (::chmod(secret.c_str(), S_IRUSR) != 0 ||
        (own != nullptr && ::chown(secret.c_str(), own->pw_uid, own->pw_gid) != 0)) {
      throw std::runtime_error("no key for PostgreSQL's user");
    }
  }
  start();
  static_cast<void>(ask("create role locked login password 'right'"));
}

// Without the time to say goodbye to its sessions, but it takes its shared memory back.
postgres_server::~postgres_server() {
  try {
    if (server_ == nullptr) return;
    signal_all(SIGCONT);
    server_->signal(SIGQUIT);
    static_cast<void>(server_->wait_for_end());
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): it is killed then
  }
}

std::vector<std::string> postgres_server::as_its_user(std::vector<std::string> words) const {
  const passwd* const own = unprivileged_user();
  if (own == nullptr) return words;
  // The kernel forgets whose end ends the program when that changes its user.
  std::vector<std::string> all{"setpriv",
                               "--reuid=" + std::to_string(own->pw_uid),
                               "--regid=" + std::to_string(own->pw_gid),
                               "--clear-groups",
                               "--pdeathsig",
                               "SIGQUIT",
                               "--"};
  all.insert(all.end(), words.begin(), words.end());
  return all;
}

endpoint postgres_server::at() const {
  return endpoint::parse("tcp://127.0.0.1:" + std::to_string(port_)).value();
}

void postgres_server::start() {
  const std::string folder = files_.path().string();
  std::vector<std::string> words{program("postgres"), "-D", folder + "/data"};
  for (const std::string& setting :
       {std::string("fsync=off"), std::string("listen_addresses=127.0.0.1"),
        "port=" + std::to_string(port_), std::string("unix_socket_directories="),
        "hba_file=" + folder + "/hba", std::string("log_connections=on"),
        std::string("log_disconnections=on"), std::string("max_connections=40"),
        std::string("autovacuum=off"), std::string("shared_buffers=4MB")}) {
    words.emplace_back("-c");
    words.push_back(setting);
  }
  if (has_tls_) {
    for (const std::string& setting :
         {std::string("ssl=on"), "ssl_cert_file=" + folder + "/certificate",
          "ssl_key_file=" + folder + "/key"}) {
      words.emplace_back("-c");
      words.push_back(setting);
    }
  }
  for (int looks = 0; looks < looks_max; ++looks) {
    // One that finds sessions of its killed forerunner ends at once.
    if (server_ == nullptr || server_->has_ended()) {
      server_ = std::make_unique<server_process>(as_its_user(words), folder + "/log");
    }
    try {
      static_cast<void>(ask("select 1"));
      return;
    } catch (const std::runtime_error&) {
      ::poll(nullptr, 0, look_again_ms);
    }
  }
  throw std::runtime_error("PostgreSQL is not ready:\n" + log());
}

std::vector<std::string> postgres_server::ask(std::string_view sql) const {
  outside_session session(port_);
  return session.ask(sql);
}

std::string postgres_server::log() const {
  std::ostringstream all;
  all << std::ifstream(files_.path() / "log").rdbuf();
  return all.str();
}

std::size_t postgres_server::logged(std::string_view text) const {
  const std::string all = log();
  std::size_t count = 0;
  for (std::size_t at = 0; (at = all.find(text, at)) != all.npos; at += text.size()) ++count;
  return count;
}

std::vector<pid_t> postgres_server::sessions() const {
  const std::string own = std::to_string(server_->id());
  std::ifstream listed("/proc/" + own + "/task/" + own + "/children");
  std::vector<pid_t> all;
  for (pid_t child = 0; listed >> child;) all.push_back(child);
  return all;
}

void postgres_server::signal_all(int what) const {
  const std::vector<pid_t> children = sessions();
  server_->signal(what);
  for (const pid_t child : children) ::kill(child, what);
}

void postgres_server::pause() const {
  signal_all(SIGSTOP);
}

void postgres_server::resume() const {
  signal_all(SIGCONT);
}

void postgres_server::kill() {
  const std::vector<pid_t> children = sessions();
  // First the one who makes them.
  server_->signal(SIGKILL);
  for (const pid_t child : children) ::kill(child, SIGKILL);
  static_cast<void>(server_->wait_for_end());
  server_.reset();
}

void postgres_server::restart() {
  if (server_ != nullptr) throw std::logic_error("the server still runs");
  start();
}

}  // namespace conpool::test
