"""Checks that take minutes: tokens that expire, one of three brokers that stops, idle connections, a broker that loses
its data, and full speed.
"""

import argparse
import collections
import datetime
import pathlib
import shutil
import subprocess
import tempfile
import time

from broker import TOPICS, Broker, cluster
from lab import LIVE, PAST, Generator, all_arrived, count, expected, read, same_messages


def soak_a_stopped_broker_of_three(bin_dir, work, _):
    """With two of three replicas the stream continues; with one it waits (min.insync.replicas=2). Nothing is lost."""
    settings = {"SESSIONS": 20_000, "RATE": 4_000} | PAST
    wanted = expected(bin_dir, work, **PAST, SESSIONS=20_000)
    with cluster(work) as brokers:
        brokers[0].replace_topics(replicas=3, min_insync_replicas=2)
        servers = ",".join(broker.address for broker in brokers)
        generator = Generator(bin_dir, work / "three.log", **settings, KAFKA_BOOTSTRAP_SERVERS=servers)
        time.sleep(5)
        brokers[2].kill()
        time.sleep(20)
        before = generator.events("streaming")[-1]["delivered"]
        assert before > 0, generator.text()
        # Kill the second broker, so that the quorum of the controllers is also lost and regained.
        brokers[1].kill()
        time.sleep(20)
        assert generator.process.poll() is None, generator.text()
        brokers[1].launch()
        assert generator.wait(300) == 0, generator.text()
        (done,) = generator.events("done")
        assert done["lost"] == 0, done
        same_messages(brokers[0], wanted)


def soak_tokens_are_renewed(bin_dir, work, _):
    """Tokens are valid for a minute, and the broker closes connections with expired ones; the stream continues."""
    lifetime = 60
    with Broker(work / "kafka", token_lifetime=lifetime) as broker:
        broker.replace_topics()
        generator = Generator(bin_dir, work / "token.log", CONCURRENT_USERS=500, **LIVE, **broker.settings("SASL_SSL", "token"))
        started = time.monotonic()
        while time.monotonic() - started < 2 * lifetime + 10:
            assert generator.process.poll() is None, generator.text()
            time.sleep(1)
        assert generator.stop() == 0, generator.text()
        # The first token, and one more per lifetime.
        assert broker.identity.issued >= 3
        (done,) = generator.events("done")
        assert done["lost"] == 0 and done["errors"] == 0, generator.text()
        all_arrived(broker, done)


def soak_idle_connections(bin_dir, work, _):
    """The broker closes idle connections; the stream, which waits for the time of its first event, reconnects."""
    idle_seconds = 10
    with Broker(work / "kafka", **{"connections.max.idle.ms": idle_seconds * 1000}) as broker:
        broker.replace_topics()
        start = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=6 * idle_seconds)
        end = start + datetime.timedelta(seconds=10)
        settings = {"STREAM_FROM": start.isoformat(), "STREAM_TO": end.isoformat(), "CONCURRENT_USERS": 1000, "SEED": 7}
        wanted = expected(bin_dir, work, **settings)
        generator = Generator(bin_dir, work / "idle.log", **settings, **broker.settings("SASL_SSL"))
        assert generator.wait() == 0, generator.text()
        (done,) = generator.events("done")
        assert done["lost"] == 0 and done["errors"] == 0, generator.text()
        same_messages(broker, wanted)


def soak_a_broker_without_its_data(bin_dir, work, _):
    """Apache Kafka accepts unknown producers: the stream continues, and keeps what is acknowledged from then on."""
    settings = {"SESSIONS": 6_000} | PAST
    wanted = expected(bin_dir, work, **settings)
    due = collections.Counter(body for bodies in wanted.values() for body in bodies)
    rate = 3_000
    with Broker(work / "kafka") as broker:
        broker.replace_topics()
        generator = Generator(bin_dir, work / "lost.log", RATE=rate, **settings, **broker.settings())
        time.sleep(5)
        before = sum(count(broker, topic)[1] for topic in TOPICS)
        broker.kill()
        shutil.rmtree(broker.directory / "data")
        broker.start()
        broker.replace_topics()
        assert generator.wait(400) == 0, generator.text()
        (done,) = generator.events("done")
        assert done["lost"] == 0, done
        found = collections.Counter(message.value() for topic in TOPICS for message in read(broker, topic, 0))
    assert found <= due, f"{(found - due).total()} too many"
    # Between the count and the kill, more messages were acknowledged.
    assert due.total() - found.total() < before + 5 * rate, (before, found.total(), due.total())


def soak_full_speed(bin_dir, work, minutes):
    """Memory stays flat at full speed, and nothing is lost.

    The broker is librdkafka's mock cluster in a separate process (`cargo build --release --example mock-broker`), which
    keeps only the last megabytes of each partition: at full speed, a log would fill the disk. The messages can
    therefore not be read back; only the acknowledgements are checked.
    """
    mock = subprocess.Popen([bin_dir / "examples" / "mock-broker"], stdout=subprocess.PIPE, text=True)
    servers = mock.stdout.readline().strip()
    generator = Generator(bin_dir, work / "soak.log", KAFKA_BOOTSTRAP_SERVERS=servers, SESSION_PAUSE_MEAN=0, SEED=1)
    started = time.monotonic()
    memory = []
    while time.monotonic() - started < minutes * 60:
        time.sleep(10)
        assert generator.process.poll() is None, generator.text()
        memory.append(generator.rss())
        if len(memory) % 6 == 0:
            print(f"{time.monotonic() - started:5.0f} s: {memory[-1] / 1024:.1f} MiB", flush=True)
    peak = generator.peak_rss()
    assert generator.stop() == 0, generator.text()
    mock.kill()
    (done,) = generator.events("done")
    assert done["lost"] == 0 and done["delivered"] == done["pageviews"] + done["stars"], done
    # The first minute fills the queue; from then on memory fluctuates with the queue, but must not grow.
    settled = memory[min(6, len(memory) - 1) :]
    print(
        f"{done['delivered']} messages in {done['seconds']:.0f} s ({done['messages_per_second']:.0f}/s), none lost; "
        f"resident {min(settled) / 1024:.1f} to {max(settled) / 1024:.1f} MiB after the first minute, "
        f"peak {peak / 1024:.1f} MiB"
    )
    # Memory fluctuates by more than half. A leak of one byte per message would amount to 100 MiB after ten minutes.
    half = max(1, len(settled) // 2)
    early, late = max(settled[:half]), max(settled[-half:])
    assert late < 1.3 * early, settled


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", type=pathlib.Path, required=True, help="directory of the built binaries")
    parser.add_argument("--minutes", type=float, default=10, help="of full speed (default: %(default)s)")
    parser.add_argument("--only", default="", help="run the soak tests with this in their name")
    arguments = parser.parse_args()
    bin_dir = arguments.bin.resolve()
    tests = [test for name, test in globals().items() if name.startswith("soak_") and arguments.only in name]
    for test in tests:
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as work:
            test(bin_dir, pathlib.Path(work), arguments.minutes)
        print(f"{test.__name__} ok, {time.monotonic() - started:.1f} s", flush=True)
    print(f"{len(tests)} passed, 0 failed")


if __name__ == "__main__":
    main()
