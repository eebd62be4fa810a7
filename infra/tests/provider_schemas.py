"""Reads the schemas of the Terraform providers from npm packages, so that machines that cannot reach Terraform's
provider registry can still check the configuration against them. Each package of CDK for Terraform
(@cdktf/provider-*) and of its successor CDK Terrain (@cdktn/provider-*) describes one provider in its
`.jsii`."""

import json
import re
from pathlib import Path

# Provider -> the npm package that describes it.
PACKAGES = {
    "azurerm": "@cdktn/provider-azurerm",
    "http": "@cdktf/provider-http",
    "random": "@cdktf/provider-random",
    "time": "@cdktf/provider-time",
}
# No package describes azurerm 5. These are the arguments and blocks that it removes from the types used
# here: https://registry.terraform.io/providers/hashicorp/azurerm/latest/docs/guides/5.0-upgrade-guide
REMOVED_IN_AZURERM_5 = {
    "azurerm_eventhub": {"namespace_name", "resource_group_name"},
    "azurerm_federated_identity_credential": {"parent_id"},
    "azurerm_storage_account": {"queue_properties", "static_website"},
    "azurerm_storage_container": {"storage_account_name"},
}
# The properties that the packages add to every configuration interface (in camel case).
ADDED = {"connection", "count", "dependsOn", "forEach", "lifecycle", "provider", "provisioners"}


def snake(name):
    """Converts accountKind to account_kind, which is Terraform's spelling."""
    return re.sub(r"[A-Z]", lambda m: "_" + m.group().lower(), name)


def attribute_type(kind):
    """Returns the type of a property in Terraform's wire format; None for anything other than a primitive value
    or a list or map of primitive values."""
    if "primitive" in kind:
        return {"string": "string", "number": "number", "boolean": "bool"}.get(kind["primitive"])
    if "collection" in kind:
        element = attribute_type(kind["collection"]["elementtype"])
        return element and [{"array": "list", "map": "map"}[kind["collection"]["kind"]], element]
    if "union" in kind:
        return next(filter(None, map(attribute_type, kind["union"]["types"])), None)
    # A read-only boolean.
    return "bool" if kind.get("fqn", "").endswith(".IResolvable") else None


class Provider:
    """The schema of one provider."""

    def __init__(self, node_modules, name):
        self.name = name
        self.package = PACKAGES[name]
        document = json.loads((Path(node_modules) / self.package / ".jsii").read_text(encoding="utf-8"))
        self.types = document["types"]
        self.version = re.search(r"provider version ([0-9.]+)", document["readme"]["markdown"]).group(1)
        # Terraform type -> (configuration interface, class), from the class's documentation.
        self.resources, self.data = {}, {}
        for fqn, kind in self.types.items():
            if kind["kind"] != "class" or not re.search(r"\.Terraform(Resource|DataSource)$", kind.get("base", "")):
                continue
            found = re.search(r"docs/(resources|data-sources)/\w+ (\w+)\}", kind.get("docs", {}).get("summary", ""))
            if found:
                target = self.resources if found[1] == "resources" else self.data
                target[re.sub(r"^data_", "", found[2])] = (f"{fqn}Config", fqn)
        self.configuration = f"{self.package}.provider.{name.capitalize()}ProviderConfig"

    def config(self, interface):
        """Returns the contents of a block: name -> (required, nested interface or None, property)."""
        content = {}
        for base in self.types[interface].get("interfaces", []):
            if base in self.types:
                content |= self.config(base)
        for prop in self.types[interface].get("properties", []):
            if prop["name"] in ADDED and not prop.get("override"):
                if re.search(r"cdkt[fn]\.", json.dumps(prop["type"])) or prop["name"] == "connection":
                    continue
            nested = re.search(rf'"fqn": "({self.package}\.[^"]*)"', json.dumps(prop["type"]))
            # The link in the documentation spells the argument as Terraform does (nfsv3_enabled).
            summary = prop.get("docs", {}).get("summary", "")
            named = re.search(r"#(\w+) ", summary) or re.match(r"(\w+) block\.", summary)
            content[named[1] if named else snake(prop["name"])] = (
                not prop.get("optional", False),
                nested[1] if nested else None,
                prop,
            )
        return content

    def attributes(self, fqn):
        """Returns everything that can be read from a resource: name -> property."""
        return {snake(prop["name"]): prop for prop in self.types[fqn].get("properties", [])}

    def block(self, interface, fqn=None):
        """Returns the contents of a block in a form like that of `terraform providers schema`, as far as they are
        known. It is not known whether an optional argument is also computed: the arguments of the resource itself
        (fqn is its class) count as computed. Nor is it known whether nested blocks form a list or a set: they count
        as lists."""
        attributes, blocks = {}, {}
        for name, (required, nested, prop) in self.config(interface).items():
            if nested:
                single = "fqn" in prop["type"]
                blocks[name] = {"block": self.block(nested), "min": int(required), "max": int(single)}
            elif attribute_type(prop["type"]):
                attributes[name] = {"type": attribute_type(prop["type"]), "required": required, "optional": not required, "computed": bool(fqn and not required)}
        if fqn:
            for name, prop in self.attributes(fqn).items():
                if name not in attributes and name not in blocks and attribute_type(prop["type"]):
                    attributes[name] = {"type": attribute_type(prop["type"]), "computed": True}
            attributes.setdefault("id", {"type": "string"})["computed"] = True
        return {"attributes": attributes, "blocks": blocks}


def load(node_modules):
    return {name: Provider(node_modules, name) for name in PACKAGES}
