"""Tests of the compiler's IR and commands: each .mlir or .test file says in RUN lines what to run and in CHECK lines
what must come out. Files that need a command which is not built say `REQUIRES: <command>`."""
import os

import lit.formats

config.name = "nemotron"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.excludes = ["data", "Inputs", "CMakeLists.txt"]
config.test_source_root = os.path.join(config.source_dir, "tests")
config.test_exec_root = os.path.join(config.build_dir, "lit")

COMMANDS = ["nemotron-opt", "nemotron-compile", "nemotron-run", "nemotron-inspect", "nemotron-bench"]
LLVM_COMMANDS = ["FileCheck", "count", "not", "split-file"]


def add_command(name, folder):
    """Makes the word `name` in RUN lines the program in `folder`, and a feature of its name."""
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        return
    config.available_features.add(name)
    # A word of its own: not part of a path, an option or a longer name.
    config.substitutions.append((r"(?<![\w/.%-])" + name + r"(?![\w/.-])", path))


for command in COMMANDS:
    add_command(command, os.path.join(config.build_dir, "bin"))
for command in LLVM_COMMANDS:
    add_command(command, config.llvm_bin)
config.substitutions.append((r"(?<![\w/.%-])python3(?![\w/.-])", config.python))
config.substitutions.append(("%data", os.path.join(config.test_source_root, "data")))
config.substitutions.append(("%source_dir", config.source_dir))
config.substitutions.append(("%build_dir", config.build_dir))

for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS", "HOME", "TMPDIR"):
    if name in os.environ:
        config.environment[name] = os.environ[name]
