"""Holds a lock with redlock-py again and again, and says when it did.

Arguments: URLs separated by commas, lock, how often. Times are CLOCK_MONOTONIC in nanoseconds, as in
Locklab's histories.
"""

import sys
import time

import redlock

urls, name, holds = sys.argv[1].split(","), sys.argv[2], int(sys.argv[3])
client = redlock.Redlock(urls, retry_count=10_000, retry_delay=0.003)
for _ in range(holds):
    lock = client.lock(name, 30_000)
    began = time.monotonic_ns()
    time.sleep(0.005)
    print(began, time.monotonic_ns(), flush=True)
    client.unlock(lock)
