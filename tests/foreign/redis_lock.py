"""Holds a lock with redis-py's own client again and again, and says when it did.

Arguments: URL, lock, how often. Times are CLOCK_MONOTONIC in nanoseconds, as in Locklab's histories.
"""

import sys
import time

import redis

url, name, holds = sys.argv[1], sys.argv[2], int(sys.argv[3])
client = redis.Redis.from_url(url)
for _ in range(holds):
    lock = client.lock(name, timeout=30, sleep=0.001)
    lock.acquire()
    began = time.monotonic_ns()
    time.sleep(0.005)
    print(began, time.monotonic_ns(), flush=True)
    lock.release()
