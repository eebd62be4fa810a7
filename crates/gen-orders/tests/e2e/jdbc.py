"""Loads orders and items into the test kit's SQL Server and reads them back by Microsoft's JDBC driver: types and
values must be those of the same orders in SQLite.

usage: jdbc.py DIRECTORY_OF_BINARIES DIRECTORY_OF_JAR_FILES
"""

import contextlib
import os
import pathlib
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile

import jpype

COUNT = 2_000
# The columns of each table with their types, as the driver names them.
COLUMNS = {
    "orders": {"orderId": "int", "userId": "int", "orderDate": "datetime", "orderValue": "float"},
    "items": {"orderId": "int", "rowId": "int", "productId": "int"},
}
KEYS = {"orders": "orderId", "items": "orderId, rowId"}


def values(result, columns):
    """Returns the rows of a result, converted to the values that Python's SQLite driver returns."""
    getters = {
        "int": lambda place: int(result.getInt(place)),
        "float": lambda place: float(result.getDouble(place)),
        "datetime": lambda place: str(result.getTimestamp(place)).removesuffix(".0"),
    }
    while result.next():
        row = tuple(getters[kind](place) for place, kind in enumerate(columns.values(), 1))
        assert not result.wasNull()
        yield row


def main():
    bin_dir, jars = map(pathlib.Path, sys.argv[1:])
    bin_dir = bin_dir.resolve()
    jpype.startJVM(classpath=[str(jar) for jar in jars.glob("*.jar")])
    with contextlib.ExitStack() as stack:
        work = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = subprocess.Popen([bin_dir / "tds-server"], cwd=work, stdout=subprocess.PIPE, text=True)
        stack.callback(server.kill)
        settings = {}
        while "SQL_PASSWORD" not in settings:
            settings |= {name: value for name, value in re.findall(r"(\w+)='?([^' \n]+)", server.stdout.readline())}
        for destination in (settings, {"SQL_URL": f"sqlite://{work}/orders.db"}):
            environment = {"PATH": os.environ["PATH"], "COUNT": str(COUNT)} | destination
            subprocess.run([bin_dir / "gen-orders"], env=environment, check=True, stderr=subprocess.DEVNULL)

        url = f"jdbc:sqlserver://localhost:{settings['SQL_PORT']};databaseName={settings['SQL_DATABASE']}"
        manager = jpype.java.sql.DriverManager
        # The driver has no setting for a file with a certificate authority.
        connection = manager.getConnection(
            f"{url};encrypt=true;trustServerCertificate=true", settings["SQL_USER"], settings["SQL_PASSWORD"]
        )
        stack.callback(connection.close)
        expected = stack.enter_context(contextlib.closing(sqlite3.connect(work / "orders.db")))
        for table, columns in COLUMNS.items():
            query = f"SELECT {', '.join(columns)} FROM {table} ORDER BY {KEYS[table]}"
            result = connection.createStatement().executeQuery(query)
            metadata = result.getMetaData()
            places = range(1, metadata.getColumnCount() + 1)
            types = {str(metadata.getColumnName(place)): str(metadata.getColumnTypeName(place)) for place in places}
            assert types == columns, types
            rows, due = list(values(result, columns)), expected.execute(query).fetchall()
            differences = [pair for pair in zip(rows, due) if pair[0] != pair[1]]
            assert len(rows) == len(due) and not differences, (table, len(rows), len(due), differences[:3])
            print(f"{table}: {len(rows)} rows in Microsoft's JDBC driver, as in SQLite")
        assert len(rows) > COUNT
        server.send_signal(signal.SIGINT)
        output = server.communicate()[0]
        assert "violation" not in output, output


if __name__ == "__main__":
    main()
