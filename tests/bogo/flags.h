// What BoGo's runner wants of one connection, as its command line says it.
//
// What conpool does not offer is refused with a reason (not_offered.h), and a flag that nobody
// knows is an error: nothing is silently ignored. Flags that name what the channel always does
// (verify again on resumption), or the only way in which it does it, change nothing.
#pragma once

#include <expected>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace conpool::bogo {

struct settings {
  int port = 0;
  int resume_count = 0;
  bool server = false;
  std::string write_settings;  // read by main

  // The configuration of the end.
  int min_version = 0;
  int max_version = 0;
  bool no_tls12 = false;
  bool no_tls13 = false;
  std::string host_name;
  std::optional<std::string> advertise_alpn;
  std::string select_alpn;
  bool decline_alpn = false;
  bool reject_alpn = false;
  std::vector<int> curves;
  std::string key_file;
  std::string cert_file;
  std::string ticket_key;
  bool verify_peer = false;
  bool custom_verify = false;
  bool verify_fail = false;

  // Set on the SSL object, as a user of the channel may.
  bool no_ticket = false;
  bool enable_ocsp_stapling = false;
  bool enable_signed_cert_timestamps = false;
  bool enforce_rsa_key_usage = false;  // the channel always does
  bool enable_grease = false;
  bool enable_ech_grease = false;
  bool permute_extensions = false;
  bool fallback_scsv = false;
  int max_cert_list = 0;
  std::vector<int> verify_prefs;
  std::vector<int> signing_prefs;

  // What it does.
  bool async = false;  // a byte at a time, through small record buffers
  bool shim_writes_first = false;
  bool shim_shuts_down = false;
  bool check_close_notify = false;
  bool write_different_record_sizes = false;
  bool key_update = false;
  int read_size = 0;
  int resumption_delay = 0;
  int export_keying_material = 0;
  std::string export_label;
  std::string export_context;
  bool use_export_context = false;
  bool export_traffic_secrets = false;
  bool tls_unique = false;

  // What is to be seen.
  int expect_version = 0;
  int expect_curve_id = 0;
  int expect_peer_signature_algorithm = 0;
  int expect_cipher = 0;
  int expect_cipher_aes = 0;
  int expect_cipher_no_aes = 0;
  std::string expect_alpn;
  std::string expect_server_name;
  std::string expect_peer_cert_file;
  int expect_ticket_age_skew = 0;
  bool expect_session_miss = false;
  bool expect_no_session = false;
  bool expect_ticket_renewal = false;
  bool expect_session_id = false;
  bool expect_no_session_id = false;
  bool expect_extended_master_secret = false;
  bool expect_secure_renegotiation = false;
  bool expect_no_secure_renegotiation = false;
  bool expect_verify_result = false;
  std::string expect_ocsp_response;
  std::string expect_signed_cert_timestamps;
  bool expect_hrr = false;
  bool expect_no_hrr = false;
  bool handshake_never_done = false;
  bool handshaker_asked = false;  // whether there is a second process for handshakes: no
};

struct command_line {
  settings first;    // of the first connection
  settings resumed;  // of the others
};

// Why a case is not run.
struct refusal {
  bool is_error = false;  // of the shim: the flag is not known at all
  std::string why;
};

std::expected<command_line, refusal> parse(std::span<char*> arguments);

}  // namespace conpool::bogo
