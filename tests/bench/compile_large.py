#!/usr/bin/env python3
"""Memory and speed of the compiler on a large checkpoint: writes a random one, compiles it, and prints what it took.

  compile_large.py --bin build/bin --config tests/bench/configs/h8.json --work /some/large/folder
"""
import argparse
import json
import os
import pathlib
import subprocess
import time


def timed(command):
    """Seconds and peak resident bytes of a command."""
    start = time.time()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"{' '.join(map(str, command))} failed")
    return time.time() - start, usage.ru_maxrss * 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True, type=pathlib.Path)
    parser.add_argument("--config", required=True)
    parser.add_argument("--work", required=True, type=pathlib.Path)
    args = parser.parse_args()
    checkpoint, plan, copy = args.work / "checkpoint", args.work / "large.plan", args.work / "copy"
    if not checkpoint.exists():
        timed([args.bin / "nemotron-compile", "--random-weights", args.config, "--write-random-checkpoint", checkpoint, "--quiet"])
    shards = list(checkpoint.glob("*.safetensors"))
    size = sum(path.stat().st_size for path in shards)
    largest = 0
    for shard in shards:
        with open(shard, "rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        largest = max(largest, *(info["data_offsets"][1] - info["data_offsets"][0]
                                 for name, info in header.items() if name != "__metadata__"))
    seconds, peak = timed([args.bin / "nemotron-compile", checkpoint, "-o", plan, "--quiet"])
    # What the disk gives: the same bytes read and written with nothing done to them, synced as the plan is.
    start = time.time()
    with open(copy, "wb") as out:
        for shard in shards:
            with open(shard, "rb") as file:
                while chunk := file.read(1 << 24):
                    out.write(chunk)
        out.flush()
        os.fsync(out.fileno())
    copied = time.time() - start
    copy.unlink()
    gib = 1 << 30
    print(f"checkpoint {size / gib:.2f} GiB in {len(shards)} files, largest tensor {largest / gib:.2f} GiB")
    print(f"compile    {seconds:.1f} s, {size / seconds / 1e6:.0f} MB/s, plan {plan.stat().st_size / gib:.2f} GiB")
    print(f"copy       {copied:.1f} s, {size / copied / 1e6:.0f} MB/s")
    print(f"memory     {peak / gib:.2f} GiB peak, {(peak - largest) / gib:+.2f} GiB against the largest tensor")


if __name__ == "__main__":
    main()
