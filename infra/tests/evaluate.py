#!/usr/bin/env python3
"""Evaluates the configuration by Terraform itself, with stand-ins for what Azure would answer, and
tries the containers' environments on the real generators.

Providers cannot be had everywhere, so the configuration is copied without its resources: what they
would answer is replaced by made-up values, and a container group by a `terraform_data` (built into
Terraform) that holds the very same expressions. Then Terraform's own evaluator applies variables,
validations, locals and modules. For each way of signing in and for shards this checks

* that each container gets only variables that its generator's --help lists, none of them empty, and
  no secret outside of its secure variables;
* that the generator accepts them (exit code 2 would be a configuration error; the network is cut off
  by `unshare --net`, so anything later fails in another way);

and that each bad value of a variable is refused by its validation. Where a generator limits a value,
the limit is asked of the generator: its refusal of a value far beyond tells it.

Usage: evaluate.py DIRECTORY BINARIES   (needs terraform, unshare and root)
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from datetime import date, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "images"))
from environment import GENERATORS, Generator  # noqa: E402

SECRET = "c2VjcmV0"
# As azurerm makes it: this version, these permissions, in this order.
SAS = f"sv=2018-11-09&sr=c&st=2025-12-31T23%3A45%3A00Z&se=2099-12-31T00%3A00%3A00Z&sp=racwdl&spr=https&sig={SECRET}"
CONNECTION = "Endpoint=sb://dataplayground7x.servicebus.windows.net/;SharedAccessKeyName=stream-pageviews;SharedAccessKey=c2VjcmV0;EntityPath="

# What a resource would answer: (pattern of the reference, value).
ANSWERS = [
    (r"primary_blob_endpoint$", "https://dataplayground7x.blob.core.windows.net/"),
    (r"primary_dfs_endpoint$", "https://dataplayground7x.dfs.core.windows.net/"),
    (r"storage_container\.\w+\.name$", "bronze"),
    (r"container_sas\.\w+\[0\]\.sas$", f"?{SAS}"),
    (r"time_static\.\w+\[0\]\.rfc3339$", "2026-01-01T00:00:00Z"),
    (r"fully_qualified_domain_name$", "dataplayground7x.database.windows.net"),
    (r"mssql_database\.\w+\.name$", "orders"),
    (r"random_password\..*result$", f"{SECRET}-aA1"),
    (r'\["pageviews"\]\.primary_connection_string$', f"{CONNECTION}pageviews"),
    (r'\["stars"\]\.primary_connection_string$', f"{CONNECTION}stars"),
    (r"eventhub_namespace\.\w+\.name$", "dataplayground7x"),
    (r"(client_id|principal_id|subscription_id)$", "11111111-2222-3333-4444-555555555555"),
    (r"random_string\.\w+\.result$", "7x"),
    (r"\.id$", "/subscriptions/11111111-2222-3333-4444-555555555555/x"),
    (r"\.(name|location)$", "dataplayground7x"),
]
REFERENCE = re.compile(
    r'(?<![\w."])(?:data\.)?(?:azurerm|random|time|external)_\w+\.\w+(?:\[[^\]]*\])?\.\w+'
)

# Variables of a plan -> for each container group, variables that it must have.
SETTINGS = {
    "identity": (
        {},
        {
            "gen-users": {"COUNT": "1000000", "VIP_COUNT": "10000", "LAKE_URL": "https://dataplayground7x.blob.core.windows.net/bronze/"},
            "gen-products": {"COUNT": "100000"},
            "gen-orders": {"COUNT": "10000000", "USER_MAX_ID": "999999", "PRODUCT_MAX_ID": "99999"},
            "stream-pageviews": {"USER_MAX_ID": "999999", "PRODUCT_MAX_ID": "99999", "EVENTHUB_NAMESPACE": "dataplayground7x"},
        },
    ),
    "keys": (
        {"sign_in": "keys", "users_count": 5000},
        {
            "gen-users": {
                "COUNT": "5000",
                "VIP_COUNT": "5000",
                "STORAGE_SAS": f"https://dataplayground7x.blob.core.windows.net/bronze/?{SAS}",
            },
            "gen-products": {},
            "gen-orders": {"SQL_USER": "playground", "SQL_PASSWORD": f"{SECRET}-aA1"},
            "stream-pageviews": {"EVENTHUB_CONNECTION_STRING_STARS": f"{CONNECTION}stars"},
        },
    ),
    "shards and every option": (
        {
            "users_shards": 2,
            "products_shards": 0,
            "orders_shards": 3,
            "stream_shards": 1,
            "seed": "18446744073709551615",
            "orders_rate": 1000,
            "products_rate": 50,
            "order_dates": {"from": "2020-01-01", "to": "2021-01-01"},
            "session_pause": {"mean": 0.5, "stddev": 0},
            "concurrent_users": 20,
            "log_format": "json",
            "lake_api": "dfs",
            "log_filter": "info,gen_users=debug",
            # null asks for the default.
            "vip_count": None,
            "cpu": None,
            # As the command of the output take_sql writes it.
            "sql_administrator": {"login_name": "me@example.com", "object_id": "11111111-2222-3333-4444-555555555555"},
        },
        {
            "gen-users-00": {"SHARD_INDEX": "0", "SHARD_COUNT": "2", "SEED": "18446744073709551615", "LAKE_URL": "https://dataplayground7x.dfs.core.windows.net/bronze/"},
            "gen-users-01": {"SHARD_INDEX": "1", "SHARD_COUNT": "2", "VIP_COUNT": "10000"},
            "gen-orders-00": {"SHARD_INDEX": "0", "SHARD_COUNT": "3", "RATE": "1000", "DATE_FROM": "2020-01-01"},
            "gen-orders-01": {"SHARD_INDEX": "1", "SHARD_COUNT": "3", "DATE_TO": "2021-01-01"},
            "gen-orders-02": {"SHARD_INDEX": "2", "SHARD_COUNT": "3", "LOG_FORMAT": "json"},
            "stream-pageviews": {"SESSION_PAUSE_MEAN": "0.5", "SESSION_PAUSE_STDDEV": "0", "CONCURRENT_USERS": "20", "RUST_LOG": "info,gen_users=debug"},
        },
    ),
}

BAD = [
    {"subscription_id": "my-subscription"},
    {"location": "West Europe"},
    {"name": "Data_Playground"},
    {"name": "a-name-that-is-far-too-long"},
    {"sign_in": "password"},
    {"sas_days": 0},
    {"sql_allowed_ips": {"home": "example.com"}},
    {"sql_administrator": {"login_name": "me", "object_id": "me@example.com"}},
    {"lake_api": "file"},
    {"lake_api": "dfs", "sign_in": "keys"},
    {"image_owner": "Tkubica12"},
    {"image_tag": "a tag"},
    {"users_count": 0},
    {"users_count": 1.5},
    {"vip_count": -1},
    {"seed": "-1"},
    {"seed": "007"},
    {"seed": "0x10"},
    {"orders_rate": 0},
    {"order_dates": {"from": "2021-01-01", "to": "2021-01-01"}},
    {"order_dates": {"from": "yesterday", "to": "2021-01-01"}},
    {"order_dates": {"from": "9999-01-01", "to": "10000-01-01"}},
    {"session_pause": {"mean": -1}},
    {"session_pause": {"stddev": -1}},
    {"concurrent_users": 0},
    {"users_shards": 61},
    {"cpu": 0},
    {"memory": 0.1},
    {"log_format": "xml"},
    {"log_filter": ""},
    {"log_filter": "=="},
    {"log_filter": "info,"},
    {"storage_replication": "none"},
    {"eventhubs_capacity": 41},
    {"pageviews_partitions": 33},
    {"sql_sku": "S0"},
    {"sql_max_size_gb": 0},
]

# What the generators themselves limit: (a plan's variables with the value as text, generator, its variable, a
# value far beyond). Of the first day of orders the limit is the lowest value, of all others the highest.
FAR = "99999999999999999999"
LIMITS = [
    (lambda value: {"users_count": int(value)}, "gen-users", "COUNT", FAR),
    (lambda value: {"vip_count": int(value)}, "gen-users", "VIP_COUNT", FAR),
    (lambda value: {"products_count": int(value)}, "gen-products", "COUNT", FAR),
    (lambda value: {"products_rate": int(value)}, "gen-products", "RATE", FAR),
    (lambda value: {"orders_count": int(value)}, "gen-orders", "COUNT", FAR),
    (lambda value: {"orders_rate": int(value)}, "gen-orders", "RATE", FAR),
    (lambda value: {"order_dates": {"from": value, "to": "9999-12-31"}}, "gen-orders", "DATE_FROM", "0001-01-01"),
    (lambda value: {"session_pause": {"mean": int(value), "stddev": int(value)}}, "stream-pageviews", "SESSION_PAUSE_MEAN", FAR),
    (lambda value: {"concurrent_users": int(value)}, "stream-pageviews", "CONCURRENT_USERS", FAR),
    (lambda value: {"seed": value}, "stream-pageviews", "SEED", FAR),
]


def beyond(low, high):
    """The value next to the limit that a generator refuses, and the limit."""
    if high.isdigit():
        return str(int(high) + 1), high
    return str(date.fromisoformat(low) - timedelta(days=1)), low


def answer(reference):
    for pattern, value in ANSWERS:
        if re.search(pattern, reference):
            literal = json.dumps(value)
            return f"[{literal}]" if "[*]" in reference else literal
    raise SystemExit(f"evaluate.py has no answer for {reference}: add one to ANSWERS")


def block(kinds, text):
    """Top-level blocks of these kinds; `terraform fmt` puts their end at the start of a line."""
    return re.compile(rf"^(?:{kinds})\b[^\n]*\{{(?:\}}$|\n.*?^\}}$)", re.M | re.S).sub("", text)


def stand_in(source, target):
    """Copies the configuration without what needs a provider."""
    for file in sorted(source.rglob("*.tf")):
        text = file.read_text(encoding="utf-8")
        group = re.search(r'^resource "azurerm_container_group" .*?^\}$', text, re.M | re.S)
        if group:
            fields = dict(re.findall(r"^\s+(name|image|cpu|memory|restart_policy|ip_address_type|\w*environment_variables)\s+= (.*)$", group[0], re.M))
            # The group's own name comes before the container's.
            fields["name"] = "each.key"
            inputs = "\n".join(f"    {name} = {expression}" for name, expression in fields.items())
            for needed in ("image", "environment_variables", "secure_environment_variables", "restart_policy"):
                if needed not in fields:
                    raise SystemExit(f"evaluate.py does not find {needed} in {file}")
            stand = f'resource "terraform_data" "generator" {{\n  for_each = local.groups\n  input = {{\n{inputs}\n  }}\n}}\n'
            text = text.replace(group[0], stand)
            text = block("terraform", text)
        else:
            text = block("resource|data|provider|terraform", text)
        text = re.sub(r"^\s+depends_on = \[.*\]$", "", text, flags=re.M)
        text = text.replace("azurerm_container_group.generator : group.name", "terraform_data.generator : group.input.name")
        text = REFERENCE.sub(lambda match: answer(match[0]), text)
        copy = target / file.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(text, encoding="utf-8")


def terraform(directory, *arguments):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TF_")}
    return subprocess.run(
        ["terraform", f"-chdir={directory}", *arguments],
        capture_output=True, text=True, env=environment | {"CHECKPOINT_DISABLE": "1"}, check=False,
    )


def container_groups(directory, variables):
    """Applies with these variables; returns name -> what the container group was given."""
    (directory / "terraform.tfstate").unlink(missing_ok=True)
    (directory / "test.auto.tfvars.json").write_text(json.dumps(variables), encoding="utf-8")
    applied = terraform(directory, "apply", "-auto-approve", "-input=false", "-no-color")
    if applied.returncode != 0:
        raise SystemExit(f"FAILED: terraform apply with {variables}:\n{applied.stdout}{applied.stderr}")
    shown = json.loads(terraform(directory, "show", "-json").stdout)
    return {
        resource["values"]["input"]["name"]: resource["values"]["input"]
        for module in shown["values"]["root_module"].get("child_modules", [])
        for resource in module.get("resources", [])
    }


def main():
    source, binaries = Path(sys.argv[1]), Path(sys.argv[2])
    generators = {name: Generator(binaries, name) for name in GENERATORS}
    passed, failures = 0, []

    def check(right, what):
        nonlocal passed
        if right:
            passed += 1
        else:
            failures.append(what)
            print(f"FAILED: {what}")

    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        stand_in(source, directory)
        initialised = terraform(directory, "init", "-input=false", "-no-color")
        if initialised.returncode != 0:
            raise SystemExit(f"FAILED: terraform init:\n{initialised.stdout}{initialised.stderr}")

        def judge(group, environment):
            return generators[re.sub(r"-\d\d$", "", group)].judge(environment)

        def check_refused(variables):
            (directory / "test.auto.tfvars.json").write_text(json.dumps(variables), encoding="utf-8")
            planned = terraform(directory, "plan", "-input=false", "-no-color")
            refused = planned.returncode != 0 and "Invalid value for variable" in planned.stderr
            check(refused, f"{variables} was not refused: {planned.stderr[-300:]}")

        for setting, (variables, expected) in SETTINGS.items():
            groups = container_groups(directory, variables)
            check(set(groups) == set(expected), f"{setting}: container groups {sorted(groups)}")
            for name, given in groups.items():
                open_variables = given["environment_variables"]
                secrets = given["secure_environment_variables"] or {}
                environment = {**open_variables, **secrets}
                for variable, value in expected.get(name, {}).items():
                    check(environment.get(variable) == value, f"{setting}: {name} has {variable}={environment.get(variable)!r}")
                check(SECRET not in json.dumps(open_variables), f"{setting}: {name} shows a secret")
                check(setting == "keys" or not secrets, f"{setting}: {name} has secrets {sorted(secrets)}")
                check(("AZURE_CLIENT_ID" in environment) == (setting != "keys"), f"{setting}: {name}, AZURE_CLIENT_ID")
                check(given["ip_address_type"] == "None", f"{setting}: {name} has an address")
                policy = "Always" if name.startswith("stream") else "OnFailure"
                check(given["restart_policy"] == policy, f"{setting}: {name} restarts {given['restart_policy']}")
                problem = judge(name, environment)
                check(problem is None, f"{setting}: {name}: {problem}")

        at_the_limits = {}
        for variables, name, variable, far in LIMITS:
            bad, limit = beyond(*generators[name].limits(variable, far))
            at_the_limits |= variables(limit)
            check_refused(variables(bad))
        for name, given in container_groups(directory, at_the_limits).items():
            problem = judge(name, given["environment_variables"])
            check(problem is None, f"{at_the_limits}: {name}: {problem}")

        for variables in BAD:
            check_refused(variables)

    print(f"{passed} passed, {len(failures)} failed")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
