"""The classes of a C++ source and the size of each, for scripts/tidy.py.

It reads code whose comments and literals are blank, and knows the language as far as declarations
in a class need it: what has parentheses is a method, what has none is a data member. Not counted
are what is deleted or defaulted, friends, types, and what is static and not a function.
"""

import dataclasses
import re

HEAD = re.compile(
    r"(?<![\w<,])(?<!\benum )(class|struct|union)\s+"
    r"(?:\[\[[^\]]*\]\]\s*|alignas\s*\([^)]*\)\s*|CONPOOL_API\s+)*"
    r"(\w+(?:::\w+)*)?(?:\s*<[^;{}()]*>)?\s*(?:\bfinal\b\s*)?(?::(?!:)[^;{}()]*)?\{")
ACCESS = re.compile(r"\s*(public|protected|private)\s*:(?!:)")
NO_MEMBER = re.compile(r"(using|typedef|friend|static_assert|enum)\b")
TYPE = re.compile(r"(class|struct|union|enum)\b")
OPENING = {"(": ")", "[": "]", "{": "}"}


@dataclasses.dataclass
class type_size:
    name: str
    position: int
    public: int = 0  # methods
    methods: int = 0
    members: int = 0
    record: bool = False  # a struct with public data only


def matching(code, opening):
    """The position of the bracket that closes the one at `opening`."""
    open_, close = code[opening], OPENING[code[opening]]
    depth = 0
    for at in range(opening, len(code)):
        depth += (code[at] == open_) - (code[at] == close)
        if depth == 0:
            return at
    return len(code) - 1


def plain(declaration):
    """Without attributes, template parameters and arguments, and what else has parentheses and
    makes no function."""
    text = re.sub(r"\[\[.*?\]\]", " ", declaration, flags=re.S).replace("->", "  ")
    text = re.sub(r"\boperator\s*(?:\(\s*\)|[^\s\w(]+)", "operator", text)
    while True:
        shorter = re.sub(r"<[^<>]*>", " ", text)
        shorter = re.sub(r"\b(alignas|decltype|requires)\s*\([^()]*\)", r" ", shorter)
        if shorter == text:
            return re.sub(r"^\s*template\b|\b(explicit|noexcept)\s*\([^()]*\)", " ", text).strip()
        text = shorter


def classify(declaration):
    """`method`, or the number of data members that it declares."""
    text = plain(declaration)
    if not text or NO_MEMBER.match(text):
        return 0
    function = re.search(r"\(", text)
    if "operator" not in text:
        initializer = re.search(r"=|\{", text)
        pointer = re.search(r"\(\s*(?:\w+\s*::\s*)*[*&]", text)
        if function and initializer and initializer.start() < function.start():
            function = None
        if function and pointer and pointer.start() == function.start():
            function = None
    if function:
        if re.search(r"=\s*(delete|default)\s*$", text):
            return 0
        return "method"
    if re.match(r"(?:(?:inline|constexpr|constinit|thread_local)\s+)*static\b", text):
        return 0
    if TYPE.match(text) and not re.match(r"\w+\s+[\w:]+\s+[\w*&]", text):
        return 0  # declared, not defined
    flat = re.sub(r"\([^()]*\)|\{.*?\}|\[[^\]]*\]", " ", text)
    return flat.count(",") + 1


def declarations(body):
    """The declarations of a class's body and the labels of access, each as a text. Of a function
    with a body or of a nested type, only what is before it, and what is after a type."""
    start = at = 0
    while at < len(body):
        label = ACCESS.match(body, start) if at == start else None
        if label:
            yield label.group(1) + ":"
            start = at = label.end()
            continue
        here = body[at]
        if here in "([":
            at = matching(body, at)
        elif here == "{":
            before = body[start:at]
            end = matching(body, at)
            if TYPE.match(plain(before)) and "(" not in plain(before):
                after = body.find(";", end)
                yield "" if not body[end + 1:after].strip() else "int " + body[end + 1:after]
                start, at = after + 1, after
            elif classify(before) == "method" or NO_MEMBER.match(plain(before)):
                # Not the braces of `: a_{1}, b_{2} {}`, nor of `= {}` among the arguments.
                if not re.match(r"\s*[,{]", body[end + 1:]):
                    yield before
                    start = end + 1
                at = end
            else:
                at = end  # an initializer
        elif here == ";":
            yield body[start:at]
            start = at + 1
        at += 1


def types(code):
    """A type_size for every class, struct and union that is defined in the code."""
    for head in HEAD.finditer(code):
        if re.search(r"\benum\s+$", code[:head.start()]):
            continue
        size = type_size(head.group(2) or "unnamed", head.start())
        access = "private" if head.group(1) == "class" else "public"
        size.record = access == "public"
        body = code[head.end():matching(code, head.end() - 1)]
        for declaration in declarations(body):
            if declaration in ("public:", "protected:", "private:"):
                access = declaration[:-1]
                continue
            found = classify(declaration)
            if found == "method":
                size.methods += 1
                size.public += access == "public"
            else:
                size.members += found
                size.record &= found == 0 or access == "public"
        yield size
