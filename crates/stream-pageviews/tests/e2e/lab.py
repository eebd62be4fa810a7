"""The generator and what it delivered: the tools of the end-to-end checks, of the soak and of the benchmark."""

import json
import os
import pathlib
import signal
import subprocess
import time

from broker import PARTITIONS, TOPICS
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition


def read(broker, topic, count):
    """All messages of a topic: at least `count` are waited for, and a moment longer for duplicates."""
    consumer = Consumer({"bootstrap.servers": broker.address, "group.id": "reader", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(PARTITIONS)])
    messages = []
    quiet_since = time.monotonic()
    while time.monotonic() - quiet_since < (20 if len(messages) < count else 1.5):
        batch = [message for message in consumer.consume(10_000, timeout=0.2) if not message.error()]
        if batch:
            messages += batch
            quiet_since = time.monotonic()
    consumer.close()
    return messages


class Generator:
    """A running stream-pageviews with its log."""

    def __init__(self, bin_dir, log, **variables):
        self.log_path = log
        environment = {"PATH": os.environ["PATH"], "LOG_FORMAT": "json"}
        environment |= {name: str(value) for name, value in variables.items()}
        with open(log, "w", encoding="utf-8") as output:
            self.process = subprocess.Popen(
                [bin_dir / "stream-pageviews"], env=environment, stderr=output, stdout=output
            )

    def wait(self, seconds=120):
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"still running after {seconds} s:\n{self.text()}") from None

    def stop(self, seconds=30):
        self.process.send_signal(signal.SIGTERM)
        return self.wait(seconds)

    def text(self):
        return self.log_path.read_text(encoding="utf-8")

    def events(self, message):
        """The fields of the log lines with this message."""
        lines = [json.loads(line) for line in self.text().splitlines() if line.startswith("{")]
        fields = [line.get("fields", line) for line in lines]
        return [field for field in fields if field.get("message") == message]

    def complaint(self):
        """The error that is reported at the end, whatever the log's filter."""
        messages = [json.loads(line)["message"] for line in self.text().splitlines()]
        return [message for message in messages if message.startswith("stream-pageviews: ")]

    def peak_rss(self):
        """Peak resident memory so far, in KiB."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))

    def rss(self):
        """Resident memory now, in KiB."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))


def expected(bin_dir, directory, **variables):
    """The messages that a run with these variables has to deliver, by topic and in order, from its own local files."""
    generator = Generator(bin_dir, directory / "expected.log", STREAM_URL=f"file://{directory}/expected", **variables)
    assert generator.wait() == 0, generator.text()
    return {topic: (directory / "expected" / f"{topic}.jsonl").read_bytes().splitlines() for topic in TOPICS}
