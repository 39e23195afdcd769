# Shared by the scripts that build, which source it. Each defines
# `failed STEP ADVICE`, which says that a step failed and what to do, and ends the script.

root=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")

# install GROUP...: the packages, see scripts/deps.
install() {
  "$root/scripts/deps" "$@" ||
    failed "installing packages" "See the message above; then run this again."
}

# configure DIR OPTION...: makes the build folder. One that was made with the same
# options is kept (ninja itself notices a changed meson.build); another is made anew. BoringSSL is
# Debian's, so that tests and figures do not depend on a network.
configure() {
  local dir=$1 stamp=$1/conpool-options made_with
  shift
  made_with="$(meson --version) ${CXX:-} $root $*"
  if [[ -f $dir/build.ninja && -f $stamp && $(<"$stamp") == "$made_with" ]]; then
    return
  fi
  rm -rf "$dir"
  meson setup "$dir" "$root" -Dboringssl=debian "$@" ||
    failed "configuring" "Meson's message is above, its log is $dir/meson-logs/meson-log.txt."
  printf '%s\n' "$made_with" >"$stamp"
}

# configure_sanitized DIR: as the tests are built, with Address- and UndefinedBehaviorSanitizer.
# Most of the time would go into the standard library's headers and into optimizing what the
# sanitizers add: so tests and benchmarks are compiled in units of eight files, and not optimized.
configure_sanitized() {
  # -Db_lundef=false: the sanitizers' symbols come from the program, not the library.
  configure "$1" --buildtype=debug --unity=on --unity-size=8 -Dwerror=true -Ddefault_library=both \
    -Db_sanitize=address,undefined -Db_lundef=false \
    "-Dcpp_args=-D_GLIBCXX_ASSERTIONS -fno-sanitize-recover=all"
}

# compile DIR
compile() {
  ninja -C "$1" || failed "building" "The compiler's message is above."
}
