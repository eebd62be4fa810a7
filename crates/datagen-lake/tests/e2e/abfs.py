"""Reads what both APIs of the lake wrote, using Spark with Microsoft's Hadoop driver for the Data Lake (abfs://).

Usage: abfs.py DIRECTORY_OF_BINARIES DIRECTORY_OF_JAR_FILES

The server is the test kit's. The data that Spark reads must equal what the same generators write to a local directory.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
from datetime import datetime, timedelta, timezone

from azure.storage.blob import AccountSasPermissions, ResourceTypes, generate_account_sas
from pyspark.sql import SparkSession

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
HOST = f"{ACCOUNT}.dfs.core.windows.net"
PROGRAMS = {"gen-users": {"COUNT": "20000", "VIP_COUNT": "100"}, "gen-products": {"COUNT": "200"}}


def generate(bin_dir, destination):
    for program, variables in PROGRAMS.items():
        environment = {"PATH": os.environ["PATH"]} | variables | destination
        subprocess.run([bin_dir / program], env=environment, check=True, stderr=subprocess.DEVNULL)


def spark_session(port, sas, jars):
    settings = {
        "spark.master": "local[2]",
        "spark.ui.enabled": "false",
        "spark.jars": ",".join(map(str, jars.glob("*.jar"))),
        # Reads users.json in ranges.
        "spark.sql.files.maxPartitionBytes": 1 << 20,
        "spark.hadoop.fs.azure.abfs.endpoint": f"127.0.0.1:{port}",
        "spark.hadoop.fs.azure.always.use.https": "false",
        "spark.hadoop.fs.azure.account.hns.enabled": "true",
        f"spark.hadoop.fs.azure.account.auth.type.{HOST}": "SAS",
        f"spark.hadoop.fs.azure.sas.fixed.token.{HOST}": sas,
    }
    builder = SparkSession.builder.appName("lake")
    for name, value in settings.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    # The driver needs this factory even without TLS, but initializes it only for TLS.
    factory = spark._jvm.org.apache.hadoop.security.ssl.DelegatingSSLSocketFactory
    factory.initializeDefaultFactory(factory.SSLChannelMode.Default_JSSE)
    return spark


def check(spark, root, local):
    """Checks that everything under `root`, an abfs:// URL, equals the local directory."""
    path = spark._jvm.org.apache.hadoop.fs.Path(root)
    files = path.getFileSystem(spark._jsc.hadoopConfiguration())
    listing, found = files.listFiles(path, True), {}
    while listing.hasNext():
        status = listing.next()
        found[str(status.getPath()).removeprefix(f"{root}/")] = status.getLen()
    sizes = {str(file.relative_to(local)): file.stat().st_size for file in local.rglob("*") if file.is_file()}
    assert found == sizes, set(found.items()) ^ set(sizes.items())

    users = spark.read.text(f"{root}/users")
    partitions = users.rdd.getNumPartitions()
    assert partitions > 5, partitions
    lines = [row.value for row in users.collect()]
    assert lines == (local / "users/users.json").read_text("utf-8").splitlines()
    products = sorted(row.value for row in spark.read.text(f"{root}/products", wholetext=True).collect())
    wanted = sorted(file.read_text("utf-8") for file in (local / "products").iterdir())
    assert products == wanted, (len(products), products[:1], wanted[:1])
    print(f"{root}: {len(found)} files, {len(lines)} users in {partitions} ranges, {len(products)} products, as written")


def main():
    bin_dir, jars = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
    kinds, types = AccountSasPermissions.from_string("rwdlac"), ResourceTypes(service=True, container=True, object=True)
    sas = generate_account_sas(ACCOUNT, KEY, types, kinds, datetime.now(timezone.utc) + timedelta(hours=1))
    server = subprocess.Popen([bin_dir / "dfs-server", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
    try:
        port = re.search(r":(\d+)/", server.stdout.readline())[1]
        with tempfile.TemporaryDirectory() as work:
            local = pathlib.Path(work) / "lake"
            generate(bin_dir, {"LAKE_URL": f"file://{local}"})
            spark = spark_session(port, sas, jars)
            for api in ("blob", "dfs"):
                generate(bin_dir, {"STORAGE_SAS": f"http://127.0.0.1:{port}/{ACCOUNT}/{api}/lake/?{sas}", "LAKE_API": api})
                check(spark, f"abfs://{api}@{HOST}/lake", local)
            spark.stop()
    finally:
        server.kill()


if __name__ == "__main__":
    main()
