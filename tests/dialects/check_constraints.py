"""Checks that every numbered constraint of an op has a check and a test.

A description in TableGen numbers its constraints, "(C1) ...". The check stands beside a comment `<op>_c1` in a .cpp or .td
file, and a test function in an `*invalid.mlir` file is named `<op>_c1`, perhaps with a suffix. Prints what is missing.

usage: check_constraints.py SOURCE_DIR
"""
import pathlib
import re
import sys

# Names that would not be unique, as the two dialects have ops of one name, or that no op has.
RENAMED = {"plan.weight": "plan_weight", "plan.state": "plan_state", "plan.!buffer": "buffer_type"}


def constraints(source):
    """Names `<op>_c<n>` of all constraints in the dialects' TableGen files."""
    names = []
    for path in sorted(source.glob("dialects/*/IR/*.td")):
        dialect = path.parent.parent.name.lower()
        for record in re.split(r"^def ", path.read_text(), flags=re.M)[1:]:
            op = re.match(r'\w+ : \w+<"(\w+)"', record)
            mnemonic = re.search(r'let mnemonic = "(\w+)"', record)
            if not op and not mnemonic:
                continue
            op = f"{dialect}.{op[1]}" if op else f"{dialect}.!{mnemonic[1]}"
            op = RENAMED.get(op, op.split(".")[1])
            numbers = set(re.findall(r"\(C(\d+)\)", record))
            for first, last in re.findall(r"\(C(\d+)\) to \(C(\d+)\)", record):
                numbers |= {str(n) for n in range(int(first), int(last) + 1)}
            names += [f"{op}_c{n}" for n in sorted(numbers, key=int)]
    return names


def main():
    source = pathlib.Path(sys.argv[1])
    checks = "".join(p.read_text() for pattern in ("*.cpp", "*.td") for p in source.glob(f"dialects/*/IR/{pattern}"))
    checks = set(re.findall(r"\b\w+_c\d+\b", " ".join(re.findall(r"//.*|/\*.*?\*/", checks))))
    tests = "".join(p.read_text() for p in source.glob("tests/dialects/*/*invalid.mlir"))
    tests = set(re.findall(r"@(\w+?_c\d+)(?:_\w+)?\b", tests))
    names = constraints(source)
    missing = [f"{name}: no {what}" for name in names for what, found in (("check", checks), ("test", tests)) if name not in found]
    missing += [f"{name}: not in a description" for name in sorted((checks | tests) - set(names))]
    print("\n".join(missing) if missing else f"{len(names)} constraints, each with a check and a test")
    return 1 if missing or not names else 0


if __name__ == "__main__":
    sys.exit(main())
