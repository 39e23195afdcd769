MUTANTS = [
    ("a_tampered_record_fails_and_says_so", "tls/detail/boringssl_failure.cpp",
     'found.reason += ", ";', "continue;"),
]
