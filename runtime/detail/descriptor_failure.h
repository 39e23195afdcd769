// Why a descriptor could not be opened, in words for a person who can change it.
//
//   if (fd < 0) return fail(descriptor_failure(fd, errc::connect_failed,
//   phase::connect).about(name));
#pragma once

#include <conpool/runtime/error.h>

namespace conpool {

// For a negative errno value: too_many_files for EMFILE and ENFILE, with the limit that was reached
// and how it is raised; out_of_memory for ENOMEM and ENOBUFS; `otherwise` for any other.
error descriptor_failure(int code, errc otherwise, phase where);

}  // namespace conpool
