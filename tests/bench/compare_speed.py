#!/usr/bin/env python3
"""Speed beside llama.cpp, beside the machine's limits, and beside ourselves in another setting: one table, in Markdown.

A row is a ratio of two figures that are measured next to each other, in one process or in two that take turns, and who goes first
changes each round; it is printed as the median of the rounds (min to max), because machines drift and only such ratios count.

  compare_speed.py --nemotron-bench build/bin/nemotron-bench --plans FOLDER \\
                   --llama-bench PATH --llama-batched-bench PATH --ggufs FOLDER --rows tg,pp --json table.json

Rows or groups of rows are chosen with --rows; --list shows them. With --json FILE each row is saved when it is done, and a row that
is there already is printed and not measured again. --asked FILE, a JSON object of row names and numbers, fills the column of what was
asked. Rows whose files are missing are left out, with a note. Nothing is built here: plans are SHAPE-TYPE.plan, as in h05-fp8.plan, by

  nemotron-compile --random-weights tests/bench/configs/h05.json [--quantize fp8-all|int8] -o FOLDER/h05-fp8.plan

and GGUF files of the same shapes and types SHAPE-TYPE.gguf, made with PyPI's gguf package.
"""
import argparse
import dataclasses
import json
import os
import re
import statistics
import subprocess
import sys

BATCH_PROMPT = 8  # tokens that each sequence of llama-batched-bench starts with


class Failure(Exception):
    pass


def run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise Failure(f"{' '.join(command)}\nexited with {done.returncode}\n{done.stderr}")
    return done.stdout


@dataclasses.dataclass(frozen=True)
class Test:
    """What both benchmarks call pp512 or tg64; at a depth @d4096, with several sequences @b8."""
    kind: str
    tokens: int
    depth: int
    batch: int

    @staticmethod
    def parse(name):
        kind, tokens, depth, batch = re.fullmatch(r"(pp|tg)(\d+)(?:@d(\d+))?(?:@b(\d+))?", name).groups()
        return Test(kind, int(tokens), int(depth or 0), int(batch or 1))


@dataclasses.dataclass(frozen=True)
class Nemotron:
    """Runs nemotron-bench on a plan; gives `figures(results by name)`, one or two, of the tests that it names."""
    model: str
    tests: tuple
    figures: object
    unit: str = "tokens/s"
    flags: tuple = ("--no-peak",)

    def files(self, args):
        return [args.nemotron_bench, os.path.join(args.plans or "", f"{self.model}.plan") if args.plans else None]

    def measure(self, args):
        tests = [Test.parse(name) for name in self.tests]

        def values(field):
            return ",".join(map(str, sorted({getattr(test, field) for test in tests})))
        count = {kind: ",".join(sorted({str(t.tokens) for t in tests if t.kind == kind})) or "0" for kind in ("pp", "tg")}
        output = run([*self.files(args), "-p", count["pp"], "-n", count["tg"], "-d", values("depth"), "-b", values("batch"),
                      "-r", "1", "-t", str(args.threads), "--json", *self.flags])
        results = {result["test"]: result for result in json.loads(output)["results"]}
        return self.figures([results[name] for name in self.tests])


@dataclasses.dataclass(frozen=True)
class Llama:
    """Runs llama-bench, or llama-batched-bench for several sequences, on a GGUF file; gives tokens per second."""
    model: str
    test: str
    unit: str = "tokens/s"

    def files(self, args):
        batched = Test.parse(self.test).batch > 1
        return [args.llama_batched_bench if batched else args.llama_bench,
                os.path.join(args.ggufs, f"{self.model}.gguf") if args.ggufs else None]

    def measure(self, args):
        test = Test.parse(self.test)
        binary, model = self.files(args)
        if test.batch > 1:
            output = run([binary, "-m", model, "-c", str((BATCH_PROMPT + test.tokens) * test.batch), "-npp", str(BATCH_PROMPT),
                          "-ntg", str(test.tokens), "-npl", str(test.batch), "-t", str(args.threads), "--output-format", "jsonl"])
            return [next(json.loads(line)["speed_tg"] for line in output.splitlines() if line.startswith("{"))]
        prompt, generate = (test.tokens, 0) if test.kind == "pp" else (0, test.tokens)
        output = run([binary, "-m", model, "-p", str(prompt), "-n", str(generate), "-d", str(test.depth), "-r", "1",
                      "-t", str(args.threads), "-o", "json"])
        return [json.loads(output)[0]["avg_ts"]]


def speed(results):
    return [result["tokens_per_second"] for result in results]


def read_bandwidth(results):
    """Bytes that a token must touch over its time, and what the machine reads, in GB/s."""
    rate, share = results[0]["bytes_per_second"], results[0]["share_of_read_bandwidth"]
    return [rate / 1e9, rate / share / 1e9]


def gemm_peak(results):
    """GFLOP/s of the time in matrix products, and what the machine's dot products of the same types would have reached in it."""
    kernels = [k for k in results[0]["profile"]["kernels"] if re.search("linear|matmul", k["kernel"]) and k["flops"] > 0]
    if not kernels or not all(k.get("share_of_dot_peak") for k in kernels):
        raise Failure("the profile has no matrix products, or no peak beside them")
    seconds = sum(k["seconds"] for k in kernels)
    at_peak = sum(k["seconds"] * k["share_of_dot_peak"] for k in kernels)
    rate = sum(k["flops"] for k in kernels) / seconds / 1e9
    return [rate, rate * seconds / at_peak]


def ours(model, test):
    return Nemotron(model, (test,), speed)


def ourselves(model, test, beside):
    return Nemotron(model, (test, beside), speed)


@dataclasses.dataclass(frozen=True)
class Row:
    name: str  # the group, a dash, the rest
    what: str
    sources: tuple  # which together give two figures


def make_rows():
    rows = []

    def add(name, what, *sources):
        rows.append(Row(name, what, sources))
    for model, test in (("h05-bf16", "tg64"), ("h05-fp8", "tg64"), ("h8-fp8", "tg16")):
        add(f"read-{model}", f"{test}, {model}: bytes touched over time / read bandwidth",
            Nemotron(model, (test,), read_bandwidth, "GB/s", ()))
    for model, peer, test in (("h05-bf16", "h05-bf16", "tg64"), ("h05-fp8", "h05-q8_0", "tg64"), ("h8-fp8", "h8-q8_0", "tg16")):
        add(f"tg-{model}", f"{test}, {model} / llama.cpp {peer}", ours(model, test), Llama(peer, test))
    for model in ("h05-bf16", "h05-fp8", "h05-int8"):
        add(f"gemm-{model}", f"pp512, {model}: matrix products / dot-product peak",
            Nemotron(model, ("pp512",), gemm_peak, "GFLOP/s", ("--profile",)))
    for model, peer in (("h05-bf16", "h05-bf16"), ("h05-fp8", "h05-q8_0"), ("h05-int8", "h05-q8_0")):
        add(f"pp-{model}", f"pp512, {model} / llama.cpp {peer}", ours(model, "pp512"), Llama(peer, "pp512"))
    for model, peer in (("h05-bf16", "h05-bf16"), ("h05-fp8", "h05-q8_0")):
        for test in ("tg64", "pp512"):
            add(f"depth-{test[:2]}-{model}", f"{test}, {model}, at depth 16384 / at 0", ourselves(model, f"{test}@d16384", test))
        add(f"depth-llama-{model}", f"tg64 at depth 16384, {model} / llama.cpp {peer}", ours(model, "tg64@d16384"),
            Llama(peer, "tg64@d16384"))
    for batch in (4, 8, 16):
        test = f"tg64@b{batch}"
        add(f"batch-{batch}", f"tg64, h05-fp8, {batch} sequences / one", ourselves("h05-fp8", test, "tg64"))
        add(f"batch-llama-{batch}", f"tg64, {batch} sequences, h05-fp8 / llama.cpp h05-q8_0", ours("h05-fp8", test),
            Llama("h05-q8_0", test))
    for depth in (16384, 65536):
        test = f"tg64@d{depth}"
        add(f"hybrid-{depth}", f"tg64 at depth {depth}, hybrid h05-fp8 / dense d05-fp8", ours("h05-fp8", test), ours("d05-fp8", test))
    return rows


def choose(rows, names):
    """The rows that are named, or whose group is."""
    chosen = {row.name for row in rows} if names is None else set()
    for name in names or []:
        found = {row.name for row in rows if row.name == name or row.name.startswith(name + "-")}
        if not found:
            raise Failure(f"there is no row or group '{name}' (--list shows them)")
        chosen |= found
    return [row for row in rows if row.name in chosen]


def missing_files(row, args):
    return [str(file) for source in row.sources for file in source.files(args) if file is None or not os.path.exists(file)]


def measure(row, args):
    figures = []
    for round_ in range(args.rounds):  # the order alternates, so that a drift hits both sides
        found = {}
        for source in row.sources[::1 if round_ % 2 == 0 else -1]:
            try:
                found[source] = source.measure(args)
            except (LookupError, StopIteration, TypeError, ValueError, ZeroDivisionError) as error:
                raise Failure(f"{row.name}: '{source.files(args)[0]}' prints something else than expected: {error!r}") from error
        figures.append([figure for source in row.sources for figure in found[source]])
    return {"what": row.what, "unit": row.sources[0].unit, "figures": figures, "ratios": [a / b for a, b in figures]}


def line(name, result, asked):
    first, second = zip(*result["figures"])

    def number(value):
        return f"{value:.0f}" if value >= 1000 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
    ratios = result["ratios"]
    return (f"| {name} | {result['what']} | {'-' if asked is None else f'{asked:.2f}'} | {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f}) | {number(statistics.median(first))} | {number(statistics.median(second))} "
            f"{result['unit']} |")


def read_json(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def write_json(path, value):
    with open(path + ".part", "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1)
    os.replace(path + ".part", path)


def compare(args):
    rows = choose(make_rows(), args.rows)
    if args.list:
        for row in rows:
            print(f"{row.name:24} {row.what}")
        return
    asked = read_json(args.asked) if args.asked else {}
    if unknown := asked.keys() - {row.name for row in make_rows()}:
        raise Failure(f"'{args.asked}' names rows that there are not: {', '.join(sorted(unknown))}")
    done = read_json(args.json) if args.json and os.path.exists(args.json) else {}
    print("| row | ratio | at least | found (min to max) | first | second |\n|---|---|---|---|---|---|", flush=True)
    for row in rows:
        if row.name not in done:
            if missing := missing_files(row, args):
                print(f"{row.name}: left out, there is no {', '.join(missing)}", file=sys.stderr)
                continue
            done[row.name] = measure(row, args)
            if args.json:
                write_json(args.json, done)
        print(line(row.name, done[row.name], asked.get(row.name)), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nemotron-bench")
    parser.add_argument("--plans", metavar="FOLDER")
    parser.add_argument("--llama-bench")
    parser.add_argument("--llama-batched-bench")
    parser.add_argument("--ggufs", metavar="FOLDER")
    parser.add_argument("--rows", type=lambda text: text.split(","), help="names or groups, such as tg,pp-h05-fp8; all by default")
    parser.add_argument("--list", action="store_true", help="print names and meanings of rows, and end")
    parser.add_argument("--asked", metavar="FILE", help="JSON: what is asked of rows, at least")
    parser.add_argument("--json", metavar="FILE", help="figures of all rounds; rows in it are not measured again")
    parser.add_argument("-r", "--rounds", type=int, default=5)
    parser.add_argument("-t", "--threads", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    if args.rounds < 1:
        parser.error("--rounds is below 1")
    try:
        compare(args)
    except (Failure, OSError, ValueError) as error:
        sys.exit(f"compare_speed.py: {error}")


if __name__ == "__main__":
    main()
