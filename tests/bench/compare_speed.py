#!/usr/bin/env python3
"""Speed beside llama.cpp: runs nemotron-bench and llama-bench in turn and prints medians and ratios.

Only ratios from one run count: machines drift. The peer's binary and model are arguments; nothing of it is built here. A GGUF file of
the same shape is made with PyPI's gguf package; the configs of the shapes are in tests/bench/configs.

  compare_speed.py --nemotron-bench build/bin/nemotron-bench --plan h05.plan --llama-bench PATH --gguf h05.gguf -p 512 -n 64
"""
import argparse
import json
import statistics
import subprocess
import sys


def run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\nexited with {done.returncode}\n{done.stderr}")
    return json.loads(done.stdout)


def ours(args, test, count):
    other = {"-p": "-n", "-n": "-p"}[test]
    results = run([args.nemotron_bench, args.plan, test, str(count), other, "0", "-d", str(args.depth), "-r", "1", "-t",
                   str(args.threads), "--no-peak", "--json"])["results"]
    return next(r for r in results if r["test"].startswith("pp" if test == "-p" else "tg"))["tokens_per_second"]


def peers(args, test, count):
    other = {"-p": "-n", "-n": "-p"}[test]
    results = run([args.llama_bench, "-m", args.gguf, test, str(count), other, "0", "-d", str(args.depth), "-r", "1", "-t",
                   str(args.threads), "-o", "json"])
    return results[0]["avg_ts"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nemotron-bench", required=True)
    parser.add_argument("--plan", required=True)
    parser.add_argument("--llama-bench", required=True)
    parser.add_argument("--gguf", required=True)
    parser.add_argument("-p", type=int, default=512)
    parser.add_argument("-n", type=int, default=64)
    parser.add_argument("-d", "--depth", type=int, default=0)
    parser.add_argument("-t", "--threads", type=int, default=2)
    parser.add_argument("-r", "--rounds", type=int, default=5)
    args = parser.parse_args()
    print("| test | ours tok/s | llama.cpp tok/s | ratio, median of rounds (min to max) |\n|---|---|---|---|")
    for test, count, name in (("-p", args.p, f"pp{args.p}"), ("-n", args.n, f"tg{args.n}")):
        if count == 0:
            continue
        pairs = []
        for round_ in range(args.rounds):  # the order alternates, so that a drift hits both sides
            first, second = (ours, peers) if round_ % 2 == 0 else (peers, ours)
            figures = {f: f(args, test, count) for f in (first, second)}
            pairs.append((figures[ours], figures[peers]))
        ratios = [a / b for a, b in pairs]
        print(f"| {name}{f'@d{args.depth}' if args.depth else ''} | {statistics.median(a for a, _ in pairs):.1f} | "
              f"{statistics.median(b for _, b in pairs):.1f} | {statistics.median(ratios):.2f} "
              f"({min(ratios):.2f} to {max(ratios):.2f}) |", flush=True)


if __name__ == "__main__":
    main()
