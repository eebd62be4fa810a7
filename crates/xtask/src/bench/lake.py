"""Compares the generators with plain Python when writing files into a lake that is 20 ms away, on the same server.

Arguments: the directory of the binaries, and the number of turns. Both sides run in turn; medians are compared.
"""

import http.client
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime, timedelta, timezone

from azure.storage.blob import AccountSasPermissions, ResourceTypes, generate_account_sas
from azure.storage.filedatalake import DataLakeServiceClient

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
BIN = pathlib.Path(sys.argv[1]).resolve()
TURNS = int(sys.argv[2])
LATENCY_MS, LOOP_FILES, PRODUCTS, USERS = 20, 60, 6_000, 3_000_000
# The rates at which the server reads users, in MB/s: 4 Gbit/s, and without a limit (0). It keeps none of the data.
LINKS = (500, 0)
BLOCK, IN_FLIGHT = 4 << 20, 12


def account_sas():
    return generate_account_sas(
        ACCOUNT,
        KEY,
        ResourceTypes(service=True, container=True, object=True),
        AccountSasPermissions.from_string("rwdlac"),
        datetime.now(timezone.utc) + timedelta(hours=1),
    )


def server(*options):
    child = subprocess.Popen(
        [BIN / "dfs-server", *options, "127.0.0.1:0", str(LATENCY_MS)], stdout=subprocess.PIPE, text=True
    )
    return child, child.stdout.readline().strip()


def generate(program, url, container, api, count):
    """Runs a generator. Returns wall-clock seconds and CPU seconds."""
    extra = {"STORAGE_SAS": f"{url}/{container}/?{account_sas()}", "LAKE_API": api, "COUNT": str(count), "RUST_LOG": "warn"}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run([BIN / program], env={**os.environ, **extra}, check=True)
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def article_loop(url, turn):
    """Writes one file at a time with three calls each, as in the article. Returns files per second."""
    service = DataLakeServiceClient(url, credential=account_sas())
    lake = service.create_file_system(f"loop-{turn}")
    data = b'{"id": 1, "name": "product_1", "description": "...", "pages": ["a", "b", "c"]}'
    began = time.monotonic()
    for number in range(LOOP_FILES):
        file = lake.create_file(f"products/product_{number}.json")
        file.append_data(data, offset=0, length=len(data))
        file.flush_data(len(data))
    return LOOP_FILES / (time.monotonic() - began)


def plain_upload(url, container, contents):
    """Sends the same bytes and blocks from memory by plain HTTP: the limit of the server. Returns seconds."""
    address, sas = url.split("//")[1].split("/")[0], account_sas()
    blocks = iter(enumerate(range(0, len(contents), BLOCK)))
    lock = threading.Lock()

    def work():
        connection = http.client.HTTPConnection(address)
        while True:
            with lock:
                index, start = next(blocks, (None, None))
            if index is None:
                return
            connection.request(
                "PUT",
                f"/{ACCOUNT}/{container}/plain.bin?comp=block&blockid={index:08}&{sas}",
                body=contents[start : start + BLOCK],
                headers={"x-ms-version": "2021-12-02"},
            )
            response = connection.getresponse()
            response.read()
            assert response.status == 201, response.status

    began = time.monotonic()
    threads = [threading.Thread(target=work) for _ in range(IN_FLIGHT)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.monotonic() - began


def row(what, ours, peer, unit, aim):
    ratio = statistics.median(ours) / statistics.median(peer)
    print(f"| {what} | {statistics.median(ours):,.0f} {unit} | {statistics.median(peer):,.1f} {unit} | {ratio:.2f} | {aim} |")


def products():
    child, url = server()
    rates = {"loop": [], "blob": [], "dfs": []}
    for turn in range(TURNS):
        rates["loop"].append(article_loop(url, turn))
        for api in ("blob", "dfs"):
            rates[api].append(PRODUCTS / generate("gen-products", url, f"{api}-{turn}", api, PRODUCTS)[0])
    child.kill()
    row("products, Blob API, against the article's loop", rates["blob"], rates["loop"], "files/s", "120")
    row("products, Data Lake API, against the article's loop", rates["dfs"], rates["loop"], "files/s", "45")


def users():
    with tempfile.TemporaryDirectory() as work:
        subprocess.run(
            [BIN / "gen-users"],
            env={**os.environ, "LAKE_URL": f"file://{work}", "COUNT": str(USERS), "RUST_LOG": "warn"},
            check=True,
        )
        contents = memoryview((pathlib.Path(work) / "users/users.json").read_bytes())
    for link in LINKS:
        plain, ours, cpu = [], {"blob": [], "dfs": []}, {"blob": [], "dfs": []}
        for _ in range(TURNS):
            child, url = server(f"--drop={link}")
            DataLakeServiceClient(url, credential=account_sas()).create_file_system("plain")
            plain.append(len(contents) / plain_upload(url, "plain", contents) / 1e6)
            child.kill()
            for api in ours:
                child, url = server(f"--drop={link}")
                wall, seconds = generate("gen-users", url, "users", api, USERS)
                ours[api].append(len(contents) / wall / 1e6)
                cpu[api].append(seconds / (len(contents) / 1e9))
                child.kill()
        sink = f"a sink of {link} MB/s" if link else "a sink without a limit"
        for api, name in (("blob", "Blob"), ("dfs", "Data Lake")):
            row(f"users, {name} API, against a plain upload, {sink}", ours[api], plain, "MB/s", "0.90")
            print(f"| users, {name} API, CPU per GB, generation included, {sink} | {statistics.median(cpu[api]):.2f} s | | | |")


print(f"{LATENCY_MS} ms are added to each answer; medians of {TURNS} turns.\n")
print("| what | ours | peer | ratio | aim |\n|---|---|---|---|---|", flush=True)
products()
users()
