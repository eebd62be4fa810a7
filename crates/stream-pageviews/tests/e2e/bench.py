"""Measures the speed of stream-pageviews in ratios to its peers with the same broker in the same run.

The broker is Apache Kafka, with its log on this machine's disk. All programs send the same bodies uncompressed, with
the same acks, idempotence, linger and batch size:

- kcat (Debian's package), a C program with librdkafka, with prepared messages and keys in a file, once with three
  headers as long as ours and once without headers;
- kafka-producer-perf-test, which is part of Apache Kafka, with prepared messages without keys in a file;
- confluent-kafka's C producer (the same librdkafka as ours) from Python, with prepared messages in memory and no
  callback per message;
- the article's loop in Python: produce, then flush, message by message.

The peers and stream-pageviews take turns, each with empty topics; the result is the median of the rounds. Throughput is
the number of messages divided by the time from the first message to the last acknowledgement, without connecting; for
kcat, which does not report this time, it is the time of the whole process. stream-pageviews generates its messages in
that time, while the messages of the peers are prepared. CPU time is that of the whole process. The messages of
stream-pageviews have three headers; those of kafka-producer-perf-test and Python have none.
"""

import argparse
import json
import os
import pathlib
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time

from broker import Broker
from lab import expected

SETTINGS = {
    "acks": "all",
    "enable.idempotence": "true",
    "linger.ms": "20",
    "batch.size": "900000",
    "partitioner": "murmur2_random",
}

HEADERS = ("event_time", "session_id", "event_id")

PYTHON_LOAD = """
import sys, time
from confluent_kafka import Producer
address, file = sys.argv[1:]
lines = [line.rstrip(b"\\n").split(b"\\t", 1) for line in open(file, "rb")]
producer = Producer({"bootstrap.servers": address, **%r})
producer.list_topics(timeout=10)
started = time.monotonic()
for key, value in lines:
    while True:
        try:
            producer.produce("pageviews", value, key)
            break
        except BufferError:
            producer.poll(0.01)
assert producer.flush() == 0
print(time.monotonic() - started)
"""

PYTHON_ARTICLE = """
import sys, time
from confluent_kafka import Producer
address, file, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
lines = [line.rstrip(b"\\n").split(b"\\t", 1)[1] for line, _ in zip(open(file, "rb"), range(count))]
producer = Producer({"bootstrap.servers": address, "client.id": "client"})
producer.list_topics(timeout=10)
started = time.monotonic()
for value in lines:
    producer.produce("pageviews", value)
    producer.flush()
print(time.monotonic() - started)
"""


def timed(command, **options):
    """Runs a command. Returns the CPU seconds it took, and its output."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    output = subprocess.run(command, check=True, capture_output=True, **options)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, output.stdout.decode() + output.stderr.decode()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", type=pathlib.Path, required=True, help="directory of the release binaries")
    parser.add_argument("--sessions", type=int, default=60_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    bin_dir = arguments.bin.resolve()
    load = {"SESSIONS": arguments.sessions, "SESSION_PAUSE_MEAN": 0, "SEED": 1}
    with tempfile.TemporaryDirectory() as directory:
        work = pathlib.Path(directory)
        ready = work / "ready.tsv"
        bodies = expected(bin_dir, work, **load)
        total, stars = len(bodies["pageviews"]), len(bodies["stars"])
        with open(ready, "wb") as out:
            out.writelines(b"%d\t%s\n" % (json.loads(body)["user_id"], body) for body in bodies["pageviews"])
        (work / "load.py").write_text(PYTHON_LOAD % SETTINGS, "utf-8")
        (work / "article.py").write_text(PYTHON_ARTICLE, "utf-8")

        def ours(address):
            environment = {"KAFKA_BOOTSTRAP_SERVERS": address, "LOG_FORMAT": "json"}
            environment |= {name: str(value) for name, value in load.items()}
            cpu, log = timed([bin_dir / "stream-pageviews"], env=environment)
            done = next(json.loads(line) for line in log.splitlines() if '"message":"done"' in line)
            assert done["delivered"] == total + stars, log
            return done["messages_per_second"], cpu / (total + stars) * 1e6

        first = json.loads(bodies["pageviews"][0])
        headers = [option for name in HEADERS for option in ("-H", f"{name}={first[name]}")]

        def kcat(address, headers=()):
            options = [option for name, value in SETTINGS.items() for option in ("-X", f"{name}={value}")]
            started = time.monotonic()
            cpu, _ = timed(["kcat", "-P", "-b", address, "-t", "pageviews", "-K", "\t", "-l", *headers, *options, ready])
            return total / (time.monotonic() - started), cpu / total * 1e6

        def perf_test(address):
            # A buffer as large as ours; a request may be a little larger than a batch.
            properties = {
                "acks": "all",
                "enable.idempotence": "true",
                "linger.ms": 20,
                "batch.size": 900_000,
                "max.request.size": 1_000_000,
                "buffer.memory": 32 << 20,
            }
            command = ["java", "-cp", f"{os.environ['KAFKA_JARS']}/*", "org.apache.kafka.tools.ProducerPerformance"]
            command += ["--topic", "pageviews", "--num-records", str(total), "--throughput", "-1"]
            command += ["--payload-file", work / "expected" / "pageviews.jsonl", "--bootstrap-server", address]
            command += ["--command-property", *(f"{name}={value}" for name, value in properties.items())]
            cpu, output = timed(command)
            # The last line is the summary, from the first record to the last acknowledgement.
            rate = re.findall(r"records sent, ([0-9.]+) records/sec", output)[-1]
            return float(rate), cpu / total * 1e6

        def python(address):
            cpu, output = timed([sys.executable, work / "load.py", address, ready])
            return total / float(output.split()[0]), cpu / total * 1e6

        def article(address):
            count = 300
            cpu, output = timed([sys.executable, work / "article.py", address, ready, str(count)])
            return count / float(output.split()[0]), cpu / count * 1e6

        peers = {
            "stream-pageviews": ours,
            "kcat, with headers": lambda address: kcat(address, headers),
            "kcat, without headers": kcat,
            "kafka-producer-perf-test": perf_test,
            "confluent-kafka (Python)": python,
            "the article's loop (Python)": article,
        }
        results = {name: [] for name in peers}
        with Broker(work / "kafka", is_optimized=True) as broker:
            # A warm-up that does not count, so that the first round is like the others.
            for counts in [False] + [True] * arguments.rounds:
                for name, run in peers.items():
                    broker.replace_topics()
                    result = run(broker.address)
                    if counts:
                        results[name].append(result)
        print(f"{total + stars} messages of {ready.stat().st_size / total:.0f} bytes, median of {arguments.rounds}, {os.cpu_count()} processors")
        median = {name: statistics.median(rate for rate, _ in runs) for name, runs in results.items()}
        for name, runs in results.items():
            cpu = statistics.median(cpu for _, cpu in runs)
            ratio = median["stream-pageviews"] / median[name]
            print(f"{name:30} {median[name]:>10.0f} messages/s  {cpu:>7.2f} CPU s per million  we are {ratio:.2f} times")


if __name__ == "__main__":
    main()
