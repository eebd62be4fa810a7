"""Checks stream-pageviews against Apache Kafka: what arrives, and how the process ends.

Each check prints its name when it has passed; the last line counts them. They share one broker, whose topics are empty
at the start of each check.
"""

import argparse
import datetime
import json
import pathlib
import signal
import subprocess
import tempfile
import time
import urllib.request

from broker import CONNECTION_STRING, EXPIRED_CLIENT, KEY, Authority, Broker, free_port
from confluent_kafka import Producer
from confluent_kafka.admin import AclOperation, ResourceType
from lab import EVENT_FIELDS, LIVE, LOAD, PAST, PRODUCTS, USERS, Generator, all_arrived, count, expected, same_messages


def failure(generator, words, seconds=45):
    """Asserts that the process ends with exit code 1 and one line that contains these words, and logs no key."""
    assert generator.wait(seconds) == 1, generator.text()
    complaint = generator.complaint()
    assert len(complaint) == 1 and words in complaint[0], generator.text()
    assert KEY not in generator.text()


def check_everything_arrives_and_joins(bin_dir, work, broker):
    """Two shards with six sources deliver what one run writes to files, and these join users and products."""
    wanted = expected(bin_dir, work, SESSIONS=8000, CONCURRENT_USERS=6, **PAST)
    settings = {"SESSIONS": 8000, "SHARD_COUNT": 2, "CONCURRENT_USERS": 6} | PAST | broker.settings()
    shards = [Generator(bin_dir, work / f"shard{index}.log", SHARD_INDEX=index, **settings) for index in range(2)]
    for shard in shards:
        assert shard.wait() == 0, shard.text()
    bodies = same_messages(broker, wanted, is_ordered=False)

    for name, variables in {"gen-users": {"COUNT": USERS, "VIP_COUNT": 10}, "gen-products": {"COUNT": PRODUCTS}}.items():
        environment = {"LAKE_URL": f"file://{work}/lake", "SEED": "7"} | {k: str(v) for k, v in variables.items()}
        subprocess.run([bin_dir / name], env=environment, check=True, stderr=subprocess.DEVNULL)
    lake = work / "lake"
    users = {json.loads(line)["id"] for line in (lake / "users/users.json").read_text("utf-8").splitlines()}
    pages = {page for file in (lake / "products").glob("*.json") for page in json.loads(file.read_text("utf-8"))["pages"]}
    assert len(users) == USERS and len(pages) == 3 * PRODUCTS

    views, stars = bodies["pageviews"], bodies["stars"]
    assert {view["user_id"] for view in views} <= users and {star["user_id"] for star in stars} <= users
    of_products = sum(view["uri"] in pages for view in views)
    assert 0.54 < of_products / len(views) < 0.64, f"{of_products} of {len(views)} pageviews are of products"
    shop = next(iter(pages)).split("/")[2]
    assert all(view["uri"].split("/")[2] == shop for view in views)
    assert len({view["http_method"] for view in views}) == 9
    fields = ["user_id", "http_method", "uri", "client_ip", "user_agent", "latency"]
    assert all(list(view) == fields + EVENT_FIELDS for view in views)
    assert all(list(star) == ["user_id", "stars"] + EVENT_FIELDS and 1 <= star["stars"] <= 5 for star in stars)
    empty = sum(view["client_ip"] == "" for view in views) / len(views)
    slow = sum(view["latency"] >= 500 for view in views) / len(views)
    usual = [view["latency"] for view in views if view["latency"] < 500]
    assert 0.008 < empty < 0.012 and 0.008 < slow < 0.012, (empty, slow)
    assert 198 < sum(usual) / len(usual) < 202
    # 1 in 50 of 8000 sessions is 160, within four standard deviations of 12.5.
    assert 110 < len(stars) < 210, len(stars)


def check_a_broker_killed_three_times_costs_nothing(bin_dir, work, broker):
    """The broker is killed (`kill -9`) and restarted with its data three times: each message arrives once, in order.

    The events are of the last hour: a broker that restarts forgets producers whose last record has a timestamp older than
    `producer.id.expiration.ms` (a day), and would accept a retry of older events twice.
    """
    start = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=1)
    end = start + datetime.timedelta(seconds=40)
    settings = {"CONCURRENT_USERS": 1000, "STREAM_FROM": start.isoformat(), "STREAM_TO": end.isoformat()} | LIVE
    wanted = expected(bin_dir, work, **settings)
    # The stream takes a minute, which is enough to start the broker three times even on a busy machine.
    settings |= {"RATE": len(wanted["pageviews"]) // 60} | broker.settings("SASL_PLAINTEXT")
    generator = Generator(bin_dir, work / "killed.log", **settings)
    for _ in range(3):
        time.sleep(3)
        broker.kill()
        assert generator.process.poll() is None, generator.text()
        time.sleep(1)
        broker.start()
    assert generator.wait(300) == 0, generator.text()
    same_messages(broker, wanted)
    warnings = generator.text().count("messages wait")
    assert warnings >= 1, generator.text()
    (done,) = generator.events("done")
    assert done["lost"] == 0, done


def check_sign_ins(bin_dir, work, broker):
    """SASL_SSL with connection strings and with tokens, as in Event Hubs, and TLS without sign-in."""
    wanted = expected(bin_dir, work, SESSIONS=500, **PAST)
    for name, sign_in in (
        ("string", broker.settings("SASL_SSL")),
        ("token", broker.settings("SASL_SSL", "token")),
        ("none", broker.settings("SSL")),
    ):
        broker.replace_topics()
        settings = {"SESSIONS": 500, "RUST_LOG": "trace"} | PAST | sign_in
        generator = Generator(bin_dir, work / f"{name}.log", **settings)
        assert generator.wait() == 0, generator.text()
        same_messages(broker, wanted)
        assert KEY not in generator.text()


def check_a_key_that_is_changed_ends_the_stream(bin_dir, work, broker):
    """A broker that restarts with a different key refuses the sign-in of a running stream."""
    generator = Generator(bin_dir, work / "changed.log", CONCURRENT_USERS=100, **LIVE, **broker.settings("SASL_SSL"))
    while not generator.events("connected"):
        assert generator.process.poll() is None, generator.text()
        time.sleep(0.1)
    broker.kill()
    broker.connection_string = CONNECTION_STRING.replace(KEY, "another")
    broker.start()
    failure(generator, "the broker refused EVENTHUB_CONNECTION_STRING_PAGEVIEWS")
    broker.kill()
    broker.connection_string = CONNECTION_STRING
    broker.start()


def check_refused_sign_ins(bin_dir, work, broker):
    """Each kind of sign-in that is refused at the start ends the process with one line."""
    string, token = broker.settings("SASL_SSL"), broker.settings("SASL_SSL", "token")
    other = Authority(work)
    for name, settings, words in (
        (
            "key",
            string | {"EVENTHUB_CONNECTION_STRING_STARS": CONNECTION_STRING.replace(KEY, f"{KEY}2")},
            "the broker refused EVENTHUB_CONNECTION_STRING_STARS",
        ),
        ("authority", string | {"KAFKA_CA_FILE": other.ca_file}, "certificate verify failed"),
        ("name", string | {"KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{broker.ports['SASL_SSL']}"}, "no TLS connection: "),
        ("expired", token | {"AZURE_CLIENT_ID": EXPIRED_CLIENT}, "the broker refused the Microsoft Entra ID sign-in"),
        ("namespace", token | {"EVENTHUB_NAMESPACE": "elsewhere"}, "the broker refused the Microsoft Entra ID sign-in"),
    ):
        failure(Generator(bin_dir, work / f"refused-{name}.log", SESSIONS=500, **PAST, **settings), words)


def check_permissions(bin_dir, work, broker):
    """The permission to write to the two topics is sufficient; without it, one line names the topic."""
    settings = {"SESSIONS": 200} | PAST | broker.settings("SASL_SSL")
    for name in ("write", "idempotent-write"):
        generator = Generator(bin_dir, work / f"{name}.log", **settings)
        assert generator.wait() == 0, generator.text()
        (connected,) = generator.events("connected")
        assert connected["idempotent"] is True, generator.text()
        broker.allow(ResourceType.BROKER, "kafka-cluster", AclOperation.IDEMPOTENT_WRITE)

    # A topic that exists, but without permission for the client, and a permission that is revoked.
    generator = Generator(bin_dir, work / "revoked.log", CONCURRENT_USERS=500, **LIVE, **broker.settings("SASL_SSL"))
    while not generator.events("connected"):
        time.sleep(0.1)
    time.sleep(2)
    broker.forbid(ResourceType.TOPIC, "stars", AclOperation.WRITE)
    broker.forbid(ResourceType.TOPIC, "pageviews", AclOperation.WRITE)
    failure(generator, "give the rule or role the right to send")
    broker.allow(ResourceType.TOPIC, "pageviews", AclOperation.WRITE)
    refused = Generator(bin_dir, work / "refused.log", **settings)
    failure(refused, "the broker does not let us send to the topic stars: give the rule or role the right to send")


def check_a_missing_topic_is_named(bin_dir, work, broker):
    """This also applies to a sign-in that is not allowed to know whether the topic exists."""
    broker.replace_topics(["pageviews"])
    generator = Generator(bin_dir, work / "missing.log", SESSIONS=200, **PAST, **broker.settings())
    failure(generator, "the topic stars does not exist: create it")
    broker.allow(ResourceType.TOPIC, "stars", AclOperation.WRITE)
    generator = Generator(bin_dir, work / "missing-too.log", SESSIONS=200, **PAST, **broker.settings("SASL_SSL"))
    failure(generator, "the topic stars does not exist: create it")


def check_timestamps(bin_dir, work, broker):
    """Topics keep old events only with retention.ms=-1; a broker refuses what its limits exclude."""
    old = LOAD | {"STREAM_FROM": "2020-01-01", "SESSIONS": 2000}
    wanted = expected(bin_dir, work, **old)
    broker.set_topic("stars", retention_ms=7 * 24 * 3600 * 1000)
    generator = Generator(bin_dir, work / "old.log", **old, **broker.settings())
    assert generator.wait() == 0, generator.text()
    # Wait until the broker has looked for old messages.
    deadline = time.monotonic() + 60
    while count(broker, "stars")[0] > 0:
        assert time.monotonic() < deadline, count(broker, "stars")
        time.sleep(0.5)
    assert count(broker, "stars") == (0, len(wanted["stars"]))
    assert count(broker, "pageviews") == (len(wanted["pageviews"]),) * 2

    broker.replace_topics(message_timestamp_before_max_ms=3_600_000)
    generator = Generator(bin_dir, work / "too-old.log", **old, **broker.settings())
    failure(generator, "message.timestamp.before.max.ms")

    # The generator's events are never ahead of its clock. By default, a broker accepts events up to an hour ahead.
    broker.replace_topics()
    producer = Producer({"bootstrap.servers": broker.address})
    results = []
    for minutes in (50, 70):
        future = int((time.time() + minutes * 60) * 1000)
        producer.produce("pageviews", b"{}", timestamp=future, on_delivery=lambda error, _: results.append(error))
        producer.flush()
    assert results[0] is None and results[1].name() == "INVALID_TIMESTAMP", results


def check_requests_that_the_broker_refuses(bin_dir, work, broker):
    """The topic has a limit that is lower than the size of the generator's requests."""
    broker.replace_topics(max_message_bytes=100_000)
    generator = Generator(bin_dir, work / "large.log", **PAST, **broker.settings())
    failure(generator, "max.message.bytes")


def check_sigterm_delivers_what_was_produced(bin_dir, work, broker):
    """Live sources, metrics, SIGTERM: exit code 0, and the broker has what the last lines say."""
    port = free_port()
    settings = {"CONCURRENT_USERS": 2000, "METRICS_ADDR": f"127.0.0.1:{port}"} | LIVE | broker.settings()
    generator = Generator(bin_dir, work / "sigterm.log", **settings)
    time.sleep(8)
    page = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read().decode()
    values = dict(line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
    assert float(values["stream_pageviews_delivered_total"]) > 1000, page
    assert float(values["stream_pageviews_lost_total"]) == 0, page
    assert float(values["stream_pageviews_delivery_seconds_count"]) > 1000, page
    subprocess.run(["promtool", "check", "metrics"], input=page, text=True, check=True)
    assert generator.stop() == 0, generator.text()
    (done,) = generator.events("done")
    assert done["delivered"] == done["pageviews"] + done["stars"] and done["lost"] == 0, done
    all_arrived(broker, done)
    (manifest,) = generator.events("manifest")
    manifest = json.loads(manifest["manifest"])
    planted = {effect["effect"]: effect["count"] for effect in manifest["planted"]}
    assert manifest["delivered"] == done["delivered"] and planted["star_rating"] == done["stars"], manifest
    assert generator.text().splitlines()[-1].count("manifest") > 0
    streaming = generator.events("streaming")
    assert streaming and streaming[0]["delivered"] > 0, generator.text()


def check_many_sources_need_little_memory(bin_dir, work, broker):
    """20,000 sources hold no messages while the broker is unavailable: a container of half a gigabyte is enough."""
    settings = {"CONCURRENT_USERS": 20_000} | LIVE | {"SESSION_PAUSE_MEAN": 3, "SESSION_PAUSE_STDDEV": 1}
    generator = Generator(bin_dir, work / "many.log", **settings, **broker.settings())
    time.sleep(5)
    broker.send_signal(signal.SIGSTOP)
    time.sleep(8)
    assert generator.peak_rss() < 200 * 1024, generator.peak_rss()
    address = f"localhost:{broker.ports['PLAINTEXT']}"
    assert f"messages wait: {address} has not answered for " in generator.text(), generator.text()
    assert "again" not in generator.text(), generator.text()
    broker.send_signal(signal.SIGCONT)
    while "messages are delivered again" not in generator.text():
        assert generator.process.poll() is None, generator.text()
        time.sleep(0.2)
    assert generator.stop() == 0, generator.text()


def check_a_broker_that_does_not_answer_bounds_the_end(bin_dir, work, broker):
    """A stopped broker: memory stays bounded, SIGTERM ends with the loss counted, a second signal ends at once."""
    generators = [Generator(bin_dir, work / f"frozen{index}.log", **LOAD, **broker.settings()) for index in range(2)]
    time.sleep(2)
    broker.send_signal(signal.SIGSTOP)
    time.sleep(4)
    memory = [generator.rss() for generator in generators]
    time.sleep(4)
    for generator in generators:
        assert "messages wait: " in generator.text(), generator.text()
    for generator, before in zip(generators, memory):
        assert generator.rss() < before * 1.1 + 4096, (before, generator.rss())
        assert generator.peak_rss() < 200 * 1024, generator.peak_rss()
    patient, impatient = generators
    impatient.process.send_signal(signal.SIGTERM)
    # Signals within a second count as one.
    time.sleep(1.5)
    impatient.process.send_signal(signal.SIGTERM)
    assert impatient.wait(5) == 143, impatient.text()
    # Container engines send SIGKILL ten seconds after SIGTERM.
    assert patient.stop(10) == 1, patient.text()
    complaint = patient.complaint()
    assert len(complaint) == 1 and "messages were lost" in complaint[0], complaint
    (done,) = patient.events("done")
    assert done["pageviews"] + done["stars"] == done["delivered"] + done["lost"], done
    broker.send_signal(signal.SIGCONT)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", type=pathlib.Path, required=True, help="directory of the built binaries")
    parser.add_argument("--only", default="", help="run the checks with this in their name")
    arguments = parser.parse_args()
    bin_dir = arguments.bin.resolve()
    checks = [check for name, check in globals().items() if name.startswith("check_") and arguments.only in name]
    # The broker looks for old messages every second instead of every five minutes.
    often = {"log.retention.check.interval.ms": 1000, "log.initial.task.delay.ms": 1000}
    with tempfile.TemporaryDirectory() as directory, Broker(directory, **often) as broker:
        for check in checks:
            broker.replace_topics()
            started = time.monotonic()
            with tempfile.TemporaryDirectory() as work:
                check(bin_dir, pathlib.Path(work), broker)
            print(f"{check.__name__} ok, {time.monotonic() - started:.1f} s", flush=True)
    print(f"{len(checks)} passed, 0 failed")


if __name__ == "__main__":
    main()
