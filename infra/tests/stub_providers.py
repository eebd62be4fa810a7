#!/usr/bin/env python3
"""Stand-ins for the Terraform providers, for machines that cannot reach the provider registry: they know only
the schemas (provider_schemas.py). This is enough for `terraform validate`, and for `terraform test` with
mock_provider, which only asks a provider for its schema and for the validation of arguments.

Usage: stub_providers.py install CONFIGURATION NODE_MODULES TARGET
           writes a filesystem mirror with the providers of that configuration, and TARGET/terraformrc
       stub_providers.py serve SCHEMA
           what Terraform starts
Needs the Python packages tf (for the plugin protocol's messages) and grpcio.
"""

import json
import os
import platform
import re
import sys
import tempfile
from concurrent import futures
from pathlib import Path

import provider_schemas

REGISTRY = "registry.terraform.io/hashicorp"
# The platform in Terraform's spelling.
PLATFORM = "linux_" + {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def install(configuration, node_modules, target):
    source = "\n".join(file.read_text(encoding="utf-8") for file in sorted(configuration.rglob("*.tf")))
    used = set(re.findall(r'^(?:resource|data) "(\w+)"', source, re.M))
    for name, provider in provider_schemas.load(node_modules).items():
        schema = {
            "provider": provider.block(provider.configuration) if provider.configuration in provider.types else {"attributes": {}, "blocks": {}},
            "resources": {kind: provider.block(*provider.resources[kind]) for kind in used & set(provider.resources)},
            "data": {kind: provider.block(*provider.data[kind]) for kind in used & set(provider.data)},
        }
        directory = target / "mirror" / REGISTRY / name / provider.version / PLATFORM
        directory.mkdir(parents=True, exist_ok=True)
        (target / f"{name}.json").write_text(json.dumps(schema), encoding="utf-8")
        plugin = directory / f"terraform-provider-{name}_v{provider.version}"
        plugin.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).resolve()}" serve "{(target / name).resolve()}.json"\n')
        plugin.chmod(0o755)
    (target / "terraformrc").write_text(
        f'provider_installation {{\n  filesystem_mirror {{\n    path = "{(target / "mirror").resolve()}"\n  }}\n}}\n', encoding="utf-8"
    )


def serve(schema):
    import grpc
    from tf.gen import grpc_controller_pb2, grpc_controller_pb2_grpc, tfplugin_pb2_grpc
    from tf.gen import tfplugin_pb2 as pb

    def block(content):
        return pb.Schema.Block(
            attributes=[
                pb.Schema.Attribute(name=name, **{**attribute, "type": json.dumps(attribute["type"]).encode()})
                for name, attribute in content["attributes"].items()
            ],
            block_types=[
                pb.Schema.NestedBlock(
                    type_name=name, block=block(nested["block"]), nesting=pb.Schema.NestedBlock.LIST,
                    min_items=nested["min"], max_items=nested["max"],
                )
                for name, nested in content["blocks"].items()
            ],
        )

    def wrap(content):
        return pb.Schema(block=block(content))

    known = json.loads(Path(schema).read_text(encoding="utf-8"))
    answer = pb.GetProviderSchema.Response(
        provider=wrap(known["provider"]),
        resource_schemas={kind: wrap(content) for kind, content in known["resources"].items()},
        data_source_schemas={kind: wrap(content) for kind, content in known["data"].items()},
    )
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))

    class Stub(tfplugin_pb2_grpc.ProviderServicer):
        """Accepts every argument that its schema allows, and manages nothing."""

        def GetProviderSchema(self, request, context):
            return answer

        def ValidateProviderConfig(self, request, context):
            return pb.ValidateProviderConfig.Response()

        def ValidateResourceConfig(self, request, context):
            return pb.ValidateResourceConfig.Response()

        def ValidateDataResourceConfig(self, request, context):
            return pb.ValidateDataResourceConfig.Response()

    class Controller(grpc_controller_pb2_grpc.GRPCControllerServicer):
        def Shutdown(self, request, context):
            server.stop(grace=0)
            return grpc_controller_pb2.Empty()

    tfplugin_pb2_grpc.add_ProviderServicer_to_server(Stub(), server)
    grpc_controller_pb2_grpc.add_GRPCControllerServicer_to_server(Controller(), server)
    with tempfile.TemporaryDirectory() as directory:
        socket = f"{directory}/socket"
        # The server has no TLS: environment() tells Terraform not to require it.
        server.add_insecure_port(f"unix://{socket}")
        server.start()
        print(f"1|6|unix|{socket}|grpc", flush=True)
        server.wait_for_termination()


def environment(target):
    """Returns the environment in which Terraform uses the stand-ins in that directory."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("TF_")}
    return inherited | {
        "TF_CLI_CONFIG_FILE": str(Path(target) / "terraformrc"),
        "TF_DISABLE_PLUGIN_TLS": "1",
        "CHECKPOINT_DISABLE": "1",
    }


if __name__ == "__main__":
    if sys.argv[1:2] == ["install"] and len(sys.argv) == 5:
        install(*map(Path, sys.argv[2:]))
    elif sys.argv[1:2] == ["serve"] and len(sys.argv) == 3:
        serve(sys.argv[2])
    else:
        sys.exit(__doc__)
