#include <vector>

#include <tests/support/nginx_server.h>

namespace conpool::test {
namespace {

std::string block(std::uint16_t port, const std::string& name, const std::string& more) {
  return "server { listen 127.0.0.1:" + std::to_string(port) + " ssl; server_name " + name + ";\n" +
         more + "\nlocation / { return 200 \"" + name +
         " saw $ssl_server_name $ssl_client_s_dn $ssl_session_reused. end\\n\"; } }\n";
}

}  // namespace

std::unique_ptr<server_process> run_nginx(const temporary_folder& files, const std::string& servers,
                                          std::uint16_t port) {
  const std::string folder = files.path().string();
  std::string text =
      "daemon off; master_process off; pid " + folder +
      "/pid; error_log stderr;\nevents { worker_connections 1024; }\nhttp {\naccess_log off;\n";
  for (const char* kind : {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"}) {
    text += std::string(kind) + "_temp_path " + folder + ";\n";
  }
  const std::string file = files.file("nginx.conf", text + servers + "}\n");
  auto server =
      std::make_unique<server_process>(std::vector<std::string>{"nginx", "-p", folder, "-c", file});
  server->wait_for_port(port);
  return server;
}

std::string nginx_server::certified(const authority& root, const std::string& name,
                                    std::int64_t from_s) const {
  const certificate own = root.issue({.common_name = name, .dns = {name}, .from_s = from_s});
  return "ssl_certificate " + files_.file(name + ".pem", own.chain_pem()) +
         "; ssl_certificate_key " + files_.file(name + ".key", own.key_pem) + ";\n";
}

nginx_server::nginx_server(const authority& root, std::int64_t from_s) {
  const std::string own = certified(root, a, from_s);
  const std::string strict =
      "ssl_verify_client on; ssl_client_certificate " + files_.file("root.pem", root.pem()) + ";";
  server_ = run_nginx(files_,
                      block(port_, a, own + "keepalive_timeout 1s;") +
                          block(port_, b, certified(root, b, from_s) + "keepalive_timeout 1s;") +
                          block(strict_port_, a, own + strict) +
                          block(old_port_, a,
                                own + "ssl_protocols TLSv1.2; ssl_session_tickets off; "
                                      "ssl_session_cache shared:old:1m;"),
                      port_);
}

}  // namespace conpool::test
