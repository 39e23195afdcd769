#include <tests/bogo/not_offered.h>

#include <algorithm>
#include <iterator>

namespace conpool::bogo {
namespace {

struct entry {
  std::string_view flag;
  std::string_view why;
};

constexpr std::string_view datagrams = "DTLS: conpool has streams only";
constexpr std::string_view quic = "QUIC: conpool has streams only";
constexpr std::string_view early_data = "early data: off, as a request may be replayed";
constexpr std::string_view renegotiation = "renegotiation: always refused";
constexpr std::string_view ech = "encrypted ClientHello: not in the stable API of BoringSSL";
constexpr std::string_view channel_id = "channel ID: an experiment that ended";
constexpr std::string_view npn = "NPN: ALPN replaced it";
constexpr std::string_view alps = "application settings: a draft for browsers";
constexpr std::string_view stapling = "stapled responses: a server of conpool's has none";
constexpr std::string_view client_ca = "lists of authorities: a client has one certificate";
constexpr std::string_view callbacks = "callbacks of BoringSSL: conpool has its own";
constexpr std::string_view hints = "handshakes of two processes";
constexpr std::string_view false_start = "false start: not worth the risk since TLS 1.3";
constexpr std::string_view compression = "compressed certificates";
constexpr std::string_view psk = "pre-shared keys";
constexpr std::string_view ciphers = "a choice of ciphers: conpool's list is fixed";
constexpr std::string_view server_clients =
    "clients' certificates: the runner's are out of date, and a server has no `insecure`";
constexpr std::string_view trace = "a trace of BoringSSL's messages";

constexpr entry entries[] = {
    {"-advertise-npn", npn},
    {"-allow-false-start-without-alpn", false_start},
    {"-allow-hint-mismatch", hints},
    {"-allow-unknown-alpn-protos", "protocols that were not offered: always refused"},
    {"-application-settings", alps},
    {"-cbc-record-splitting", "ciphers of CBC: not secure"},
    {"-cipher", ciphers},
    {"-decline-ocsp-callback", callbacks},
    {"-defer-alps", alps},
    {"-delegated-credential", "delegated credentials"},
    {"-dtls", datagrams},
    {"-early-write-after-message", early_data},
    {"-ech-config-list", ech},
    {"-ech-is-retry-config", ech},
    {"-ech-server-config", ech},
    {"-ech-server-key", ech},
    {"-enable-channel-id", channel_id},
    {"-enable-early-data", early_data},
    {"-expect-accept-early-data", early_data},
    {"-expect-advertised-alpn", "a check of the client's protocols by a callback"},
    {"-expect-certificate-types", client_ca},
    {"-expect-channel-id", channel_id},
    {"-expect-client-ca-list", client_ca},
    {"-expect-delegated-credential-used", "delegated credentials"},
    {"-expect-early-data-reason", early_data},
    {"-expect-ech-accept", ech},
    {"-expect-ech-name-override", ech},
    {"-expect-ech-retry-configs", ech},
    {"-expect-msg-callback", trace},
    {"-expect-next-proto", npn},
    {"-expect-no-ech-name-override", ech},
    {"-expect-no-ech-retry-configs", ech},
    {"-expect-no-offer-early-data", early_data},
    {"-expect-peer-application-settings", alps},
    {"-expect-peer-verify-pref", callbacks},
    {"-expect-quic-transport-params", quic},
    {"-expect-reject-early-data", early_data},
    {"-expect-sha256-client-cert", server_clients},
    {"-expect-ticket-supports-early-data", early_data},
    {"-expect-total-renegotiations", renegotiation},
    {"-fail-cert-callback", callbacks},
    {"-fail-ddos-callback", callbacks},
    {"-fail-early-callback", callbacks},
    {"-fail-ocsp-callback", callbacks},
    {"-false-start", false_start},
    {"-forbid-renegotiation-after-handshake", renegotiation},
    {"-handoff", hints},
    {"-handshake-hints", hints},
    {"-handshake-twice", "a handshake that is done twice: an assertion of the channel"},
    {"-handshaker-path", hints},
    {"-handshaker-resume", hints},
    {"-initial-timeout-duration-ms", datagrams},
    {"-install-cert-compression-algs", compression},
    {"-install-ddos-callback", callbacks},
    {"-install-one-cert-compression-alg", compression},
    {"-jdk11-workaround", "a workaround for servers of old Java clients"},
    {"-max-send-fragment", "smaller records: the channel's are as large as what is written"},
    {"-mtu", datagrams},
    {"-no-op-extra-handshake", "a handshake that is done twice: an assertion of the channel"},
    {"-ocsp-response", stapling},
    {"-on-handshaker", hints},
    {"-on-retry", early_data},  // whatever it is that is set for the second try
    {"-peek-then-read", "peeking: the channel has none"},
    {"-psk", psk},
    {"-psk-identity", psk},
    {"-quic", quic},
    {"-quic-early-data-context", quic},
    {"-quic-transport-params", quic},
    {"-quic-use-legacy-codepoint", quic},
    {"-read-with-unfinished-write", "half a record written: the channel writes whole ones only"},
    {"-renegotiate-explicit", renegotiation},
    {"-renegotiate-freely", renegotiation},
    {"-renegotiate-ignore", renegotiation},
    {"-renegotiate-once", renegotiation},
    {"-renew-ticket", callbacks},
    {"-require-any-client-certificate", server_clients},
    {"-retain-only-sha256-client-cert", server_clients},
    {"-select-empty-alpn", "an empty protocol chosen by a callback"},
    {"-select-next-proto", npn},
    {"-send-alert", "alerts at the user's will"},
    {"-send-channel-id", channel_id},
    {"-server-preference", ciphers},
    {"-set-ocsp-in-callback", callbacks},
    {"-signed-cert-timestamps", stapling},
    {"-srtp-profiles", datagrams},
    {"-use-client-ca-list", client_ca},
    {"-use-early-callback", callbacks},
    {"-use-exporter-between-reads", renegotiation},
    {"-use-ocsp-callback", callbacks},
    {"-use-old-client-cert-callback", callbacks},
    {"-use-ticket-callback", callbacks},
    {"-verify-peer-if-no-obc", channel_id},
};

}  // namespace

std::string_view why_not_offered(std::string_view flag) {
  const auto* found = std::ranges::find(entries, flag, &entry::flag);
  return found != std::end(entries) ? found->why : std::string_view();
}

}  // namespace conpool::bogo
