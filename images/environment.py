"""What environment a generator accepts, asked of its binary. Used by the checks of Compose
(images/check_compose.py), Terraform (infra/tests/containers.py) and Kubernetes
(infra/tests/check_kubernetes.py), which know what environment these give."""

import re
import subprocess
from pathlib import Path

GENERATORS = ["gen-users", "gen-products", "gen-orders", "stream-pageviews"]
# Seconds within which a refusal is expected; a generator that accepts goes on to try its destination.
REFUSAL_SECONDS = 3
# No network, so that no server is tried. Needs root (in a container: --privileged).
WITHOUT_NETWORK = ["unshare", "--net"]


class Generator:
    """A generator's binary."""

    def __init__(self, binaries, name):
        self.binary = (Path(binaries) / name).resolve()
        text = subprocess.run([self.binary, "--help"], capture_output=True, text=True, check=True).stdout
        # A variable is a line of its own, indented by two spaces.
        self.variables = set(re.findall(r"^  ([A-Z][A-Z0-9_]+)\b", text, re.M))
        subprocess.run([*WITHOUT_NETWORK, "true"], check=True)

    def problem(self, environment):
        """What is wrong with this environment, or None: a variable that --help does not list, an empty
        one, or a start that is refused (exit code 2). What comes after the configuration fails, or
        waits, because there is no network, and is not looked at."""
        unknown = sorted(set(environment) - self.variables)
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

    def limits(self, variable, far):
        """The lowest (None if the refusal does not name it) and the highest value of a variable, as text,
        from the refusal of a value far beyond them."""
        refusal = self.problem({variable: far}) or "no refusal"
        limits = re.search(rf"\b{variable} is (?:\S+ )?out of range: give (?:(\S+) to|a whole number up to) (\S+)$", refusal, re.M)
        if limits is None:
            raise SystemExit(f"FAILED: {self.binary.name} does not name the limits of {variable}: {refusal}")
        return limits.groups()
