"""Holds a lock with `etcdctl lock` again and again, and says when it did.

Arguments: endpoints, lock, how often. Times are CLOCK_MONOTONIC in nanoseconds, as in Locklab's histories.
"""

import os
import subprocess
import sys

endpoints, name, holds = sys.argv[1], sys.argv[2], int(sys.argv[3])
hold = "import time; began = time.monotonic_ns(); time.sleep(0.005); print(began, time.monotonic_ns())"
etcdctl = ["etcdctl", "--endpoints", endpoints, "lock", name, "--", sys.executable, "-c", hold]
for _ in range(holds):
    subprocess.run(etcdctl, check=True, env={**os.environ, "ETCDCTL_API": "3"})
