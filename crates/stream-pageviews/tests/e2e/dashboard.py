"""Checks the Grafana dashboard and the Prometheus configuration of infra/inspect against a running stream-pageviews: a
real Prometheus scrapes it while it sends to a real broker, and every query of the dashboard must return numbers.

Usage: dashboard.py --bin DIRECTORY   (needs prometheus and promtool)
"""

import argparse
import json
import math
import pathlib
import re
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

from broker import Broker, free_port
from lab import Generator

INSPECT = pathlib.Path(__file__).resolve().parents[4] / "infra/inspect"
CONFIGURATION = INSPECT / "prometheus.yml"
DASHBOARDS = sorted((INSPECT / "grafana/dashboards").glob("*.json"))
DATA_SOURCE = INSPECT / "grafana/provisioning/datasources/prometheus.yml"
# The number of seconds after which every query must have returned something.
LIMIT = 60


def get(url):
    with urllib.request.urlopen(url, timeout=5) as response:
        return response.read().decode()


def local_configuration(text, port):
    """Returns the configuration, changed to scrape a generator on this machine more often."""
    for found, instead in (("eventhubs:9464", f"127.0.0.1:{port}"), ("scrape_interval: 5s", "scrape_interval: 1s")):
        assert text.count(found) == 1, f"{CONFIGURATION}: {found} is there {text.count(found)} times"
        text = text.replace(found, instead)
    return text


class Prometheus:
    def __init__(self, configuration, directory):
        file = directory / "prometheus.yml"
        file.write_text(configuration)
        self.address = f"127.0.0.1:{free_port()}"
        self.process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={file}",
                f"--storage.tsdb.path={directory}/data",
                f"--web.listen-address={self.address}",
                "--log.level=warn",
            ]
        )

    def __enter__(self):
        deadline = time.monotonic() + LIMIT
        while True:
            try:
                get(f"http://{self.address}/-/ready")
                return self
            except OSError:
                assert self.process.poll() is None and time.monotonic() < deadline, "Prometheus does not start"
                time.sleep(0.2)

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def problem(self, query):
        """Returns why a query returns no number, or None if it returns one."""
        url = f"http://{self.address}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        try:
            result = json.loads(get(url))["data"]["result"]
        except urllib.error.HTTPError as error:
            return json.loads(error.read())["error"]
        if any(math.isfinite(float(sample["value"][1])) for sample in result):
            return None
        return f"returns {len(result)} series and no number"


def dashboard_queries(dashboard):
    """Checks the panels of a dashboard, and returns their queries by panel."""
    (source,) = re.findall(r"^ *uid: (\S+)$", DATA_SOURCE.read_text(), re.M)
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels), "panels share an id"
    taken = set()
    queries = []
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & cells and max(x for x, _ in cells) < 24, f"{panel['title']}: out of place"
        taken |= cells
        assert panel["description"] and panel["targets"], panel["title"]
        for target in panel["targets"]:
            assert {panel["datasource"]["uid"], target["datasource"]["uid"]} == {source}, panel["title"]
            queries.append((panel["title"], target["expr"]))
    return queries


def metric_names(page):
    return re.findall(r"^# TYPE (\S+) ", page, re.M)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", type=pathlib.Path, required=True, help="directory of the built binaries")
    bin_dir = parser.parse_args().bin.resolve()

    subprocess.run(["promtool", "check", "config", CONFIGURATION], check=True, stdout=subprocess.DEVNULL)
    configuration = CONFIGURATION.read_text()
    (interval,) = re.findall(r"scrape_interval: (\S+)", configuration)
    (stated,) = re.findall(r"timeInterval: (\S+)", DATA_SOURCE.read_text())
    assert interval == stated, f"Prometheus scrapes every {interval}, Grafana expects {stated}"

    queries = [query for file in DASHBOARDS for query in dashboard_queries(json.loads(file.read_text()))]
    assert queries, f"no dashboards in {INSPECT}"

    port = free_port()
    with tempfile.TemporaryDirectory() as work, Broker(f"{work}/kafka") as broker:
        work = pathlib.Path(work)
        broker.replace_topics()
        generator = Generator(
            bin_dir,
            work / "generator.log",
            METRICS_ADDR=f"127.0.0.1:{port}",
            CONCURRENT_USERS=2000,
            SESSION_PAUSE_MEAN=5,
            SESSION_PAUSE_STDDEV=3,
            **broker.settings(),
        )
        with Prometheus(local_configuration(configuration, port), work) as prometheus:
            deadline = time.monotonic() + LIMIT
            waiting = queries
            while waiting and time.monotonic() < deadline:
                time.sleep(0.5)
                # Grafana replaces this variable by four times the scrape interval.
                waiting = [
                    (panel, query) for panel, query in waiting if prometheus.problem(query.replace("$__rate_interval", "4s"))
                ]
            for panel, query in waiting:
                problem = prometheus.problem(query.replace("$__rate_interval", "4s"))
                print(f"FAILED: {panel}: {query}: {problem}")
            # The check detects a metric that does not exist, and one whose only value is not a number.
            assert prometheus.problem("stream_pageviews_no_such_total")
            assert prometheus.problem("0 * stream_pageviews_in_flight / 0")
            assert prometheus.problem("sum(rate(")
            page = get(f"http://127.0.0.1:{port}/metrics")
        assert generator.stop() == 0, generator.text()
    subprocess.run(["promtool", "check", "metrics"], input=page, text=True, check=True)
    everything = " ".join(query for _, query in queries)
    unused = [name for name in metric_names(page) if name.startswith("stream_pageviews_") and name not in everything]
    assert not unused, f"no panel shows {', '.join(unused)}"
    if waiting:
        raise SystemExit(1)
    print(f"{len(queries)} queries of {len(DASHBOARDS)} dashboard return numbers")


if __name__ == "__main__":
    main()
