// A whole file as a string, or the errno that prevented it. Internal to tls/.
//
// It blocks. A file of more than 64 MiB is refused with EFBIG. May be called on any thread.
#pragma once

#include <expected>
#include <string>

namespace conpool::tls {

std::expected<std::string, int> file_text(const std::string& path);

}  // namespace conpool::tls
