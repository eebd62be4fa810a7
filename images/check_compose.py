#!/usr/bin/env python3
"""Checks docker-compose.yml beyond what a schema can: that each generator accepts the environment that
it is given, by default and with everything in .env.example set; that .env.example, which is generated, names
exactly what can be set; that the SAS is right; that only 127.0.0.1 is published; that the generators are confined; that
no other image follows a moving tag; that no service restarts forever; and that Prometheus scrapes the stream and Grafana
finds Prometheus, both in the profile `inspect` only.

Usage: check_compose.py BINARIES   (needs PyYAML, unshare and root)
"""

import base64
import hashlib
import hmac
import json
import re
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import yaml

from environment import GENERATORS, Generator

ROOT = Path(__file__).resolve().parents[1]
# The account that every Azurite has:
# https://learn.microsoft.com/azure/storage/common/storage-use-azurite#well-known-storage-account-and-key
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
# The only form of interpolation in the file; $$ stands for a dollar sign.
INTERPOLATION = re.compile(r"\$(?:\$|\{([A-Z_]+):-([^}]*)\})")


def compose(settings):
    """Returns the file with these settings. (`docker compose config` does more, but is not available everywhere.)"""

    def resolve(value):
        if isinstance(value, dict):
            return {key: resolve(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [resolve(inner) for inner in value]
        if isinstance(value, str):
            return INTERPOLATION.sub(lambda found: settings.get(found[1], found[2]) if found[1] else "$", value)
        return value

    return resolve(yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8")))


def given(service, settings):
    """Returns the container's variables. A variable without a value is taken from the settings, if it exists there."""
    environment = {name: settings.get(name) if value is None else value for name, value in service["environment"].items()}
    return {name: str(value) for name, value in environment.items() if value is not None}


def signature(fields):
    """Returns the signature of an account SAS, from version 2020-12-06 on:
    https://learn.microsoft.com/rest/api/storageservices/create-account-sas#construct-the-signature-string"""
    lines = [ACCOUNT, *(fields.get(f, "") for f in ("sp", "ss", "srt", "st", "se", "sip", "spr", "sv", "ses")), ""]
    digest = hmac.new(base64.b64decode(KEY), "\n".join(lines).encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def main():
    passed, failed = 0, 0

    def check(problem, what):
        nonlocal passed, failed
        if problem:
            failed += 1
            print(f"FAILED: {what}: {problem}")
        else:
            passed += 1
            print(f"ok: {what}")

    example = dict(re.findall(r"^#([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(encoding="utf-8"), re.M))
    source = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    document, with_all = compose({}), compose(example)
    services = document["services"]

    for name in GENERATORS:
        generator = Generator(sys.argv[1], name)
        for variant, settings, how in ((document, {}, "by default"), (with_all, example, "with all of .env.example")):
            environment = given(variant["services"][name], settings)
            check(generator.problem(environment), f"{name} accepts {how} {', '.join(sorted(environment))}")
        service = services[name]
        confined = service.get("read_only") and service.get("cap_drop") == ["ALL"]
        check(None if confined else "it is not", f"{name} is read-only and without capabilities")

    defaults = dict(found for found in INTERPOLATION.findall(source) if found[0])
    unusual = re.findall(r"\$\{[^}]*\}", INTERPOLATION.sub("", source))
    check(unusual, "every setting has a default: ${NAME:-DEFAULT}")
    passed_on = {k for name in GENERATORS for k, v in services[name]["environment"].items() if v is None}
    check(sorted((set(defaults) | passed_on) ^ set(example)), ".env.example names exactly what can be set")
    # SEED, LOG_FORMAT and RUST_LOG have no default here.
    check(sorted(k for k in defaults if example.get(k) != defaults[k]), ".env.example shows the defaults")

    fields = {k: v[0] for k, v in parse_qs(urlsplit(services["gen-users"]["environment"]["STORAGE_SAS"]).query).items()}
    check(None if fields["sig"] == signature(fields) else "its signature is wrong", "the SAS is Azurite's own")

    ports = [port for service in services.values() for port in service.get("ports", [])]
    check([p for p in ports if not p.startswith("127.0.0.1:")] or not ports, f"published on this machine only: {', '.join(ports)}")

    others = {service["image"] for name, service in services.items() if name not in GENERATORS}
    check(sorted(i for i in others if re.search(r":[\w.-]*latest$|^[^:]*$", i)), f"pinned: {', '.join(sorted(others))}")
    names = [image.partition(":")[0] for image in others]
    check(sorted({n for n in names if names.count(n) > 1}), "each of these images has one version")
    endless = sorted(n for n, s in services.items() if s.get("restart", "no") not in ("no", "on-failure:5"))
    check(endless, "nothing restarts forever")

    mounts = [mount.split(":")[0] for service in services.values() for mount in service.get("volumes", [])]
    files = [mount for mount in mounts if mount.startswith(".")]
    check([f for f in files if not (ROOT / f).exists()] or not files, f"mounted files exist: {', '.join(files)}")
    optional = {n for n, s in services.items() if s.get("profiles") == ["inspect"]}
    check(optional ^ {"prometheus", "grafana"}, "only Prometheus and Grafana are in the profile inspect")
    stream = services["stream-pageviews"]
    network = stream["network_mode"].removeprefix("service:")
    metrics = f"{network}:{stream['environment']['METRICS_ADDR'].rpartition(':')[2]}"
    scraped = yaml.safe_load((ROOT / "infra/inspect/prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"]
    targets = [t for job in scraped for group in job["static_configs"] for t in group["targets"]]
    check([t for t in targets if t != metrics] or not targets, f"Prometheus scrapes METRICS_ADDR: {', '.join(targets)}")
    provisioning = ROOT / "infra/inspect/grafana/provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text(encoding="utf-8"))["datasources"]
    inside = services["prometheus"]["ports"][0].rpartition(":")[2]
    check(None if source["url"] == f"http://prometheus:{inside}" else source["url"], "Grafana's data source is Prometheus")
    (provider,) = yaml.safe_load((provisioning / "dashboards/files.yml").read_text(encoding="utf-8"))["providers"]
    mounted = dict(mount.split(":")[:2] for mount in services["grafana"]["volumes"])
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    directory = {inside: outside for outside, inside in mounted.items()}.get(provider["options"]["path"], "nowhere")
    found = home.startswith(provider["options"]["path"] + "/") and (ROOT / directory / Path(home).name).is_file()
    check(None if found else home, "Grafana opens with the dashboard")

    hubs = json.loads(document["configs"]["eventhubs"]["content"])
    names = [entity["Name"] for entity in hubs["UserConfig"]["NamespaceConfig"][0]["Entities"]]
    check(None if names == ["pageviews", "stars"] else names, "the emulator has the hubs pageviews and stars")

    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
