// The bytes of PostgreSQL's protocol, version 3: what a client sends, and how it takes messages out
// of what it has received. No input or output here.
//
//   std::string received = ...;
//   while (auto message = take_postgres_message(received)) ...   // nothing: more has to come
//
// https://www.postgresql.org/docs/15/protocol-message-formats.html
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace conpool::test {

struct postgres_message {
  char kind = 0;  // as the protocol names it: 'Z' is ReadyForQuery, 'E' an error
  std::string body;
};

std::string postgres_startup(std::string_view user, std::string_view database,
                             std::string_view application);
std::string postgres_cancel_request(std::int32_t process, std::int32_t secret);
// A message with a kind: 'Q' with a query, 'X' to end, 'p' with a password.
std::string spell_postgres(char kind, std::string_view text = {});

// Takes the first whole message off the front; nothing if more has to come.
std::optional<postgres_message> take_postgres_message(std::string& received);

std::int32_t postgres_number(std::string_view body, std::size_t at);
// Of a DataRow: its columns, null as an empty text.
std::vector<std::string> postgres_columns(std::string_view body);
// Of an ErrorResponse: "28P01: password authentication failed for user ...".
std::string postgres_error(std::string_view body);

}  // namespace conpool::test
