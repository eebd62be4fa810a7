#!/usr/bin/env python3
"""Checks docker-compose.yml beyond what a schema can: that each generator takes the environment that
it is given, as it is by default and with everything in .env.example set; that .env.example names
exactly what can be set; that the SAS is right; that only 127.0.0.1 is published; and that the
generators are confined.

Usage: check_compose.py BINARIES   (needs docker-compose, PyYAML, unshare and root)
"""

import base64
import hashlib
import hmac
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import yaml

from environment import GENERATORS, Generator

ROOT = Path(__file__).resolve().parents[1]
# The account that every Azurite has:
# https://learn.microsoft.com/azure/storage/common/storage-use-azurite#well-known-storage-account-and-key
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def compose(settings):
    """What docker-compose makes of the file with these settings."""
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **settings}
    # An empty file in place of a .env that whoever runs this may have.
    with tempfile.NamedTemporaryFile(suffix=".env") as nothing:
        shown = subprocess.run(
            ["docker-compose", "--env-file", nothing.name, "config"],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
        )
    if shown.returncode != 0:
        raise SystemExit(f"FAILED: docker-compose config:\n{shown.stderr}")
    return yaml.safe_load(shown.stdout)["services"]


def given(service):
    """The variables that the container gets: what is null is left out."""
    return {k: str(v) for k, v in service["environment"].items() if v is not None}


def signature(fields):
    """Of an account SAS, from version 2020-12-06 on:
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
    by_default, with_all = compose({}), compose(example)

    for name in GENERATORS:
        generator = Generator(sys.argv[1], name)
        for services, how in ((by_default, "by default"), (with_all, "with all of .env.example")):
            environment = given(services[name])
            check(generator.problem(environment), f"{name} takes {how} {', '.join(sorted(environment))}")
        service = by_default[name]
        confined = service.get("read_only") and service.get("cap_drop") == ["ALL"]
        check(None if confined else "it is not", f"{name} is read-only and without capabilities")

    settable = set(re.findall(r"(?<!\$)\$\{([A-Z_]+)", source)) | {
        k for name in GENERATORS for k, v in by_default[name]["environment"].items() if v is None
    }
    difference = sorted(settable ^ set(example))
    check(difference, ".env.example names exactly what can be set")
    # The example shows the defaults; SEED, LOG_FORMAT and RUST_LOG have none here.
    values = dict(re.findall(r"(?<!\$)\$\{([A-Z_]+):-([^}]*)\}", source))
    check(sorted(k for k in values if example.get(k) != values[k]), ".env.example shows the defaults")

    fields = {k: v[0] for k, v in parse_qs(urlsplit(by_default["gen-users"]["environment"]["STORAGE_SAS"]).query).items()}
    check(None if fields["sig"] == signature(fields) else "its signature is wrong", "the SAS is Azurite's own")

    ports = [str(port) for service in by_default.values() for port in service.get("ports", [])]
    check([p for p in ports if not p.startswith("127.0.0.1:")] or not ports, f"published on this machine only: {', '.join(ports)}")

    hubs = json.loads((ROOT / "images/eventhubs-emulator/Config.json").read_text(encoding="utf-8"))
    names = [entity["Name"] for entity in hubs["UserConfig"]["NamespaceConfig"][0]["Entities"]]
    check(None if names == ["pageviews", "stars"] else names, "the emulator has the hubs pageviews and stars")

    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
