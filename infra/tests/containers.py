#!/usr/bin/env python3
"""Runs the Terraform tests (*.tftest.hcl) with stand-ins for the providers, and checks the containers that
they plan with the real generators:

* each container has only environment variables that its generator reads, none of them empty, and no secret
  outside of its secure variables;
* the generator accepts these variables (exit code 2 would be a configuration error; the network is cut off
  using `unshare --net`, so anything later fails in a different way);
* where the declaration of settings limits a value, Terraform accepts the limit and rejects the next value.

Usage: containers.py DIRECTORY BINARIES NODE_MODULES
Needs terraform, unshare and root, and what stub_providers.py needs.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from datetime import date, timedelta
from pathlib import Path

import stub_providers

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "images"))
from environment import GENERATORS, Generator  # noqa: E402

# The text that every secret in playground.tftest.hcl contains.
SECRET = "c2VjcmV0"

# The limits of the settings: (Terraform's variable, its value for a limit given as text, generator, its
# setting, which limit).
LIMITS = [
    ("users_count", int, "gen-users", "COUNT", "max"),
    ("vip_count", int, "gen-users", "VIP_COUNT", "max"),
    ("products_count", int, "gen-products", "COUNT", "max"),
    ("products_rate", int, "gen-products", "RATE", "max"),
    ("orders_count", int, "gen-orders", "COUNT", "max"),
    ("orders_rate", int, "gen-orders", "RATE", "max"),
    ("order_dates", lambda day: {"from": day, "to": "9999-12-31"}, "gen-orders", "DATE_FROM", "min"),
    ("session_pause", lambda value: {"mean": int(value), "stddev": int(value)}, "stream-pageviews", "SESSION_PAUSE_MEAN", "max"),
    ("concurrent_users", int, "stream-pageviews", "CONCURRENT_USERS", "max"),
    ("seed", str, "stream-pageviews", "SEED", "max"),
]


def at_and_beyond(setting, which):
    """Returns a limit of a setting, and the adjacent value that is not allowed."""
    limit, step = setting[which], {"min": -1, "max": 1}[which]
    if setting["type"] == "date":
        return limit, str(date.fromisoformat(limit) + timedelta(days=step))
    return limit, str(int(limit) + step)


def limits_test(generators, mocks):
    """Returns a test file with these limits. The second run is expected to fail, with one error per variable."""
    at, beyond = {}, {}
    for variable, value, generator, name, which in LIMITS:
        limit, next_value = at_and_beyond(generators[generator].settings[name], which)
        at[variable], beyond[variable] = value(limit), value(next_value)
    runs = "".join(
        f'run "{run}" {{\n  variables {{\n'
        + "".join(f"    {variable} = {json.dumps(value)}\n" for variable, value in values.items())
        + "  }\n}\n"
        for run, values in (("at_the_limits", at), ("beyond_the_limits", beyond))
    )
    return mocks + runs


def containers(module):
    """Returns the containers of all groups of a module and of the modules in it, with their group."""
    for resource in module.get("resources", []):
        if resource["type"] == "azurerm_container_group":
            for container in resource["values"]["container"]:
                yield resource["values"], container
    for child in module.get("child_modules", []):
        yield from containers(child)


def main():
    source, binaries, node_modules = map(Path, sys.argv[1:])
    generators = {name: Generator(binaries, name) for name in GENERATORS}
    passed, failed = 0, 0

    def check(right, what):
        nonlocal passed, failed
        if right:
            passed += 1
        else:
            failed += 1
            print(f"FAILED: {what}")

    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "infra"
        shutil.copytree(source, copy, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*", "*.tfvars*"))
        mocks = (copy / "tests/playground.tftest.hcl").read_text(encoding="utf-8").partition("\n# Everything by default.")[0]
        (copy / "tests/limits.tftest.hcl").write_text(limits_test(generators, mocks), encoding="utf-8")
        stub_providers.install(source, node_modules, Path(scratch))

        def terraform(*arguments):
            return subprocess.run(
                ["terraform", f"-chdir={copy}", *arguments],
                capture_output=True, text=True, env=stub_providers.environment(scratch), check=False,
            )

        for arguments in (["init", "-backend=false", "-input=false", "-no-color"], ["validate", "-no-color"]):
            done = terraform(*arguments)
            if done.returncode != 0:
                raise SystemExit(f"FAILED: terraform {arguments[0]}:\n{done.stdout}{done.stderr}")
            passed += 1

        refusals = ""
        names = set()
        for line in terraform("test", "-json", "-verbose").stdout.splitlines():
            message = json.loads(line)
            run, kind = message.get("@testrun", ""), message["type"]
            beyond = run == "beyond_the_limits"
            if kind == "diagnostic" and beyond:
                refusals += f"{message['diagnostic']['detail']}\n"
            elif kind == "diagnostic":
                print(f"{run}: {message['diagnostic']['summary']}: {message['diagnostic']['detail']}")
            elif kind == "test_run" and message["test_run"]["progress"] == "complete" and not beyond:
                check(message["test_run"]["status"] == "pass", f"{message['@testfile']}: run {run}")
            elif kind == "test_state":
                for group, container in containers(message["test_state"]["root_module"]):
                    name = container["name"]
                    names.add(name)
                    generator = re.sub(r"-\d{3}$", "", name)
                    visible = container["environment_variables"]
                    secrets = container["secure_environment_variables"] or {}
                    environment = {**visible, **secrets}
                    check(SECRET not in json.dumps(visible), f"{run}: {name} shows a secret")
                    check(run == "keys" or not secrets, f"{run}: {name} has secrets: {sorted(secrets)}")
                    check(("AZURE_CLIENT_ID" in environment) == (run != "keys"), f"{run}: {name}: AZURE_CLIENT_ID")
                    check(group["ip_address_type"] == "None", f"{run}: {name} has an address")
                    policy = "Always" if generator == "stream-pageviews" else "OnFailure"
                    check(group["restart_policy"] == policy, f"{run}: {name} restarts {group['restart_policy']}")
                    problem = generators[generator].problem(environment)
                    check(problem is None, f"{run}: {name}: {problem}")

    text = (source / "generators.tf").read_text(encoding="utf-8")
    for part, default in re.findall(r"coalesce\(var\.session_pause\.(\w+), (\d+)\)", text):
        setting = generators["stream-pageviews"].settings[f"SESSION_PAUSE_{part.upper()}"]
        check(setting["default"] == default, f"the stream's memory is for a session_pause.{part} of {default}, not {setting['default']}")

    check({"gen-users", "gen-users-009", "stream-pageviews", "stream-pageviews-001"} <= names, f"containers: {sorted(names)}")
    for variable, *_ in LIMITS:
        check(re.search(rf"^{variable}\b", refusals, re.M), f"{variable} beyond the generator's limit was not refused")

    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
