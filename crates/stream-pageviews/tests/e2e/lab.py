"""Tools of the end-to-end checks, the soak and the benchmark: run the generator and read what it delivered."""

import collections
import datetime
import json
import os
import pathlib
import signal
import subprocess
import time

from broker import PARTITIONS, TOPICS
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

EVENT_FIELDS = ["event_time", "session_id", "event_id"]

USERS, PRODUCTS = 1000, 100
LOAD = {"SESSION_PAUSE_MEAN": 0, "SEED": 7, "USER_MAX_ID": USERS - 1, "PRODUCT_MAX_ID": PRODUCTS - 1}
# Event times are in the past, so that every run has the same bytes.
PAST = LOAD | {"STREAM_FROM": "2026-01-01"}
LIVE = LOAD | {"SESSION_PAUSE_MEAN": 5, "SESSION_PAUSE_STDDEV": 3}


def read(broker, topic, count):
    """Returns all messages of a topic. Waits until there are `count`, and a moment longer to detect duplicates."""
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


def count(broker, topic):
    """Returns how many messages a topic has, and how many it has ever had."""
    consumer = Consumer({"bootstrap.servers": broker.address, "group.id": "reader"})
    partitions = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
    ranges = [consumer.get_watermark_offsets(partition, timeout=10) for partition in partitions]
    consumer.close()
    return sum(high - low for low, high in ranges), sum(high for _, high in ranges)


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
        """Returns the fields of the log lines with this message."""
        lines = [json.loads(line) for line in self.text().splitlines() if line.startswith("{")]
        fields = [line.get("fields", line) for line in lines]
        return [field for field in fields if field.get("message") == message]

    def complaint(self):
        """Returns the error that is reported at the end, independently of the log filter."""
        messages = [json.loads(line)["message"] for line in self.text().splitlines()]
        return [message for message in messages if message.startswith("stream-pageviews: ")]

    def peak_rss(self):
        """Returns the peak resident memory so far, in KiB."""
        return self.memory("VmHWM")

    def rss(self):
        """Returns the current resident memory, in KiB."""
        return self.memory("VmRSS")

    def memory(self, field):
        """Returns a field of the process's status, in KiB."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(field))


def expected(bin_dir, directory, **variables):
    """Returns the messages that a run with these variables must deliver, by topic and in order, using local files."""
    generator = Generator(bin_dir, directory / "expected.log", STREAM_URL=f"file://{directory}/expected", **variables)
    assert generator.wait() == 0, generator.text()
    return {topic: (directory / "expected" / f"{topic}.jsonl").read_bytes().splitlines() for topic in TOPICS}


def all_arrived(broker, done):
    """Asserts that the topics have as many messages as the generator reports at its end."""
    for topic in TOPICS:
        assert len(read(broker, topic, done[topic])) == done[topic]


def by_user(bodies):
    """Returns the bodies of each user, in order."""
    users = collections.defaultdict(list)
    for body in bodies:
        users[json.loads(body)["user_id"]].append(body)
    return users


def same_messages(broker, wanted, is_ordered=True):
    """Asserts that every wanted message exists once, has its user's id as key, and is in order per user.

    Returns the bodies by topic.
    """
    bodies = {}
    for topic in TOPICS:
        messages = read(broker, topic, len(wanted[topic]))
        values = [message.value() for message in messages]
        found, due = collections.Counter(values), collections.Counter(wanted[topic])
        missing, extra = due - found, found - due
        assert not missing and not extra, f"{topic}: {missing.total()} missing, {extra.total()} too many"
        assert not is_ordered or by_user(values) == by_user(wanted[topic]), f"{topic}: the messages of a user are out of order"
        bodies[topic] = list(map(json.loads, values))
        place = {}
        for message, body in zip(messages, bodies[topic]):
            assert int(message.key()) == body["user_id"]
            assert place.setdefault(message.key(), message.partition()) == message.partition()
            event_time = datetime.datetime.fromisoformat(body["event_time"])
            assert message.timestamp()[1] == round(event_time.timestamp() * 1000)
            headers = {name: value.decode() for name, value in message.headers()}
            assert headers == {name: body[name] for name in EVENT_FIELDS}
    return bodies
