#!/usr/bin/env python3
"""Checks the Terraform configuration without Terraform, against the schemas of provider_schemas.py. In
every .tf file under a directory

* each resource and data source type must exist, each argument and nested block in it must exist and be
  written in its form (argument or block), each required one must be present, and none may be among
  those that the next major version of azurerm removes;
* the same applies to the provider block;
* each reference (var, local, resource, data, module, each module's inputs and outputs) must name
  something that exists, attributes of resources and data sources included;
* each variable must have a type and a description, each output a description, and each variable and
  local must be used.

Usage: check_schema.py DIRECTORY NODE_MODULES
Prints one line per problem and exits with 1, or a summary and exits with 0. Needs python-hcl2.
"""

import re
import sys
from pathlib import Path

import hcl2

import provider_schemas

# Arguments that Terraform itself understands in every resource, data source or module.
META = {"count", "for_each", "depends_on", "lifecycle", "provider", "provisioner", "connection"}


def unquote(name):
    """python-hcl2 8 keeps the quotation marks of block labels."""
    return name[1:-1] if name.startswith('"') else name


class Checker:
    def __init__(self, providers):
        self.providers = providers
        self.problems = []
        self.checked = 0

    def problem(self, where, text):
        self.problems.append(f"{where}: {text}")

    def provider_of(self, type_name):
        return self.providers.get(type_name.split("_")[0])

    def block(self, where, provider, interface, body, top=False):
        """Checks one block against the interface that describes it, and then the blocks in it."""
        schema = provider.config(interface)
        present = set()
        for key, value in body.items():
            if key.startswith("__") or (top and key in META):
                continue
            if key == "dynamic":
                for entry in value:
                    for name, dynamic in entry.items():
                        name = unquote(name)
                        present.add(name)
                        if name not in schema or schema[name][1] is None:
                            self.problem(where, f"no nested block {name}")
                            continue
                        for content in dynamic["content"]:
                            self.block(f"{where}.{name}", provider, schema[name][1], content)
                continue
            present.add(key)
            if key not in schema:
                self.problem(where, f"no argument or block {key}")
                continue
            self.checked += 1
            required, nested, _ = schema[key]
            is_block = isinstance(value, list) and bool(value) and all(
                isinstance(item, dict) and item.get("__is_block__") for item in value
            )
            if nested is None and is_block:
                self.problem(where, f"{key} is an argument, not a block")
            elif nested is not None and not is_block:
                self.problem(where, f"{key} is a block, not an argument")
            elif nested is not None:
                for item in value:
                    self.block(f"{where}.{key}", provider, nested, item)
        for key, (required, _, _) in schema.items():
            if required and key not in present:
                self.problem(where, f"required {key} is missing")

    def module(self, directory):
        """Checks one directory of .tf files; returns its (variables, outputs)."""
        text = {file: file.read_text(encoding="utf-8") for file in sorted(directory.glob("*.tf"))}
        declared = {kind: {} for kind in ("variable", "local", "output", "module")}
        resources, data = {}, {}
        modules = {}
        for file, source in text.items():
            tree = hcl2.loads(source)
            for entry in tree.get("variable", []):
                for name, body in entry.items():
                    name = unquote(name)
                    declared["variable"][name] = body
                    where = f"{file}: variable {name}"
                    for needed in ("type", "description"):
                        if needed not in body:
                            self.problem(where, f"has no {needed}")
            for entry in tree.get("output", []):
                for name, body in entry.items():
                    declared["output"][unquote(name)] = body
                    if "description" not in body:
                        self.problem(f"{file}: output {name}", "has no description")
            for entry in tree.get("locals", []):
                declared["local"] |= {k: v for k, v in entry.items() if not k.startswith("__")}
            for entry in tree.get("module", []):
                for name, body in entry.items():
                    declared["module"][unquote(name)] = body
                    source_directory = (directory / unquote(body["source"])).resolve()
                    if source_directory not in modules:
                        modules[source_directory] = self.module(source_directory)
                    variables, _ = modules[source_directory]
                    given = {k for k in body if not k.startswith("__")} - META - {"source", "version", "providers"}
                    where = f"{file}: module {name}"
                    for extra in sorted(given - set(variables)):
                        self.problem(where, f"the module has no variable {extra}")
                    for needed in sorted(k for k, v in variables.items() if "default" not in v and k not in given):
                        self.problem(where, f"required variable {needed} is missing")
            for kind, known in (("resource", resources), ("data", data)):
                for entry in tree.get(kind, []):
                    for type_name, bodies in entry.items():
                        type_name = unquote(type_name)
                        for name, body in bodies.items():
                            name = unquote(name)
                            known[f"{type_name}.{name}"] = type_name
                            where = f"{file}: {kind} {type_name}.{name}"
                            provider = self.provider_of(type_name)
                            schemas = provider and (provider.resources if kind == "resource" else provider.data)
                            if not schemas or type_name not in schemas:
                                self.problem(where, "no such type")
                            else:
                                self.block(where, provider, schemas[type_name][0], body, top=True)
                            for removed in sorted(provider_schemas.REMOVED_IN_AZURERM_5.get(type_name, set()) & set(body)):
                                self.problem(where, f"azurerm 5 removes {removed}")
            for entry in tree.get("provider", []):
                for name, body in entry.items():
                    name = unquote(name)
                    self.provider_block(f"{file}: provider {name}", name, body)

        self.references(directory, text, declared, resources, data, modules)
        return declared["variable"], declared["output"]

    def provider_block(self, where, name, body):
        provider = self.providers[name]
        self.block(where, provider, provider.configuration, {k: v for k, v in body.items() if k != "alias"})

    def references(self, directory, text, declared, resources, data, modules):
        everything = "\n".join(re.sub(r"^\s*#.*$", "", source, flags=re.M) for source in text.values())
        used = {"variable": set(), "local": set()}
        for prefix, kind in (("var", "variable"), ("local", "local")):
            for name in re.findall(rf"\b{prefix}\.(\w+)", everything):
                used[kind].add(name)
                self.checked += 1
                if name not in declared[kind]:
                    self.problem(directory, f"{prefix}.{name} does not exist")
        for name, output in re.findall(r"\bmodule\.(\w+)(?:\.(\w+))?", everything):
            self.checked += 1
            if name not in declared["module"]:
                self.problem(directory, f"module.{name} does not exist")
                continue
            if not output:
                continue
            _, outputs = modules[(directory / unquote(declared["module"][name]["source"])).resolve()]
            if output not in outputs:
                self.problem(directory, f"module.{name} has no output {output}")
        kinds = "|".join(self.providers)
        pattern = rf'(?<![\w."])(data\.)?((?:{kinds})_\w+)\.(\w+)((?:\[[^\]]*\])?)(?:\.(\w+))?'
        for is_data, type_name, name, _, attribute in re.findall(pattern, everything):
            self.checked += 1
            known = data if is_data else resources
            if f"{type_name}.{name}" not in known:
                self.problem(directory, f"{is_data}{type_name}.{name} does not exist")
                continue
            provider = self.provider_of(type_name)
            schemas = provider.data if is_data else provider.resources
            if attribute and type_name in schemas and attribute not in provider.attributes(schemas[type_name][1]):
                self.problem(directory, f"{is_data}{type_name}.{name} has no attribute {attribute}")
        # The use of a variable in its own validation does not count.
        for name in declared["variable"]:
            outside = re.sub(rf'variable "{name}" \{{.*?\n\}}', "", everything, flags=re.S)
            if not re.search(rf"\bvar\.{name}\b", outside):
                self.problem(directory, f"variable {name} is never used")
        for name in sorted(set(declared["local"]) - used["local"]):
            self.problem(directory, f"local {name} is never used")


def main():
    directory, node_modules = Path(sys.argv[1]), Path(sys.argv[2])
    providers = provider_schemas.load(node_modules)
    checker = Checker(providers)
    checker.module(directory)
    for problem in checker.problems:
        print(problem)
    versions = ", ".join(f"{p.name} {p.version}" for p in providers.values())
    print(f"{checker.checked} arguments, blocks and references checked against {versions}: {len(checker.problems)} problems")
    sys.exit(1 if checker.problems else 0)


if __name__ == "__main__":
    main()
