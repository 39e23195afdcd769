// Checks that the functions that conpool calls are BoringSSL's.
//
// BoringSSL's functions have the names of OpenSSL's. A program that also links OpenSSL can leave us
// with half of each: SSL_CTX_new of the one and TLS_with_buffers_method of the other, which is
// undefined behaviour in the middle of a handshake. The check is made once a process, before the
// first trust store, profile or shard_resources. If it fails, every attempt to make one fails with
// the reason, and the rest of conpool works.
//
// May be called on any thread.
//
// The ways out: a BoringSSL whose names have a prefix, as those have that conpool takes by itself,
// or a program without OpenSSL. So only a build with -Dboringssl=PREFIX can get here.
#pragma once

#include <conpool/runtime/error.h>

namespace conpool::tls {

// Errors: unsupported; the detail names a function and the file that it was bound to, beside one
// that only BoringSSL has and its file.
result<void> symbol_check();

}  // namespace conpool::tls
