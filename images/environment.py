"""Checks which environment a generator accepts, according to the declaration of settings and to its binary. Used by
the checks of Compose (images/check_compose.py), Terraform (infra/tests/containers.py) and Kubernetes
(infra/tests/check_kubernetes.py), which know the environments that these set."""

import functools
import json
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# The seconds within which a rejection is expected; a generator that accepts its settings then tries its destination.
REFUSAL_SECONDS = 3
# Without a network, no server can be reached. Needs root (in a container: --privileged).
WITHOUT_NETWORK = ["unshare", "--net"]


@functools.cache
def settings():
    """Returns the settings of each generator: {generator: {variable: declaration}}."""
    dump = subprocess.run(["cargo", "xtask", "settings"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    return {name: {row["name"]: row for row in rows} for name, rows in json.loads(dump).items()}


GENERATORS = list(settings())


class Generator:
    """A generator's binary and its settings."""

    def __init__(self, binaries, name):
        self.binary = (Path(binaries) / name).resolve()
        self.settings = settings()[name]
        subprocess.run([*WITHOUT_NETWORK, "true"], check=True)

    def problem(self, environment):
        """Returns the problem with this environment, or None: an unknown variable, an empty one, or a start that is
        rejected (exit code 2). Whatever happens after the configuration fails or waits, because there is no network,
        and is ignored."""
        unknown = sorted(set(environment) - set(self.settings))
        if unknown:
            return f"does not read {', '.join(unknown)}"
        empty = sorted(name for name, value in environment.items() if value == "")
        if empty:
            return f"{', '.join(empty)} must be left out rather than empty"
        try:
            started = subprocess.run(
                [*WITHOUT_NETWORK, self.binary],
                capture_output=True, text=True, env=environment, timeout=REFUSAL_SECONDS, check=False,
            )
        except subprocess.TimeoutExpired:
            return None
        if started.returncode == 2:
            return f"refuses its configuration: {started.stderr.strip()}"
        return None
