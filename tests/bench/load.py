#!/usr/bin/env python3
"""How soon the first token comes: from a cold page cache beside a plain read of the file, and from a warm one; and peak memory.

A round drops the file from the page cache, reads it in order with read(2); drops it again, runs nemotron-run for one token, start to
exit; and runs it once more. Every second round starts with nemotron-run. Prints medians, and smallest to largest.

  load.py --nemotron-run build/bin/nemotron-run h05.plan h8.plan

Where a host caches the disk of a virtual machine, cold means cold for the guest only.
"""
import argparse
import ctypes
import json
import mmap
import os
import statistics
import subprocess
import sys
import tempfile
import time

READ_BYTES = 1 << 20


def resident_share(path):
    """Share of the file's pages that are in the page cache."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    size = os.path.getsize(path)
    pages = ctypes.create_string_buffer((size + mmap.PAGESIZE - 1) // mmap.PAGESIZE)
    with open(path, "rb") as file:
        address = libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(), 0)
    if libc.mincore(address, size, pages) != 0:
        raise OSError(ctypes.get_errno(), "mincore")
    libc.munmap(address, size)
    return sum(byte & 1 for byte in pages.raw) / len(pages.raw)


def make_cold(path):
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)  # dirty pages stay otherwise
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)
    share = resident_share(path)
    if share > 0.01:
        sys.exit(f"{share:.0%} of '{path}' stays in the page cache: does another process map it?")


def plain_read(path):
    """Seconds."""
    make_cold(path)
    buffer = bytearray(READ_BYTES)
    start = time.perf_counter()
    with open(path, "rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
    return time.perf_counter() - start


def first_token(command):
    """Seconds from start to exit and peak resident bytes."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{' '.join(command)}\nfailed")
    return time.perf_counter() - start, usage.ru_maxrss * 1024


def measure(args, plan, ids):
    command = [args.nemotron_run, plan, "--prompt-ids", ids, "-n", "1", "--temperature", "0", "--json"]
    report = subprocess.run([args.nemotron_run, plan, "--memory", "--json"], capture_output=True, text=True, check=True)
    weight_bytes = json.loads(report.stdout)["weight_bytes"]
    found = {"plain_read_s": [], "cold_s": [], "warm_s": [], "cold_over_read": [], "resident_over_weights": []}
    for round_ in range(args.rounds):
        def cold():
            make_cold(plan)
            seconds, _ = first_token(command)
            found["cold_s"].append(seconds)
            seconds, peak = first_token(command)
            found["warm_s"].append(seconds)
            found["resident_over_weights"].append(peak / weight_bytes)
        first, second = (lambda: found["plain_read_s"].append(plain_read(plan)), cold)[::1 if round_ % 2 == 0 else -1]
        first()
        second()
        found["cold_over_read"].append(found["cold_s"][-1] / found["plain_read_s"][-1])
    return {"plan": plan, "file_bytes": os.path.getsize(plan), "weight_bytes": weight_bytes, **found}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nemotron-run", required=True)
    parser.add_argument("plans", nargs="+", metavar="PLAN")
    parser.add_argument("-r", "--rounds", type=int, default=5)
    parser.add_argument("--json", metavar="FILE", help="write all figures there, too")
    args = parser.parse_args()
    results = []
    print("| plan | GB | plain read s | GB/s | first token, cold s | cold / read | first token, warm s | peak resident / weights |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.NamedTemporaryFile("w", suffix=".json") as ids:
        ids.write("[1]")
        ids.flush()
        for plan in args.plans:
            results.append(r := measure(args, plan, ids.name))

            def text(name, form="{:.2f}"):
                values = r[name]
                return f"{form} ({form} to {form})".format(statistics.median(values), min(values), max(values))
            gigabytes = r["file_bytes"] / 1e9
            print(f"| {os.path.basename(plan)} | {gigabytes:.2f} | {text('plain_read_s')} | "
                  f"{gigabytes / statistics.median(r['plain_read_s']):.2f} | {text('cold_s')} | {text('cold_over_read')} | "
                  f"{text('warm_s')} | {text('resident_over_weights')} |", flush=True)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
