"""stream-pageviews against a real broker: what arrives, and how it ends.

Each check prints its name when it holds; the last line counts them.
"""

import argparse
import collections
import datetime
import json
import pathlib
import signal
import subprocess
import tempfile
import time
import urllib.request

from lab import TOPICS, Broker, Front, Generator, expected, free_port

USERS, PRODUCTS = 1000, 100
SECRET = "PLANTEDkey"
EVENT_FIELDS = ["event_time", "session_id", "event_id"]
LOAD = {"SESSION_PAUSE_MEAN": 0, "SEED": 7, "USER_MAX_ID": USERS - 1, "PRODUCT_MAX_ID": PRODUCTS - 1}
# Event times are in the past, so that every run has the same bytes.
PAST = LOAD | {"STREAM_FROM": "2026-01-01"}


PASSWORD = f"Endpoint=sb://localhost/;SharedAccessKeyName=send;SharedAccessKey={SECRET}"


def same_messages(broker, wanted):
    """Every wanted message is there, once, under its user's id as key; returns the bodies by topic."""
    bodies = {}
    for topic in TOPICS:
        messages = broker.read(topic, wanted[topic].total())
        found = collections.Counter(message.value() for message in messages)
        missing, extra = wanted[topic] - found, found - wanted[topic]
        assert not missing and not extra, f"{topic}: {missing.total()} missing, {extra.total()} too many"
        bodies[topic] = [json.loads(message.value()) for message in messages]
        place = {}
        for message, body in zip(messages, bodies[topic]):
            assert int(message.key()) == body["user_id"]
            assert place.setdefault(message.key(), message.partition()) == message.partition()
            event_time = datetime.datetime.fromisoformat(body["event_time"])
            assert message.timestamp()[1] == round(event_time.timestamp() * 1000)
            headers = {name: value.decode() for name, value in message.headers()}
            assert headers == {name: body[name] for name in EVENT_FIELDS}
    return bodies


def check_everything_arrives_and_joins(bin_dir, work):
    """Two shards with six sources deliver what one run writes to files, and it joins users and products."""
    wanted = expected(bin_dir, work, SESSIONS=8000, CONCURRENT_USERS=6, **PAST)
    with Broker() as broker:
        shards = [
            Generator(
                bin_dir,
                work / f"shard{index}.log",
                KAFKA_BOOTSTRAP_SERVERS=broker.address,
                SESSIONS=8000,
                SHARD_INDEX=index,
                SHARD_COUNT=2,
                CONCURRENT_USERS=6,
                **PAST,
            )
            for index in range(2)
        ]
        for shard in shards:
            assert shard.wait() == 0, shard.text()
        bodies = same_messages(broker, wanted)

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
    # 1 in 50 of 8000 sessions is 160, give or take four deviations of 12.5.
    assert 110 < len(stars) < 210, len(stars)


def check_a_broker_killed_in_the_middle_costs_nothing(bin_dir, work):
    """The listener is killed twice while the broker's log stays, as when a broker restarts; each message arrives once."""
    wanted = expected(bin_dir, work, SESSIONS=6000, **PAST)
    with Broker() as broker:
        password = f"{PASSWORD};UseDevelopmentEmulator=true"
        port = free_port()
        start = lambda: Front(bin_dir, broker, work / "ca.pem", False, "$ConnectionString", password, port)
        front = start()
        generator = Generator(
            bin_dir,
            work / "killed.log",
            KAFKA_BOOTSTRAP_SERVERS=front.address,
            KAFKA_SECURITY_PROTOCOL="SASL_PLAINTEXT",
            EVENTHUB_CONNECTION_STRING_PAGEVIEWS=password,
            EVENTHUB_CONNECTION_STRING_STARS=password,
            SESSIONS=6000,
            RATE=6_000,
            **PAST,
        )
        for _ in range(2):
            time.sleep(2.5)
            front.kill()
            assert generator.process.poll() is None, generator.text()
            time.sleep(2)
            front = start()
        assert generator.wait() == 0, generator.text()
        front.kill()
        same_messages(broker, wanted)
        warnings = generator.text().count("messages wait")
        assert 1 <= warnings <= 20, f"{warnings} lines for two interruptions"
        assert SECRET not in generator.text()


def check_tls_and_the_hubs_own_strings(bin_dir, work):
    """Event Hubs' way: SASL_SSL, `$ConnectionString`, the certificate verified; and what is said when it is refused."""
    wanted = expected(bin_dir, work, SESSIONS=500, **PAST)
    with Broker() as broker, Front(bin_dir, broker, work / "ca.pem", True, "$ConnectionString", PASSWORD) as front:
        settings = {
            "KAFKA_BOOTSTRAP_SERVERS": front.address,
            "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA_CA_FILE": work / "ca.pem",
            "EVENTHUB_CONNECTION_STRING_PAGEVIEWS": PASSWORD,
            "EVENTHUB_CONNECTION_STRING_STARS": PASSWORD,
            "SESSIONS": 500,
            "RUST_LOG": "trace",
            **PAST,
        }
        good = Generator(bin_dir, work / "tls.log", **settings)
        assert good.wait() == 0, good.text()
        same_messages(broker, wanted)
        assert SECRET not in good.text()

        for name, change, words in (
            ("key", {"EVENTHUB_CONNECTION_STRING_STARS": PASSWORD.replace(SECRET, SECRET + "2")}, "refused EVENTHUB_CONNECTION_STRING_STARS"),
            ("ca", {"KAFKA_CA_FILE": "/etc/ssl/certs/ca-certificates.crt"}, "certificate verify failed"),
        ):
            bad = Generator(bin_dir, work / f"bad-{name}.log", **(settings | change))
            assert bad.wait(30) == 1, bad.text()
            complaint = bad.complaint()
            assert len(complaint) == 1 and words in complaint[0], bad.text()
            assert SECRET not in bad.text()


def soak_a_broker_that_forgot_everything_ends_it(bin_dir, work):
    """A broker restarted without its data takes nothing from the old producer: exit code 1, for the restart policy."""
    broker = Broker()
    generator = Generator(bin_dir, work / "forgot.log", KAFKA_BOOTSTRAP_SERVERS=broker.address, RATE=2000, **LOAD)
    time.sleep(3)
    broker.kill()
    time.sleep(1)
    with Broker(port=broker.port):
        # At once where the broker says that it does not know the producer; otherwise when the messages' five minutes
        # are over.
        assert generator.wait(360) == 1, generator.text()
        complaint = generator.complaint()
        assert len(complaint) == 1, complaint
        (done,) = generator.events("done")
        assert done["lost"] > 0, done


def check_sigterm_delivers_what_was_produced(bin_dir, work):
    """Live sources, metrics, SIGTERM: exit code 0, and the broker has what the last lines say."""
    with Broker() as broker:
        port = free_port()
        generator = Generator(
            bin_dir,
            work / "sigterm.log",
            KAFKA_BOOTSTRAP_SERVERS=broker.address,
            CONCURRENT_USERS=2000,
            METRICS_ADDR=f"127.0.0.1:{port}",
            **(LOAD | {"SESSION_PAUSE_MEAN": 5, "SESSION_PAUSE_STDDEV": 3}),
        )
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
        for topic, count in (("pageviews", done["pageviews"]), ("stars", done["stars"])):
            assert len(broker.read(topic, count)) == count
        (manifest,) = generator.events("manifest")
        manifest = json.loads(manifest["manifest"])
        planted = {effect["effect"]: effect["count"] for effect in manifest["planted"]}
        assert manifest["delivered"] == done["delivered"] and planted["star_rating"] == done["stars"], manifest
        assert generator.text().splitlines()[-1].count("manifest") > 0
        streaming = generator.events("streaming")
        assert streaming and streaming[0]["delivered"] > 0, generator.text()


def check_many_sources_need_little_memory(bin_dir, work):
    """Twenty thousand sources hold no messages before a broker that is gone: a container of half a gigabyte will do."""
    with Broker() as broker:
        generator = Generator(
            bin_dir,
            work / "many.log",
            KAFKA_BOOTSTRAP_SERVERS=broker.address,
            CONCURRENT_USERS=20_000,
            **(LOAD | {"SESSION_PAUSE_MEAN": 3, "SESSION_PAUSE_STDDEV": 1}),
        )
        time.sleep(5)
        broker.send_signal(signal.SIGSTOP)
        time.sleep(8)
        assert generator.peak_rss() < 200 * 1024, generator.peak_rss()
        broker.send_signal(signal.SIGCONT)
        assert generator.stop() == 0, generator.text()


def check_a_broker_that_does_not_answer_bounds_the_end(bin_dir, work):
    """A stopped broker: memory stays bounded, SIGTERM ends with the loss counted, a second signal ends at once."""
    with Broker() as broker:
        generators = [
            Generator(bin_dir, work / f"frozen{index}.log", KAFKA_BOOTSTRAP_SERVERS=broker.address, **LOAD)
            for index in range(2)
        ]
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
        # SIGTERM is followed by SIGKILL after ten seconds.
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
    parser.add_argument("--soak", action="store_true", help="run the checks that take minutes instead")
    arguments = parser.parse_args()
    bin_dir = arguments.bin.resolve()
    prefix = "soak_" if arguments.soak else "check_"
    checks = [check for name, check in globals().items() if name.startswith(prefix) and arguments.only in name]
    for check in checks:
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as work:
            check(bin_dir, pathlib.Path(work))
        print(f"{check.__name__} ok, {time.monotonic() - started:.1f} s", flush=True)
    print(f"{len(checks)} passed, 0 failed")


if __name__ == "__main__":
    main()
