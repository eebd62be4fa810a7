"""Counts the system calls of the generators with local destinations: what is needed once must not happen per record.

Usage: system_calls.py BINARIES   (needs strace)
"""

import collections
import pathlib
import subprocess
import sys
import tempfile

binaries = pathlib.Path(sys.argv[1]).resolve()
failures = 0


def count(program, **variables):
    """Runs `program`. Returns the number of system calls by name, and what it left in its directory."""
    with tempfile.TemporaryDirectory() as directory:
        trace = pathlib.Path(directory, "trace")
        data = pathlib.Path(directory, "data")
        settings = {key: str(value).replace("DIRECTORY", str(data)) for key, value in variables.items()}
        command = ["strace", "--follow-forks", "--summary-only", "--summary-columns=calls,name", f"--output={trace}"]
        subprocess.run([*command, binaries / program], env=settings, check=True, capture_output=True)
        calls = collections.Counter()
        for line in trace.read_text().splitlines():
            number, _, name = line.strip().partition(" ")
            if number.isdigit() and name.strip() != "total":
                calls[name.strip()] = int(number)
        files = [path for path in data.rglob("*") if path.is_file()]
        return calls, sum(path.stat().st_size for path in files), len(files)


def check(what, units, calls, limits, total):
    """Compares the calls per unit with `limits` by name, and all calls per unit with `total`."""
    global failures
    print(f"{what}: {sum(calls.values()) / units:.3f} system calls per unit")
    for name, number in calls.most_common(8):
        print(f"    {name}: {number / units:.4f}")
    over = [name for name, limit in limits.items() if calls[name] / units > limit]
    if sum(calls.values()) / units > total:
        over.append("all")
    if over:
        failures += 1
        print(f"    above the limit: {', '.join(over)}")

products = 4_000
calls, _, files = count("gen-products", LAKE_URL="file://DIRECTORY", COUNT=products)
assert files == products + 1, files
# One call each to create, write, close and rename the file, and one to verify it.
once = dict.fromkeys(["openat", "write", "close", "rename", "statx"], 1.1)
never = dict.fromkeys(["read", "lseek", "flock", "getpid", "sched_getaffinity", "fsync"], 0.05)
check("gen-products, per product", products, calls, once | never, 6)

calls, size, _ = count("gen-users", LAKE_URL="file://DIRECTORY", COUNT=100_000, VIP_COUNT=0)
# Blocks of 256 KiB.
blocks = size / (256 << 10)
check("gen-users, per block", blocks, calls, {"write": 1.3, "openat": 0.3, "flock": 0.1}, 30)

sessions = 20_000
settings = {"SESSIONS": sessions, "SESSION_PAUSE_MEAN": 0, "SESSION_PAUSE_STDDEV": 0, "CONCURRENT_USERS": 50}
calls, _, _ = count("stream-pageviews", STREAM_URL="file://DIRECTORY", SEED=1, **settings)
check("stream-pageviews, per session", sessions, calls, {"write": 0.1, "flock": 0.1, "statx": 0.1}, 1)

settings = {"STREAM_FROM": "2025-01-01", "STREAM_TO": "2025-01-02", "CONCURRENT_USERS": 25}
calls, _, _ = count("stream-pageviews", STREAM_URL="file://DIRECTORY", SEED=1, **settings)
# A session every ten seconds per source.
check("stream-pageviews, backfill, per session", 86_400 / 10 * 25, calls, {"write": 0.1, "flock": 0.1, "statx": 0.1}, 1)

sys.exit(1 if failures else 0)
