"""Holds a lock with kazoo again and again, and says when it did.

Arguments: hosts, lock, how often. Times are CLOCK_MONOTONIC in nanoseconds, as in Locklab's histories.
"""

import sys
import time

from kazoo.client import KazooClient

hosts, path, holds = sys.argv[1], sys.argv[2], int(sys.argv[3])
client = KazooClient(hosts)
client.start(timeout=30)
# As Curator names its nodes, and so do we: without it, kazoo sees only those of its own kind.
lock = client.Lock(path, extra_lock_patterns=["-lock-"])
for _ in range(holds):
    with lock:
        began = time.monotonic_ns()
        time.sleep(0.005)
        print(began, time.monotonic_ns(), flush=True)
client.stop()
