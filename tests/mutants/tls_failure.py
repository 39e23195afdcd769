MUTANTS = [
    ("a_tampered_record_fails_and_says_so", "conpool/tls/failure.cpp",
     'found.reason += ", ";', "continue;"),
]
