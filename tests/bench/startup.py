#!/usr/bin/env python3
"""Time from start to exit of nemotron-run on a plan: load, one prompt token, one generated. Median of 21 runs.

  startup.py build/bin/nemotron-run build/nemotron-h-tiny.plan
"""
import statistics
import subprocess
import sys
import time

times = []
for _ in range(21):
    start = time.perf_counter()
    subprocess.run([sys.argv[1], sys.argv[2], "--prompt", "A", "-n", "1", "--temperature", "0"], check=True, capture_output=True)
    times.append((time.perf_counter() - start) * 1000)
print(f"start to exit: median {statistics.median(times):.0f} ms, {min(times):.0f} to {max(times):.0f}")
