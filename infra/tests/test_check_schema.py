#!/usr/bin/env python3
"""Tests check_schema.py: the unchanged configuration passes, and each mistake planted in a copy of it
is reported.

Usage: test_check_schema.py DIRECTORY NODE_MODULES
"""

import shutil
import sys
import tempfile
from pathlib import Path

import provider_schemas
from check_schema import Checker

# (file, original text, its replacement, what must be reported)
MISTAKES = [
    ("lake.tf", "is_hns_enabled ", "is_hns_enable ", "no argument or block is_hns_enable"),
    ("lake.tf", 'account_tier             = "Standard"', "", "required account_tier is missing"),
    ("lake.tf", "move = true", "moves = true", "no argument or block moves"),
    ("lake.tf", "permissions {", "permissions = {", "permissions is a block, not an argument"),
    ("lake.tf", "primary_dfs_endpoint", "primary_dsf_endpoint", "has no attribute primary_dsf_endpoint"),
    ("main.tf", "  tags     = var.tags\n", "  tags {\n  }\n", "tags is an argument, not a block"),
    ("main.tf", "  location = var.location\n", "", "required location is missing"),
    ("main.tf", '"azurerm_resource_group" "playground"', '"azurerm_resources_group" "playground"', "no such type"),
    ("sql.tf", "login_username ", "login_name ", "required login_username is missing"),
    ("sql.tf", "random_password.sql[0].result", "random_password.sql[0].value", "has no attribute value"),
    ("eventhubs.tf", "var.eventhubs_capacity", "var.eventhub_capacity", "var.eventhub_capacity does not exist"),
    ("eventhubs.tf", "azurerm_eventhub_namespace.playground.id", "azurerm_eventhub_namespace.other.id", "azurerm_eventhub_namespace.other does not exist"),
    ("generators.tf", "local.highest_ids", "local.highest_id", "local.highest_id does not exist"),
    ("generators.tf", "  shards              = local", "  count_of_shards = local", "the module has no variable count_of_shards"),
    ("generators.tf", "  name                = each.key\n", "", "required variable name is missing"),
    ("outputs.tf", "module.generator", "module.generators", "module.generators does not exist"),
    ("lake.tf", "= var.storage_replication", '= "LRS"', "variable storage_replication is never used"),
    ("identity.tf", "user_assigned_identity_id ", "parent_id ", "azurerm 5 removes parent_id"),
    ("images.tf", "request_headers", "headers", "no argument or block headers"),
    ("variables.tf", '  description = "Number of users."\n', "", "variable users_count: has no description"),
    ("versions.tf", "data_plane_available", "dataplane_available", "no argument or block dataplane_available"),
    ("modules/generator/main.tf", "ip_address_type     =", "ip_adress_type =", "no argument or block ip_adress_type"),
    ("modules/generator/main.tf", 'type         = "UserAssigned"', "", "required type is missing"),
]


def problems(directory, providers):
    checker = Checker(providers)
    checker.module(directory)
    return checker.problems


def main():
    source, node_modules = Path(sys.argv[1]), Path(sys.argv[2])
    providers = provider_schemas.load(node_modules)
    failed = 0
    for file, before, after, expected in [("main.tf", "", "", None), *MISTAKES]:
        with tempfile.TemporaryDirectory() as scratch:
            copy = Path(scratch) / "infra"
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns(".terraform*", "tests"))
            text = (copy / file).read_text(encoding="utf-8")
            if before not in text:
                print(f"FAILED: {file} no longer holds {before!r}")
                failed += 1
                continue
            (copy / file).write_text(text.replace(before, after, 1), encoding="utf-8")
            found = problems(copy, providers)
            right = any(expected in problem for problem in found) if expected else not found
            if not right:
                print(f"FAILED: {file}, {before!r} -> {after!r}: expected {expected!r}, got {found}")
                failed += 1
    print(f"{len(MISTAKES) + 1 - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
