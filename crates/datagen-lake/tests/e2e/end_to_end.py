"""Runs gen-users and gen-products as processes that write to a storage account, using each of its two APIs.

Usage: end_to_end.py DIRECTORY_OF_BINARIES AZURITE_BLOB SEEDS

The contents of the lake must equal, byte for byte, what the same generators write to a local directory.
"""

import base64
import http.client
import json
import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import (
    AccountSasPermissions,
    BlobServiceClient,
    ContainerSasPermissions,
    ResourceTypes,
    generate_account_sas,
    generate_container_sas,
)
from azure.storage.filedatalake import DataLakeServiceClient

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
USERS, PRODUCTS = 50_000, 2_000
BIN, AZURITE, SEEDS = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2], int(sys.argv[3])
WORK = pathlib.Path(tempfile.mkdtemp())
passed = []
children = []


def check(condition, message):
    if not condition:
        raise AssertionError(message)
    passed.append(message)


def say(text):
    print(f"{time.monotonic() - START:6.1f} s  {text}", flush=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(*command, wait_for_line=True, **options):
    child = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True, **options)
    children.append(child)
    return (child, child.stdout.readline().strip()) if wait_for_line else (child, None)


def stop(child):
    child.send_signal(signal.SIGINT)
    return child.communicate()[0]


def wait_for_port(port):
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError(f"nothing listens at port {port}")


def account_sas(permissions="rwdlac", hours=1):
    kinds = AccountSasPermissions.from_string(permissions)
    types = ResourceTypes(service=True, container=True, object=True)
    return generate_account_sas(ACCOUNT, KEY, types, kinds, datetime.now(timezone.utc) + timedelta(hours=hours))


def container_sas(container, permissions="rwdlac"):
    kinds = ContainerSasPermissions.from_string(permissions)
    end = datetime.now(timezone.utc) + timedelta(hours=1)
    return generate_container_sas(ACCOUNT, container, KEY, permission=kinds, expiry=end)


def start_azurite(*options):
    port = free_port()
    child, _ = start(
        AZURITE, "--silent", "--skipApiVersionCheck", "--disableTelemetry", "--inMemoryPersistence",
        "--blobPort", port, *options,
        wait_for_line=False, cwd=WORK, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    wait_for_port(port)
    return child, port


def start_dfs_server():
    child, line = start(BIN / "dfs-server", "127.0.0.1:0")
    return child, int(re.search(r":(\d+)/", line)[1])


class Account:
    """A storage account that is accessed through one of the two APIs. Each API has a separate server."""

    def __init__(self, api):
        self.api = api
        self.server, self.port = start_azurite() if api == "blob" else start_dfs_server()
        self.url = f"http://127.0.0.1:{self.port}/{ACCOUNT}"
        self.clients = {}

    def environment(self, path, sas, port=None):
        url = f"http://127.0.0.1:{port or self.port}/{ACCOUNT}/{path}?{sas}"
        return {"STORAGE_SAS": url, "LAKE_API": self.api}

    def container(self, name):
        """Returns the official SDK's client of a container."""
        if name not in self.clients:
            if self.api == "blob":
                self.clients[name] = BlobServiceClient(self.url, credential=account_sas()).get_container_client(name)
            else:
                service = DataLakeServiceClient(self.url, credential=account_sas())
                self.clients[name] = service.get_file_system_client(name)
        return self.clients[name]

    def names(self, container):
        """Returns the names of a container's files, listed by the official SDK; none if it does not exist."""
        client = self.container(container)
        try:
            if self.api == "blob":
                return [blob.name for blob in client.list_blobs()]
            return [path.name for path in client.get_paths(recursive=True) if not path.is_directory]
        except ResourceNotFoundError:
            return []

    def read_by_sdk(self, container, name):
        client = self.container(container)
        if self.api == "blob":
            return client.download_blob(name).readall()
        return client.get_file_client(name).download_file().readall()

    def read_range_by_sdk(self, container, name, offset, length):
        client = self.container(container)
        if self.api == "blob":
            return client.download_blob(name, offset=offset, length=length).readall()
        return client.get_file_client(name).download_file(offset=offset, length=length).readall()

    def read_all(self, container):
        """Returns every file of a container: listed by the SDK, but read by plain GETs, which are faster."""
        names, sas = self.names(container), account_sas()

        def read(part):
            connection = http.client.HTTPConnection("127.0.0.1", self.port)
            contents = {}
            for name in part:
                path = urllib.parse.quote(f"/{ACCOUNT}/{container}/{name}")
                connection.request("GET", f"{path}?{sas}", headers={"x-ms-version": "2021-12-02"})
                response = connection.getresponse()
                body = response.read()
                check(response.status == 200, f"{name}: HTTP {response.status}")
                contents[name] = body
            return contents

        with ThreadPoolExecutor(4) as pool:
            merged = {}
            for part in pool.map(read, [names[at::4] for at in range(4)]):
                merged.update(part)
            return merged


def environment(extra, count):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AZURE_", "IDENTITY_", "MSI_"))}
    return {**clean, "COUNT": str(count), **extra}


def run(program, extra, count, timeout=170):
    """Runs a generator until it ends. Returns its exit code, its output, and the seconds it took."""
    began = time.monotonic()
    done = subprocess.run(
        [BIN / program], env=environment(extra, count), capture_output=True, text=True, timeout=timeout
    )
    return done.returncode, done.stdout + done.stderr, time.monotonic() - began


def run_both(extra):
    for program, count in (("gen-users", USERS), ("gen-products", PRODUCTS)):
        code, said, _ = run(program, extra, count)
        check(code == 0, f"{program} exited {code}: {said[-2000:]}")


def reference():
    root = WORK / "reference"
    run_both({"LAKE_URL": f"file://{root}"})
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def compare(found, wanted, what):
    check(sorted(found) == sorted(wanted), f"{what}: {sorted(set(found) ^ set(wanted))[:5]} missing or extra")
    for name, contents in wanted.items():
        check(found[name] == contents, f"{what}: {name} differs")


def clean_run(account, wanted):
    run_both(account.environment("clean/", account_sas()))
    names = account.names("clean")
    compare({name: account.read_by_sdk("clean", name) for name in names}, wanted, f"{account.api}, clean")
    users = wanted["users/users.json"]
    for offset, length in ((0, 1), (len(users) // 3, len(users) // 3), (len(users) - 100, 100)):
        part = account.read_range_by_sdk("clean", "users/users.json", offset, length)
        check(part == users[offset : offset + length], f"{account.api}: {length} bytes of users.json at {offset} differ")
    # The other form of the URL, in which each kind is a filesystem. The second run replaces the first.
    for _ in range(2):
        run_both(account.environment("", account_sas()))
        for kind in ("users", "vipusers", "products"):
            own = {name: data for name, data in wanted.items() if name.startswith(f"{kind}/")}
            found = {f"{kind}/{name}": data for name, data in account.read_all(kind).items() if "_datagen" not in name}
            compare(found, own, f"{account.api}, {kind} as a filesystem")
    say(f"{account.api}: {len(names)} files equal, read by the official SDK; overwritten once")


def fault_runs(api, wanted):
    def survive(seed):
        # A separate server for each run: Azurite searches all its blobs at each request, and with the blobs of many
        # runs it is so slow that it cannot be distinguished from a server that has died.
        account = Account(api)
        proxy, line = start(BIN / "fault-proxy", "127.0.0.1:0", f"127.0.0.1:{account.port}", 0.1, seed)
        run_both(account.environment("faults/some/dir/", account_sas(), port=line.rsplit(":", 1)[1]))
        faults, requests = map(int, re.findall(r"\d+", stop(proxy)))
        check(faults > requests / 20, f"only {faults} faults in {requests} requests")
        found = {name.removeprefix("some/dir/"): data for name, data in account.read_all("faults").items()}
        compare(found, wanted, f"{api}, seed {seed}")
        stop(account.server)
        return faults

    # Two runs at the same time: most of a run's time is spent waiting between attempts.
    with ThreadPoolExecutor(2) as pool:
        total = sum(pool.map(survive, range(SEEDS)))
    say(f"{api}: {SEEDS} seeds of faults survived, {total} faults in all")


def kills(account, wanted, count):
    chance = random.Random(7)
    extra = account.environment("killed/", account_sas())
    killed = turn = 0
    # A run that ended before the moment of its kill does not count; subsequent moments are drawn earlier.
    latest = 0.7
    while killed < count and turn < 10 * count:
        program, number = (("gen-users", USERS), ("gen-products", PRODUCTS))[turn % 2]
        turn += 1
        child = subprocess.Popen([BIN / program], env=environment(extra, number), stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(0.005, latest))
        if child.poll() is None:
            killed += 1
        else:
            latest = max(0.9 * latest, 0.03)
        child.kill()
        child.wait()
        there = account.names("killed")
        for name in ("users/users.json", "vipusers/vipusers.json"):
            if name in there:
                check(account.read_by_sdk("killed", name) == wanted[name], f"{account.api}: a partial {name} after a kill")
    check(killed == count, f"only {killed} runs of {turn} were still going when they were killed")
    run_both(extra)
    compare(account.read_all("killed"), wanted, f"{account.api}, after {killed} kills")
    say(f"{account.api}: {killed} SIGKILLs and restarts end in the same files")


def termination(account):
    """SIGTERM in the middle of a run: the generator ends at once, and no file is incomplete."""
    extra = {**account.environment("stopped/", account_sas()), "RATE": "50"}
    for program, count in (("gen-users", 5_000_000), ("gen-products", 100_000)):
        child = subprocess.Popen([BIN / program], env=environment(extra, count), stderr=subprocess.PIPE, text=True)
        time.sleep(1.5)
        child.send_signal(signal.SIGTERM)
        began = time.monotonic()
        said = child.communicate(timeout=30)[1]
        check(child.returncode == 143, f"{program} exited {child.returncode} on SIGTERM: {said[-500:]}")
        check(time.monotonic() - began < 10, f"{program} took too long to stop")
    names = account.names("stopped")
    check("users/users.json" not in names, "a part of users.json was published")
    # The VIP users may have been complete.
    manifests = {name for name in names if "_datagen" in name} - {"_datagen/vipusers.json"}
    check(not manifests, f"manifests of an interrupted run: {manifests}")
    left = [name for name in names if "_temporary/" in name]
    check(not left, f"{account.api}: an interrupted run left {left[:5]}")
    check(names, "nothing was published before the end")
    for name in [name for name in names if name.startswith("products/")][:50]:
        json.loads(account.read_by_sdk("stopped", name))
    say(f"{account.api}: SIGTERM stops both with 143, nothing half there")


def one_line(said):
    lines = [line for line in said.splitlines() if re.match(r"gen-(users|products): ", line)]
    check(len(lines) == 1, f"not one line: {said[-1500:]}")
    return lines[0]


def refusals(account):
    good = account_sas()
    signature = urllib.parse.parse_qs(good)["sig"][0]
    cases = [
        ("wrong SAS", "clean/", re.sub(r"sig=[^&]+", "sig=UExBTlRFRE1BUktFUg%3D%3D", good), "SAS was refused|SAS expired"),
        ("expired SAS", "clean/", account_sas(hours=-1), "SAS expired at"),
        ("SAS for another container", "clean/", container_sas("other"), "SAS"),
        ("SAS without the right to write", "clean/", account_sas("rl"), "sp=rcwdl|lacks a permission|SAS was refused"),
        ("missing container that may not be created", "absent/", container_sas("absent"), "absent does not exist|SAS"),
    ]
    secrets = [signature, "UExBTlRFRE1BUktFUg", "PLANTED"]
    for what, path, sas, wanted in cases:
        for program in ("gen-users", "gen-products"):
            extra = {**account.environment(path, sas), "RUST_LOG": "trace"}
            code, said, seconds = run(program, extra, 1000)
            check(code == 1, f"{account.api}, {what}: exit {code}: {said[-800:]}")
            check(seconds < 10, f"{account.api}, {what}: took {seconds:.0f} s")
            check(re.search(wanted, one_line(said)), f"{account.api}, {what}: {one_line(said)}")
            own = urllib.parse.parse_qs(sas)["sig"][0]
            for secret in [*secrets, own, urllib.parse.quote(own, safe="")]:
                check(secret not in said, f"{account.api}, {what}: a secret was printed")
    host = f"https://nosuchaccount.{'blob' if account.api == 'blob' else 'dfs'}.core.windows.net/xyz/?sv=1&sig=PLANTED"
    code, said, seconds = run("gen-users", {"STORAGE_SAS": host, "RUST_LOG": "trace"}, 1000)
    check(code == 1 and seconds < 10 and "no such account" in one_line(said), f"unknown account: {said[-800:]}")
    check("PLANTED" not in said, "unknown account: a secret was printed")
    # A run that succeeds must not print the secret either, with or without faults.
    proxy, line = start(BIN / "fault-proxy", "127.0.0.1:0", f"127.0.0.1:{account.port}", 0.2, 99)
    extra = {**account.environment("trace/", good, port=line.rsplit(":", 1)[1]), "RUST_LOG": "trace"}
    for program in ("gen-users", "gen-products"):
        code, said, _ = run(program, extra, 500)
        check(code == 0, f"{account.api}, at trace: exit {code}: {said[-800:]}")
        for secret in (signature, urllib.parse.quote(signature, safe="")):
            check(secret not in said, f"{account.api}: the SAS was printed at trace")
    stop(proxy)
    say(f"{account.api}: refusals fail at once with one line, no secret at RUST_LOG=trace")


def dead_server(account):
    """A server that accepts no connections. This takes two minutes, during which the generator waits."""
    with socket.socket() as refusing:
        # Bound, so that no other server can use the port, but not listening.
        refusing.bind(("127.0.0.1", 0))
        port = refusing.getsockname()[1]
        extra = {**account.environment("xyz/", account_sas(), port=port), "RUST_LOG": "trace"}
        code, said, _ = run("gen-products", extra, 10, timeout=600)
    check(code == 1, f"dead server: exit {code}")
    check("could not connect" in one_line(said) and "sig=" not in said, f"dead server: {said[-800:]}")
    say(f"{account.api}: a dead server ends the run with one line")


def managed_identity_dfs(wanted):
    token, client = "PLANTED-TOKEN", "11111111-2222-3333-4444-555555555555"
    server, line = start(BIN / "dfs-server", "127.0.0.1:0", 0, token)
    imds, endpoint = start(BIN / "fake-imds", token, "PLANTED-HEADER", client)
    extra = {
        "LAKE_URL": f"{line}/lake/",
        "LAKE_API": "dfs",
        "IDENTITY_ENDPOINT": endpoint,
        "IDENTITY_HEADER": "PLANTED-HEADER",
        "AZURE_CLIENT_ID": client,
        "RUST_LOG": "trace",
    }
    code, said, _ = run("gen-products", extra, PRODUCTS)
    check(code == 0, f"managed identity, dfs: {said[-1000:]}")
    check("PLANTED" not in said, "managed identity, dfs: a secret was printed")
    code, said, _ = run("gen-products", {**extra, "AZURE_CLIENT_ID": "wrong"}, 10)
    check(code == 1 and "AZURE_CLIENT_ID" in one_line(said), f"managed identity, dfs: {said[-1000:]}")
    stop(imds)
    stop(server)
    say("dfs: the user-assigned managed identity signs in, past 429 and 500; a wrong client id is explained")


def certificate():
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID
    import ipaddress

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(timezone.utc)
    cert = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    (WORK / "cert.pem").write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    (WORK / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


def managed_identity_blob(wanted):
    """Azurite requires HTTPS for bearer tokens and checks their contents, but not their signature."""
    certificate()
    now = int(time.time())
    claims = {
        "aud": "https://storage.azure.com",
        "iss": "https://sts.windows.net/ab1f708d-50f6-404c-a006-d71b2ac7a606/",
        "iat": now - 60,
        "nbf": now - 60,
        "exp": now + 3600,
    }
    part = lambda value: base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")
    token = f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(claims)}.PLANTED"
    _, port = start_azurite("--oauth", "basic", "--cert", WORK / "cert.pem", "--key", WORK / "key.pem")
    imds, endpoint = start(BIN / "fake-imds", token, "PLANTED-HEADER")
    extra = {
        "LAKE_URL": f"https://127.0.0.1:{port}/{ACCOUNT}/lake/",
        "IDENTITY_ENDPOINT": endpoint,
        "IDENTITY_HEADER": "PLANTED-HEADER",
        "RUST_LOG": "trace",
    }
    code, said, _ = run("gen-users", {**extra, "SSL_CERT_FILE": str(WORK / "cert.pem")}, USERS)
    check(code == 0, f"managed identity, blob: {said[-1000:]}")
    check("PLANTED" not in said, "managed identity, blob: a secret was printed")
    code, said, seconds = run("gen-users", extra, 10)
    check(code == 1 and "certificate" in one_line(said) and seconds < 10, f"untrusted certificate: {said[-1000:]}")
    stop(imds)
    say("blob: the system-assigned managed identity signs in over TLS; an untrusted certificate is refused")


def main():
    accounts = [Account("blob"), Account("dfs")]
    sdk_check = pathlib.Path(__file__).with_name("dfs_server.py")
    subprocess.run([sys.executable, sdk_check, accounts[1].url], check=True)
    with ThreadPoolExecutor(len(accounts)) as pool:
        waiting = [pool.submit(dead_server, account) for account in accounts]
        wanted = reference()
        check(len(wanted) == PRODUCTS + 5, f"{len(wanted)} files in the local run")
        for account in accounts:
            clean_run(account, wanted)
            refusals(account)
            termination(account)
            kills(account, wanted, 30)
        managed_identity_dfs(wanted)
        managed_identity_blob(wanted)
        for account in accounts:
            fault_runs(account.api, wanted)
        for check_of_dead_server in waiting:
            check_of_dead_server.result()
    print(f"{len(passed)} passed, 0 failed")


START = time.monotonic()
try:
    main()
finally:
    for child in children:
        child.kill()
    subprocess.run(["rm", "-rf", str(WORK)], check=False)
