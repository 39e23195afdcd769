// What BoGo asks for that conpool does not offer, and why a case that needs it is not run.
#pragma once

#include <string_view>

namespace conpool::bogo {

// The reason; empty for a flag that is not one of them.
std::string_view why_not_offered(std::string_view flag);

}  // namespace conpool::bogo
