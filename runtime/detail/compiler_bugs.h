// What g++ 12 gets wrong about coroutines, where the library can notice it.
//
// An object that is made of a list of values (an aggregate in braces, a lambda with captures) and
// that stands in the same full expression as a co_await is copied bit by bit, and both copies are
// destroyed. No signature of the callee changes that, because it happens in the caller's frame. So
// functions whose result is awaited refuse at compile time to be given such a temporary as the
// function to run, if its destructor does anything:
//
//   template <typename F>
//   auto gather(F&& function) {
//     detail::check_beside_co_await<F>();
//
// They cannot tell it from a named object that is moved, which would be safe, and refuse that, too.
// Classes with constructors are safe, and of these only what cannot be assigned to is refused: a
// lambda cannot, nor what holds one. Other compilers refuse nothing. The other bug that the library
// can see, a wrong frame, is asserted where a task begins (task.h). docs/COROUTINES.md has the
// rules, tests/runtime/compiler_canary_test.cpp the bugs.
#pragma once

#include <type_traits>

namespace conpool::detail {

#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ <= 12
inline constexpr bool temporaries_are_destroyed_twice = true;
#else
inline constexpr bool temporaries_are_destroyed_twice = false;
#endif

// `F` as it is deduced for a parameter `F&&`: a reference if the argument has a name.
template <typename F>
concept destroyed_twice = !std::is_reference_v<F> && !std::is_trivially_destructible_v<F> &&
                          (std::is_aggregate_v<F> || !std::is_move_assignable_v<F>);

template <typename F>
consteval void check_beside_co_await() {
  static_assert(!temporaries_are_destroyed_twice || !destroyed_twice<F>,
                "g++ 12 destroys this temporary twice if it stands beside a co_await: capture by "
                "reference, as in [&key], or name it in a statement of its own and pass it without "
                "std::move (docs/COROUTINES.md, rule 2)");
}

}  // namespace conpool::detail
