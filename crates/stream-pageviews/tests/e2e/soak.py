"""Full speed for ten minutes: memory flat, nothing lost.

The broker is librdkafka's mock cluster in a process of its own (`cargo build --release --example mock-broker`),
which keeps only the last megabytes of each partition: at full speed a broker that keeps its log in memory would
have filled this machine's long before. It can therefore not be read back; what counts is what it acknowledged.
"""

import argparse
import pathlib
import statistics
import subprocess
import tempfile
import time

from lab import Generator


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", type=pathlib.Path, required=True, help="directory of the built binaries")
    parser.add_argument("--minutes", type=float, default=10)
    arguments = parser.parse_args()
    bin_dir = arguments.bin.resolve()
    with tempfile.TemporaryDirectory() as directory:
        work = pathlib.Path(directory)
        broker = subprocess.Popen([bin_dir / "examples" / "mock-broker"], stdout=subprocess.PIPE, text=True)
        generator = Generator(
            bin_dir,
            work / "soak.log",
            KAFKA_BOOTSTRAP_SERVERS=broker.stdout.readline().strip(),
            SESSION_PAUSE_MEAN=0,
            SEED=1,
        )
        started = time.monotonic()
        memory = []
        while time.monotonic() - started < arguments.minutes * 60:
            time.sleep(10)
            assert generator.process.poll() is None, generator.text()
            memory.append(generator.rss())
            if len(memory) % 6 == 0:
                print(f"{time.monotonic() - started:5.0f} s: {memory[-1] / 1024:.1f} MiB", flush=True)
        peak = generator.peak_rss()
        assert generator.stop() == 0, generator.text()
        broker.kill()
        (done,) = generator.events("done")
        assert done["lost"] == 0 and done["delivered"] == done["pageviews"] + done["stars"], done
        # The first minute fills the queue; from then on memory swings with the queue, but must not grow.
        settled = memory[min(6, len(memory) - 1) :]
        print(
            f"{done['delivered']} messages in {done['seconds']:.0f} s ({done['messages_per_second']:.0f}/s), none lost; "
            f"resident {min(settled) / 1024:.1f} to {max(settled) / 1024:.1f} MiB after the first minute, "
            f"peak {peak / 1024:.1f} MiB"
        )
        third = max(1, len(settled) // 3)
        early, late = statistics.median(settled[:third]), statistics.median(settled[-third:])
        assert late < 1.05 * early, settled


if __name__ == "__main__":
    main()
