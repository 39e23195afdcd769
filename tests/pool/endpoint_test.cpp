#include <conpool/pool/endpoint.h>
#include <gtest/gtest.h>
#include <sys/un.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_set>
#include <utility>
#include <vector>

#include <tests/support/expect.h>

namespace {

using conpool::endpoint;
using conpool::transport;

static_assert(!std::is_default_constructible_v<endpoint>);
static_assert(std::is_nothrow_move_constructible_v<endpoint>);

endpoint parsed(std::string_view text) {
  auto value = endpoint::parse(text);
  if (!value) throw std::runtime_error(value.error().message());
  return *std::move(value);
}

// The detail of the error that `text` must give.
std::string refused(std::string_view text) {
  const auto value = endpoint::parse(text);
  if (value) {
    ADD_FAILURE() << "'" << text << "' was taken for " << value->text();
    return {};
  }
  EXPECT_EQ(value.error(), conpool::errc::invalid_endpoint);
  EXPECT_EQ(value.error().where(), conpool::phase::configure);
  return std::string(value.error().detail());
}

std::string subject(std::string_view text) {
  const auto value = endpoint::parse(text);
  return value ? "parsed" : std::string(value.error().subject());
}

std::string repeat(std::string_view text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += text;
  return out;
}

// The longest name there may be: four times 62 characters and a dot, and the rest.
std::string longest_host() {
  return repeat(std::string(62, 'a') + ".", 4) + "b";
}

struct network_case {
  const char* text;
  conpool::transport transport;
  const char* host;
  std::uint16_t port;
  bool is_numeric;
  const char* canonical;
};

TEST(endpoint, reads_network_forms_into_their_canonical_text) {
  const network_case cases[] = {
      {"tcp://db:5432", transport::tcp, "db", 5432, false, "tcp://db:5432"},
      {"db:5432", transport::tcp, "db", 5432, false, "tcp://db:5432"},
      {"tls://db:5432", transport::tls, "db", 5432, false, "tls://db:5432"},
      {"TLS://DB.Example:443", transport::tls, "db.example", 443, false, "tls://db.example:443"},
      {"db.example.:1", transport::tcp, "db.example", 1, false, "tcp://db.example:1"},
      {"a_b-c.1d:65535", transport::tcp, "a_b-c.1d", 65535, false, "tcp://a_b-c.1d:65535"},
      {"xn--bcher-kva.example:80", transport::tcp, "xn--bcher-kva.example", 80, false,
       "tcp://xn--bcher-kva.example:80"},
      {"tcp:80", transport::tcp, "tcp", 80, false, "tcp://tcp:80"},
      {"tcp://unix:80", transport::tcp, "unix", 80, false, "tcp://unix:80"},
      {"host:0080", transport::tcp, "host", 80, false, "tcp://host:80"},
      {"127.0.0.1:80", transport::tcp, "127.0.0.1", 80, true, "tcp://127.0.0.1:80"},
      {"127.0.0.1.:80", transport::tcp, "127.0.0.1", 80, true, "tcp://127.0.0.1:80"},
      {"tcp://[::1]:6379", transport::tcp, "::1", 6379, true, "tcp://[::1]:6379"},
      {"[::1]:6379", transport::tcp, "::1", 6379, true, "tcp://[::1]:6379"},
      {"[FE80:0::1%eth0]:80", transport::tcp, "fe80::1%eth0", 80, true, "tcp://[fe80::1%eth0]:80"},
      {"tls://[fe80::1%2]:443", transport::tls, "fe80::1%2", 443, true, "tls://[fe80::1%2]:443"},
      {"tls://[2001:0DB8:0:0::00A1]:443", transport::tls, "2001:db8::a1", 443, true,
       "tls://[2001:db8::a1]:443"},
      {"[::ffff:10.0.0.7]:80", transport::tcp, "::ffff:10.0.0.7", 80, true,
       "tcp://[::ffff:10.0.0.7]:80"},
      {"[0:0:0:0:0:0:0:0]:80", transport::tcp, "::", 80, true, "tcp://[::]:80"},
  };
  for (const auto& one : cases) {
    SCOPED_TRACE(one.text);
    const endpoint value = parsed(one.text);
    EXPECT_EQ(value.transport(), one.transport);
    EXPECT_EQ(value.host(), one.host);
    EXPECT_EQ(value.port(), one.port);
    EXPECT_EQ(value.is_numeric(), one.is_numeric);
    EXPECT_EQ(value.path(), "");
    EXPECT_FALSE(value.is_abstract());
    EXPECT_EQ(value.text(), one.canonical);
    EXPECT_EQ(value.to_string(), one.canonical);
    EXPECT_EQ(parsed(value.text()), value);
  }
}

TEST(endpoint, reads_unix_forms_into_their_canonical_text) {
  struct {
    const char* text;
    const char* path;
    bool is_abstract;
    const char* canonical;
  } const cases[] = {
      {"unix:/run/x.sock", "/run/x.sock", false, "unix:/run/x.sock"},
      {"UNIX:/run/X.sock", "/run/X.sock", false, "unix:/run/X.sock"},
      {"unix:///run/x.sock", "/run/x.sock", false, "unix:/run/x.sock"},
      {"unix://///x", "/x", false, "unix:/x"},
      {"unix:/a b:1@[%", "/a b:1@[%", false, "unix:/a b:1@[%"},
      {"unix:/tmp/\xc3\xa4", "/tmp/\xc3\xa4", false, "unix:/tmp/\xc3\xa4"},
      {"unix:@name", "@name", true, "unix:@name"},
      {"unix:@@", "@@", true, "unix:@@"},
      {"unix:@/", "@/", true, "unix:@/"},
  };
  for (const auto& one : cases) {
    SCOPED_TRACE(one.text);
    const endpoint value = parsed(one.text);
    EXPECT_EQ(value.transport(), transport::unix_socket);
    EXPECT_EQ(value.path(), one.path);
    EXPECT_EQ(value.is_abstract(), one.is_abstract);
    EXPECT_EQ(value.host(), "");
    EXPECT_EQ(value.port(), 0);
    EXPECT_FALSE(value.is_numeric());
    EXPECT_EQ(value.text(), one.canonical);
    EXPECT_EQ(parsed(value.text()), value);
  }
}

// Each text, and words that its detail must have.
const std::vector<std::pair<std::string, std::string>>& nonsense() {
  static const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "the text is empty; write tcp://host:port"},
      {"host", "no port after 'host'"},
      {"host:", "the port after ':' is missing"},
      {"host:99999", "port 99999 is out of range; ports are 1 to 65535"},
      {"host:0", "port 0 is out of range"},
      {"host:65536", "port 65536 is out of range"},
      {"host:18446744073709551696", "port 18446744073709551696 is out of range"},
      {"host:12x", "port '12x' is not a number"},
      {"host:-1", "port '-1' is not a number"},
      {"host:80\n", "port '80\\x0a' is not a number"},
      {"http//x", "'http//x' has a '/' but no scheme"},
      {"://x:80", "the scheme before '://' is missing"},
      {"tcp:/x:80", "two slashes belong after the scheme; write tcp://host:port"},
      {"tls:x:80", "two slashes belong after the scheme; write tls://host:port"},
      {"tcp://", "nothing after 'tcp://'"},
      {"tls://", "nothing after 'tls://'"},
      {"tcp://:80", "the host before ':' is missing"},
      {"tcp://a b:80", "host 'a b' has a space at byte 1"},
      {"tcp://a\tb:80", "host 'a\\x09b' has '\\x09' at byte 1"},
      {"tcp://a*:80", "host 'a*' has '*' at byte 1"},
      {"tcp://b\xc3\xbc:80", "write an international name in its xn-- form"},
      {"tcp://[::1", "'[' without ']'"},
      {"tcp://[::1]", "no port after ']'"},
      {"tcp://[::1]80", "'80' follows ']'"},
      {"tcp://[::1]:", "the port after ':' is missing"},
      {"tcp://[host]:80", "'host' in brackets is not an IPv6 address"},
      {"tcp://[127.0.0.1]:80", "'127.0.0.1' in brackets is not an IPv6 address"},
      {"tcp://[]:80", "'' in brackets is not an IPv6 address"},
      {"tcp://[fe80::1%]:80", "the zone in 'fe80::1%' is not the name or number of an interface"},
      {"tcp://[fe80::1%an-interface-name]:80", "is not the name or number of an interface"},
      {"tcp://[fe80::1%25%30]:80", "is not the name or number of an interface"},
      {"tcp://[fe80::1]:80",
       "needs the interface that it is reached by, as in [fe80::1%eth0]:6379"},
      {"tcp://[2001:db8::1%eth0]:80", "leave '%eth0' out"},
      {"tcp://::1:80", "an IPv6 address needs brackets"},
      {"2001:db8:0:0:0:0:0:1:80", "an IPv6 address needs brackets"},
      {"a:b:80", "'a:b:80' has more than one ':'"},
      {"tcp://host:80/path", "'/path' follows host and port"},
      {"tcp://host:80/", "'/' follows host and port"},
      {"tcp://host:80?a=b", "'?a=b' follows host and port"},
      {"tcp://me:secret@host:80", "credentials before '@'"},
      {"tcp://a..b:80", "host 'a..b' has nothing between two dots"},
      {"tcp://.a:80", "host '.a' has nothing between two dots or before the first"},
      {"tcp://.:80", "host '.' has nothing"},
      {"tcp://a..:80", "host 'a.' has nothing"},
      {"127.1:80", "host '127.1' is neither a name nor an IPv4 address"},
      {"1.2.3.256:80", "host '1.2.3.256' is neither"},
      {"127.0.0.01:80", "host '127.0.0.01' is neither"},
      {"0x7f000001:80", "host '0x7f000001' is neither"},
      {std::string(64, 'a') + ":80", "of the host has 64 bytes; it may have 63"},
      {longest_host() + "b:80", "the host name has 254 bytes; it may have 253"},
      {"unix:", "no path after 'unix:'"},
      {"unix:@", "no name after 'unix:@'"},
      {"unix:run/x", "Unix path 'run/x' is not absolute"},
      {"unix://run/x", "write unix:/run/x"},
      {"unix:/", "Unix path '/' ends in '/' and names a directory"},
      {"unix:///", "Unix path '/' ends in '/'"},
      {"unix:/run/", "Unix path '/run/' ends in '/'"},
      {"unix:/x\n", "Unix path '/x\\x0a' has a control character at byte 2"},
      {"unix:/" + std::string(107, 'a'), "the Unix path has 108 bytes; the kernel takes at most"},
      {"unix:@" + std::string(108, 'a'), "the Unix name has 108 bytes; the kernel takes at most"},
      {std::string("host\0:80", 8), "byte 4 is NUL"},
      {std::string("unix:/a\0b", 9), "byte 7 is NUL"},
  };
  return cases;
}

TEST(endpoint, says_what_is_wrong_with_a_tag_or_a_scheme) {
  const std::pair<std::string, std::string> cases[] = {
      {"http://x:80", "scheme 'http' is unknown; write tcp://host:port"},
      {"rediss://x:80", "scheme 'rediss' is unknown; write tls://host:port"},
      {"quic://x", "scheme 'quic' is unknown; the known ones are tcp://, tls:// and unix:"},
      {"tcp://host:80#", "there is no tag after '#'"},
      {"tcp://host:80#a b", "the tag has ' ' at byte 1"},
      {"tcp://host:80#a#b", "the tag has '#' at byte 1"},
      {"tcp://me:se#cret@host:80", "credentials before '@'"},
      {"host:80#" + std::string(129, 'a'), "the tag has 129 bytes; it may have 128"},
  };
  for (const auto& [text, words] : cases) {
    SCOPED_TRACE(text);
    EXPECT_NE(refused(text).find(words), std::string::npos) << refused(text);
  }
}

TEST(endpoint, says_what_is_wrong_and_what_would_be_right) {
  for (const auto& [text, words] : nonsense()) {
    SCOPED_TRACE(text);
    EXPECT_NE(refused(text).find(words), std::string::npos) << refused(text);
  }
}

TEST(endpoint, gives_each_kind_of_nonsense_its_own_detail) {
  const std::string_view kinds[] = {
      "",           "host",         "host:",           "host:99999",  "host:0",
      "host:12x",   "http//x",      "http://x",        "tcp://",      "tcp://:80",
      "tcp://[::1", "tcp://[::1]",  "tcp://::1:80",    "unix:",       "unix:@",
      "unix:x",     "tcp://a b:80", "tcp://h:80/path", "tcp://a@b:1", "127.1:80",
  };
  std::set<std::string> details;
  for (const auto text : kinds) details.insert(refused(text));
  details.insert(refused("unix:/" + std::string(107, 'a')));
  details.insert(refused(std::string("a\0b", 3)));
  EXPECT_EQ(details.size(), std::size(kinds) + 2);
}

TEST(endpoint, takes_names_as_long_as_the_standards_allow) {
  ASSERT_EQ(longest_host().size(), 253u);
  EXPECT_EQ(parsed(longest_host() + ":65535").host(), longest_host());
  EXPECT_EQ(parsed(longest_host() + ".:1").host(), longest_host());
  EXPECT_EQ(parsed(std::string(63, 'a') + ":1").host().size(), 63u);
}

TEST(endpoint, takes_unix_paths_that_just_fit_the_kernels_address) {
  const endpoint path = parsed("unix:/" + std::string(106, 'a'));
  EXPECT_EQ(path.path().size() + 1, sizeof(sockaddr_un::sun_path));  // and the NUL
  const endpoint name = parsed("unix:@" + std::string(107, 'a'));
  EXPECT_EQ(name.path().size(), sizeof(sockaddr_un::sun_path));  // '@' becomes the NUL
}

TEST(endpoint, names_the_given_text_in_its_errors) {
  EXPECT_EQ(subject("http://x"), "http://x");
  EXPECT_EQ(subject(""), "");
  EXPECT_EQ(subject("a\nb\\\x80\x7f:1"), "a\\x0ab\\\\\\x80\\x7f:1");
  EXPECT_EQ(subject(std::string("a\0", 2)), "a\\x00");
}

TEST(endpoint, cuts_long_text_in_its_errors_after_a_hundred_bytes) {
  EXPECT_EQ(subject(std::string(100, '!')), std::string(100, '!'));
  EXPECT_EQ(subject(std::string(101, '!')), std::string(100, '!') + "...");
  // 25 escapes of 4 bytes fit; with one byte before them, 24 do, and none is cut in two.
  EXPECT_EQ(subject(std::string(30, '\n')), repeat("\\x0a", 25) + "...");
  EXPECT_EQ(subject("!" + std::string(30, '\n')), "!" + repeat("\\x0a", 24) + "...");
  EXPECT_LT(refused("host:" + std::string(100'000, '9')).size(), 300u);
}

TEST(endpoint, keeps_credentials_out_of_its_errors) {
  EXPECT_EQ(subject("redis://me:secret@host:80"), "redis://***@host:80");
  for (const std::string_view text :
       {"redis://me:secret@host:80", "tcp://me:secret@host:80", "me:secret@host:80",
        "tcp://me:se/secret@host:80", "me:pa://secret@host:80", "tls://secret@", "secret@[::1]:1",
        "tcp://a@secret@host:80", "tcp:/me:secret@host:80", "//secret@host:80"}) {
    const auto value = endpoint::parse(text);
    ASSERT_FALSE(value) << text;
    EXPECT_EQ(value.error().message().find("secret"), std::string::npos) << value.error().message();
  }
}

TEST(endpoint, is_equal_when_all_spellings_mean_the_same) {
  const std::vector<std::vector<std::string_view>> groups = {
      {"a.example:80", "tcp://A.Example:80", "TCP://a.example.:080"},
      {"tls://a.example:80", "TLS://A.EXAMPLE.:80"},
      {"a.example:81"},
      {"b.example:80"},
      {"[::1]:80", "tcp://[0:0:0:0:0:0:0:1]:80", "tcp://[::0001]:80"},
      {"127.0.0.1:80", "tcp://127.0.0.1.:80"},
      {"[::ffff:127.0.0.1]:80", "[::FFFF:7f00:1]:80"},
      {"unix:/a", "unix:///a"},
      {"unix:/A"},
      {"unix:@a", "Unix:@a"},
  };
  for (std::size_t i = 0; i < groups.size(); ++i) {
    for (std::size_t j = 0; j < groups.size(); ++j) {
      for (const auto left : groups[i]) {
        for (const auto right : groups[j]) {
          SCOPED_TRACE(std::string(left) + " and " + std::string(right));
          EXPECT_EQ(parsed(left) == parsed(right), i == j);
          EXPECT_EQ(parsed(left).hash() == parsed(right).hash(), i == j);
        }
      }
    }
  }
}

TEST(endpoint, is_a_key_of_unordered_containers) {
  std::unordered_set<endpoint> set;
  for (int port = 1; port <= 1000; ++port) {
    set.insert(parsed("host:" + std::to_string(port)));
    set.insert(parsed("tcp://HOST.:" + std::to_string(port)));
  }
  EXPECT_EQ(set.size(), 1000u);
  EXPECT_TRUE(set.contains(parsed("host:7")));
  EXPECT_FALSE(set.contains(parsed("tls://host:7")));
}

TEST(endpoint, spreads_similar_texts_over_low_and_high_bits_of_its_hash) {
  // 4096 keys in 256 buckets, 16 expected in each: a good hash leaves all between 1 and 48.
  for (const int shift : {0, 28, 56}) {
    std::map<std::uint64_t, int> buckets;
    for (int port = 1; port <= 4096; ++port) {
      ++buckets[(parsed("10.0.0.1:" + std::to_string(port)).hash() >> shift) & 255];
    }
    EXPECT_EQ(buckets.size(), 256u) << shift;
    for (const auto& [bucket, count] : buckets) EXPECT_LE(count, 48) << shift;
  }
}

TEST(endpoint, changes_each_bit_of_its_hash_half_of_the_time_when_one_bit_of_the_text_changes) {
  int flips[64] = {};
  constexpr int pairs = 2'000;
  for (int i = 0; i < pairs; ++i) {
    // An even and the next odd digit differ in their lowest bit only.
    const int even = 1'000 + 2 * i;
    const std::uint64_t changed = parsed("host:" + std::to_string(even)).hash() ^
                                  parsed("host:" + std::to_string(even + 1)).hash();
    for (int bit = 0; bit < 64; ++bit) flips[bit] += static_cast<int>(changed >> bit & 1);
  }
  for (int bit = 0; bit < 64; ++bit) {
    EXPECT_GT(flips[bit], pairs * 4 / 10) << bit;
    EXPECT_LT(flips[bit], pairs * 6 / 10) << bit;
  }
}

TEST(endpoint, copies_and_moves_keep_all_of_it) {
  const endpoint original = parsed("tls://[::1]:443");
  endpoint copy = original;
  EXPECT_NE(copy.text().data(), original.text().data());
  endpoint moved = std::move(copy);
  EXPECT_EQ(moved, original);
  EXPECT_EQ(moved.host(), "::1");
  moved = parsed("unix:@a-name-that-is-longer-than-a-short-string");
  EXPECT_EQ(moved.path(), "@a-name-that-is-longer-than-a-short-string");
  EXPECT_EQ(moved.host(), "");
  copy = original;  // assigned after it was moved from
  EXPECT_EQ(copy, original);
  EXPECT_EQ(copy.host(), "::1");
}

TEST(endpoint, a_tag_is_a_part_of_the_identity_and_of_the_text) {
  const endpoint plain = parsed("tls://DB:5432");
  const endpoint orders = parsed("tls://DB:5432#user=App,db=orders");
  EXPECT_EQ(orders.text(), "tls://db:5432#user=App,db=orders");
  EXPECT_EQ(orders.tag(), "user=App,db=orders");
  EXPECT_EQ(orders.host(), "db");
  EXPECT_EQ(orders.port(), 5432);
  EXPECT_EQ(plain.tag(), "");
  EXPECT_NE(orders, plain);
  EXPECT_NE(orders.hash(), plain.hash());
  EXPECT_EQ(parsed(orders.text()), orders);

  const endpoint same = plain.with_tag("user=App,db=orders").value();
  EXPECT_EQ(same, orders);
  EXPECT_EQ(same.hash(), orders.hash());
  EXPECT_EQ(same.with_tag("other").value().text(), "tls://db:5432#other");
  EXPECT_EQ(same.with_tag("").value(), plain);
  EXPECT_EQ(same.with_tag("").value().hash(), plain.hash());
  EXPECT_EQ(parsed("[::1]:80#a").host(), "::1");

  const auto refused = plain.with_tag("two words");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error(), conpool::errc::invalid_argument);
  EXPECT_EQ(refused.error().subject(), plain.text());
}

TEST(endpoint, the_tag_of_a_unix_socket_is_not_a_part_of_its_path) {
  const endpoint path = parsed("unix:/run/a#b");
  EXPECT_EQ(path.path(), "/run/a#b");
  EXPECT_EQ(path.tag(), "");
  const endpoint tagged = parsed("unix:/run/a").with_tag("b").value();
  EXPECT_EQ(tagged.path(), "/run/a");
  EXPECT_EQ(tagged.tag(), "b");
  EXPECT_EQ(tagged.text(), path.text());
  EXPECT_NE(tagged, path);
  EXPECT_FALSE(parsed("unix:@a").with_tag("b").value().path() == "@a#b");
}

TEST(endpoint, names_its_transports) {
  EXPECT_STREQ(to_string(transport::tcp), "tcp");
  EXPECT_STREQ(to_string(transport::tls), "tls");
  EXPECT_STREQ(to_string(transport::unix_socket), "unix");
  EXPECT_STREQ(to_string(static_cast<conpool::transport>(9)), "unknown");
}

// Pieces of endpoints and awkward bytes, so that many texts are right or almost right.
std::string random_text(std::mt19937_64& random) {
  static const std::string_view pieces[] = {"tcp://", "tls://",  "unix:",
                                            "UNIX:",  "http://", "://",
                                            "/",      "//",      "@",
                                            ":",      "[",       "]",
                                            "::",     "::1",     "1.2.3.4",
                                            "a",      "Bc",      "host",
                                            ".",      "-",       "_",
                                            "80",     ":443",    ":1",
                                            "0",      "65536",   "99999999999999999999",
                                            "x",      " ",       "\n",
                                            "%",      "\\",      "\xff",
                                            "#",      "#tag"};
  static const std::string_view starts[] = {"tcp://", "tls://", "unix:/", "unix:@",
                                            "UNIX:",  "[::1",   "host",   "tcp://a"};
  std::string out;
  if (random() % 4 != 0) out = starts[random() % std::size(starts)];
  const auto count = random() % 6;
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto kind = random() % 16;
    if (kind == 0) {
      out += static_cast<char>(random() % 256);
    } else if (kind == 1) {
      out.append(random() % 260, static_cast<char>('a' + random() % 26));
    } else {
      out += pieces[random() % std::size(pieces)];
    }
  }
  if (random() % 2 == 0) out.append(":").append(std::to_string(random() % 70'000));
  return out;
}

bool is_printable(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c >= 0x20 && c < 0x7f; });
}

void expect_refused_well(const conpool::error& error) {
  EXPECT_EQ(error, conpool::errc::invalid_endpoint);
  EXPECT_GT(error.detail().size(), 20u);
  EXPECT_LT(error.detail().size(), 400u);
  EXPECT_LE(error.subject().size(), 103u);
  EXPECT_TRUE(is_printable(error.message())) << error.message();
}

void expect_taken_well(const endpoint& value) {
  const auto again = endpoint::parse(value.text());
  ASSERT_OK(again);
  EXPECT_EQ(*again, value);
  EXPECT_EQ(again->text(), value.text());
  EXPECT_EQ(again->hash(), value.hash());
  EXPECT_EQ(again->transport(), value.transport());
  EXPECT_EQ(again->host(), value.host());
  EXPECT_EQ(again->port(), value.port());
  EXPECT_EQ(again->path(), value.path());
  EXPECT_EQ(again->is_numeric(), value.is_numeric());
  EXPECT_EQ(value.transport() == transport::unix_socket, value.port() == 0);
  EXPECT_NE(value.host().empty(), value.path().empty());
  EXPECT_LE(value.host().size(), 253u);
  EXPECT_LE(value.path().size(), sizeof(sockaddr_un::sun_path));
}

TEST(endpoint, round_trips_or_refuses_whatever_it_is_given) {
  constexpr std::uint64_t seed = 20'240'229;
  std::mt19937_64 random(seed);
  std::map<transport, int> taken;
  int refused_count = 0;
  for (int i = 0; i < 50'000 && !HasFailure(); ++i) {
    const std::string text = random_text(random);
    SCOPED_TRACE(testing::PrintToString(text) + ", text " + std::to_string(i));
    const auto value = endpoint::parse(text);
    if (value) {
      ++taken[value->transport()];
      expect_taken_well(*value);
    } else {
      ++refused_count;
      expect_refused_well(value.error());
    }
  }
  // The texts must be neither too wild nor too tame to tell anything.
  EXPECT_GT(taken[transport::tcp], 1'000);
  EXPECT_GT(taken[transport::tls], 100);
  EXPECT_GT(taken[transport::unix_socket], 1'000);
  EXPECT_GT(refused_count, 10'000);
}

}  // namespace
