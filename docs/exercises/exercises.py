#!/usr/bin/env python3
"""Loads a playground into DuckDB, and checks answers to the exercises against the answer key.

The answer key is the member `planted` of the manifests that the generators write beside their data. Needs Python 3.10,
and `pip install duckdb numpy`; see README.md in this directory.
"""

import argparse
import csv
import datetime
import json
import math
import os
import pathlib
import re
import sqlite3
import sys
import tempfile

import duckdb

PAGES = pathlib.Path(__file__).resolve().parent

# The tables that queries use; LAKE and STREAM stand for the directories.
TABLES = """
CREATE TABLE users AS FROM read_json('LAKE/users/users.json');
CREATE TABLE vipusers AS SELECT row_number() OVER () AS rank, id FROM read_json('LAKE/vipusers/vipusers.json');
CREATE TABLE products AS FROM read_json('LAKE/products/*.json');
CREATE TABLE pages AS SELECT unnest(pages) AS uri, id AS product_id FROM products;

CREATE TABLE pageview_messages AS
SELECT row_number() OVER () AS arrival, * REPLACE (CAST(event_time AS timestamp) AS event_time)
FROM read_json('STREAM/pageviews.jsonl');
CREATE TABLE star_messages AS
SELECT row_number() OVER () AS arrival, * REPLACE (CAST(event_time AS timestamp) AS event_time)
FROM read_json('STREAM/stars.jsonl');

CREATE TABLE pageviews AS
SELECT DISTINCT ON (event_id) * EXCLUDE (arrival) FROM pageview_messages;
CREATE TABLE stars AS
SELECT DISTINCT ON (event_id) * EXCLUDE (arrival) FROM star_messages;
"""

DATABASE = "exercises.duckdb"


class WrongAnswerError(Exception):
    """An answer disagrees with the answer key; the text says how."""


def load(playground, database):
    """Creates the DuckDB database file `database` with the tables of a playground's directory."""
    partial = pathlib.Path(f"{database}.partial")
    partial.unlink(missing_ok=True)
    with duckdb.connect(partial) as connection:
        # DuckDB can read SQLite files, but only with an extension that it downloads.
        orders = sqlite3.connect(f"file:{playground / 'orders.db'}?mode=ro", uri=True)
        for table in ("orders", "items"):
            with tempfile.TemporaryDirectory() as directory:
                file = pathlib.Path(directory) / f"{table}.csv"
                with file.open("w", newline="") as output:
                    rows = orders.execute(f"SELECT * FROM {table}")
                    writer = csv.writer(output)
                    writer.writerow(column[0] for column in rows.description)
                    writer.writerows(rows)
                connection.execute(f"CREATE TABLE {table} AS FROM read_csv('{file}', header = true)")
        orders.close()
        tables = TABLES.replace("LAKE", quoted(playground / "lake")).replace("STREAM", quoted(playground / "stream"))
        connection.execute(tables)
    partial.replace(database)


def quoted(path):
    return str(path).replace("'", "''")


class AnswerKey:
    """The effects that are listed in a playground's manifests. Counts of shards are added up."""

    def __init__(self, playground):
        manifests = [json.loads(file.read_text()) for file in sorted(playground.glob("*/_datagen/*.json"))]
        orders = sqlite3.connect(f"file:{playground / 'orders.db'}?mode=ro", uri=True)
        manifests += [json.loads(text) for (text,) in orders.execute("SELECT manifest FROM _datagen_manifest")]
        orders.close()
        self.counts, self.parameters = {}, {}
        for manifest in manifests:
            for effect in manifest["planted"]:
                name = (manifest["kind"], effect["effect"])
                self.counts[name] = self.counts.get(name, 0) + effect["count"]
                self.parameters[name] = effect["parameters"]

    def count(self, kind, effect):
        if (kind, effect) not in self.counts:
            raise WrongAnswerError(f"the manifest of {kind} does not list the effect {effect}")
        return self.counts[kind, effect]

    def parameter(self, kind, effect, parameter):
        self.count(kind, effect)
        return self.parameters[kind, effect][parameter]


# --- The checks -------------------------------------------------------------------------------------------------------

CHECKS = {}


def check(exercise, *columns):
    """Registers a check of the answer to `exercise`, whose columns have these names."""

    def register(function):
        CHECKS[exercise] = (columns, function)
        return function

    return register


def require_equal(what, found, expected):
    if found != expected:
        raise WrongAnswerError(f"{what}: {found}, but the answer key says {expected}")


def require_between(what, found, lowest, highest):
    if not lowest <= found <= highest:
        raise WrongAnswerError(f"{what}: {found:.4g}, which is not between {lowest:.4g} and {highest:.4g}")


def require_found(what, found, expected, precision, recall):
    """Compares sets, of which a part may be missing or wrong."""
    found, expected = set(found), set(expected)
    right = len(found & expected)
    print(f"    {what}: {right} of {len(found)} are right, {right} of {len(expected)} are found")
    if not found or right < precision * len(found) or right < recall * len(expected):
        raise WrongAnswerError(
            f"{what}: {right} of {len(found)} are right and {right} of {len(expected)} are found; "
            f"required are {precision:.0%} and {recall:.0%}"
        )


def only_row(rows):
    if len(rows) != 1:
        raise WrongAnswerError(f"{len(rows)} rows instead of one")
    return rows[0]


@check("0a", "id", "phone_number")
def phone_numbers(rows, key, data):
    written = dict(data.execute("SELECT id, phone_number FROM users").fetchall())
    require_equal("users", sorted(row["id"] for row in rows), sorted(written))
    for row in rows:
        if not re.fullmatch(r"\+420[0-9]{9}", row["phone_number"]):
            raise WrongAnswerError(f"{row['phone_number']} is not +420 and nine digits")
        digits = re.sub(r"[^0-9]", "", written[row["id"]])
        require_equal(f"phone number of user {row['id']}", row["phone_number"][4:], digits[-9:])


@check("0b", "pageviews")
def empty_strings(rows, key, data):
    require_equal("pageviews", only_row(rows)["pageviews"], key.count("stream", "empty_address"))


@check("0c", "name", "users")
def namesakes(rows, key, data):
    # No effect was planted: people in the country share names.
    names = {}
    for (name,) in data.execute("SELECT name FROM users").fetchall():
        names[name] = names.get(name, 0) + 1
    shared = {name: users for name, users in names.items() if users > 1}
    require_equal("names", {row["name"]: row["users"] for row in rows}, shared)


@check("0d", "topic", "duplicates")
def duplicate_messages(rows, key, data):
    require_equal("topics", sorted(row["topic"] for row in rows), ["pageviews", "stars"])
    require_equal("duplicates", sum(row["duplicates"] for row in rows), key.count("stream", "duplicate"))


@check("0e", "late_pageviews")
def late_messages(rows, key, data):
    # The key also counts late star ratings, of which there are few.
    planted = key.count("stream", "late")
    require_between("late pageviews", only_row(rows)["late_pageviews"], 0.97 * planted, planted)


@check("01", "day")
def missing_day(rows, key, data):
    require_equal("days", sorted(str(row["day"])[:10] for row in rows), key.parameter("orders", "outage", "days"))


@check("02", "orders_on_black_fridays", "factor")
def black_friday(rows, key, data):
    row = only_row(rows)
    orders, factor = key.count("orders", "black_friday"), key.parameter("orders", "black_friday", "factor")
    require_equal("orders on Black Fridays", row["orders_on_black_fridays"], orders)
    # Four standard deviations of the quotient of two counts, of about the same size.
    tolerance = 4 * math.sqrt(2 / max(orders, 1))
    require_between("factor", row["factor"], factor * (1 - tolerance), factor * (1 + tolerance))


@check("03", "orders_per_vip", "orders_per_other_user", "orders_of_best_hundredth")
def value_of_a_vip(rows, key, data):
    row = only_row(rows)
    best = key.count("orders", "best_customers")
    require_equal("orders of the best hundredth", row["orders_of_best_hundredth"], best)
    require_between("ratio", row["orders_per_vip"] / row["orders_per_other_user"], 8, 12)


@check("04", "product", "price")
def price_list(rows, key, data):
    prices = {row["product"]: row["price"] for row in rows}
    if len(prices) < len(rows):
        raise WrongAnswerError("a product has several prices")
    sold = data.execute("SELECT COUNT(DISTINCT productId) FROM items").fetchone()[0]
    require_equal("products with a price", len(prices), sold)
    for listed in key.parameter("products", "price", "prices"):
        product = listed["product"]
        if product in prices:
            require_equal(f"price of product {product}", round(prices[product], 6), listed["price"])


@check("05", "first_product", "second_product", "orders_with_both", "lift")
def bought_together(rows, key, data):
    row = only_row(rows)
    pair = key.parameter("orders", "pair", "products")
    require_equal("pair", {row["first_product"], row["second_product"]}, set(pair))
    require_equal("orders with both", row["orders_with_both"], key.count("orders", "pair"))
    with_first = key.count("orders", "pair_first")
    with_second, orders = data.execute(
        "SELECT COUNT(DISTINCT orderId) FILTER (WHERE productId = ?), COUNT(DISTINCT orderId) FROM items", [pair[1]]
    ).fetchone()
    lift = key.count("orders", "pair") * orders / with_first / with_second
    require_between("lift", row["lift"], lift - 0.06, lift + 0.06)


@check("06", "product")
def lemons(rows, key, data):
    # A few hundred ratings are enough for the lemons that are seen most.
    found = [row["product"] for row in rows]
    require_found("lemons", found, key.parameter("stream", "lemon", "products"), precision=0.5, recall=0.4)


@check("07", "product", "slower_by_ms")
def slow_pages(rows, key, data):
    planted = key.parameter("stream", "product_latency", "slowest") or []
    planted = {slow["product"]: slow["slower_by_ms"] for slow in planted}
    found = {row["product"]: row["slower_by_ms"] for row in rows}
    require_found("slowest products", found, planted, precision=0.5, recall=0.5)
    for product in found.keys() & planted.keys():
        require_between(f"product {product}", found[product], planted[product] - 25, planted[product] + 25)


@check("08", "began", "sessions", "outliers")
def incidents(rows, key, data):
    sessions = key.count("stream", "incident")
    # The last incident may be cut off by the end of the stream.
    planted = sessions / key.parameter("stream", "incident", "sessions_per_incident")
    require_between("incidents", len(rows), math.floor(planted), math.ceil(planted))
    outliers = key.count("stream", "incident_outlier")
    require_between("outliers in incidents", sum(row["outliers"] for row in rows), 0.85 * outliers, outliers)
    # Sessions with a single pageview do not show that they are in an incident.
    require_between("sessions in incidents", sum(row["sessions"] for row in rows), 0.6 * sessions, sessions)
    # One incident per this many sessions. There is only one source, so sessions are numbered in the order of their starts.
    every = key.parameter("stream", "incident", "one_incident_in_sessions")
    starts = [start for (start,) in data.execute("SELECT MIN(event_time) FROM pageviews GROUP BY session_id").fetchall()]
    runs = {sum(start < row["began"] for start in starts) // every for row in rows}
    require_equal(f"runs of {every} sessions with an incident", len(runs), len(rows))


@check("09", "year", "customers")
def retention(rows, key, data):
    # The key has no counts for this effect, so they are recomputed from the orders.
    years = {}
    for user, year in data.execute("SELECT userId, year(orderDate) FROM orders").fetchall():
        years.setdefault(user, set()).add(year)
    first = min(min(ordered) for ordered in years.values())
    cohort = [ordered for ordered in years.values() if min(ordered) == first]
    customers = {year: sum(year in ordered for ordered in cohort) for year in set().union(*cohort)}
    require_equal("customers", {row["year"]: row["customers"] for row in rows}, customers)
    second, last = customers[first + 1], customers[max(customers)]
    require_between("customers of the last year, compared to the second", last / second, 0, 0.6)


@check("10", "late_orders", "hours_at_most", "lost_orders")
def incremental_load(rows, key, data):
    row = only_row(rows)
    planted = key.count("orders", "late_order")
    # An order is not visibly late if it would not have had an order between its time and its place.
    require_between("late orders", row["late_orders"], 0.8 * planted, planted)
    require_between("hours", row["hours_at_most"], 0, key.parameter("orders", "late_order", "hours_at_most"))
    lost, loaded, batch_end = 0, datetime.datetime.min, datetime.datetime.min
    for order, date in data.execute("SELECT orderId, orderDate FROM orders ORDER BY orderId").fetchall():
        if order % 1_000 == 1:
            loaded = batch_end
        lost += date <= loaded
        batch_end = max(batch_end, date)
    require_equal("lost orders", row["lost_orders"], lost)


@check("11", "sessions", "pageviews", "checkouts")
def robots(rows, key, data):
    row = only_row(rows)
    require_equal("sessions", row["sessions"], key.count("stream", "robot"))
    require_between("pageviews per session", row["pageviews"] / row["sessions"], 20, 30)
    require_equal("checkouts", row["checkouts"], 0)


@check("12", "step", "pageviews", "sessions")
def funnel(rows, key, data):
    found = {row["step"]: row for row in rows}
    for step, effect in (("product", "product_latency"), ("basket", "basket"), ("checkout", "checkout")):
        if step not in found:
            raise WrongAnswerError(f"the step {step} is missing")
        require_equal(f"pageviews of {step}", found[step]["pageviews"], key.count("stream", effect))
    sessions = data.execute("SELECT COUNT(DISTINCT session_id) FROM pageviews").fetchone()[0]
    require_between("sessions with a checkout", found["checkout"]["sessions"] / sessions, 0.1, 0.15)


# --- Running solutions ------------------------------------------------------------------------------------------------


def run_duckdb(text, connection):
    result = connection.execute(text)
    names = [column[0] for column in result.description]
    return [dict(zip(names, row)) for row in result.fetchall()]


def run_tsql(text, connection):
    """Runs T-SQL in DuckDB, after a translation. This also shows that the T-SQL can be parsed."""
    import sqlglot

    for statement in sqlglot.transpile(text, read="tsql", write="duckdb", unsupported_level=sqlglot.ErrorLevel.RAISE):
        rows = run_duckdb(statement, connection)
    return rows


def run_python(text, connection):
    """Runs a script that leaves its rows in the variable `answer`."""
    variables = {}
    exec(compile(text, "solution", "exec"), variables)
    return variables["answer"]


class Spark:
    """Runs Spark SQL on a copy of the tables."""

    session = None

    def __call__(self, text, connection):
        if self.session is None:
            from pyspark.sql import SparkSession

            builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
            builder = builder.config("spark.sql.session.timeZone", "UTC").config("spark.sql.shuffle.partitions", "4")
            self.session = builder.getOrCreate()
            self.session.sparkContext.setLogLevel("ERROR")
            for (table,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall():
                file = pathlib.Path.cwd() / f"{table}.parquet"
                connection.execute(f"COPY {table} TO '{quoted(file)}' (FORMAT parquet)")
                self.session.read.parquet(str(file)).createOrReplaceTempView(table)
        return [row.asDict() for row in self.session.sql(text).collect()]


ENGINES = {"duckdb": run_duckdb, "python": run_python, "tsql": run_tsql, "spark": Spark()}

SOLUTION = re.compile(r"<!-- solution of (\w+): ([\w ,]+) -->\n```\w+\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def solutions(engines):
    """The solutions in the pages, as (exercise, engine, text)."""
    for page in sorted(PAGES.glob("*.md")):
        for exercise, written_for, text in SOLUTION.findall(page.read_text(encoding="utf-8")):
            for engine in re.split(r"[ ,]+", written_for):
                if engine not in ENGINES:
                    sys.exit(f"{page.name}: {engine} is not one of {', '.join(ENGINES)}")
                if engine in engines:
                    yield exercise, engine, text


def grade(exercise, engine, text, key, connection):
    """Runs an answer and compares its rows with the answer key; raises WrongAnswerError."""
    columns, compare = CHECKS[exercise]
    rows = ENGINES[engine](text, connection)
    if not rows:
        raise WrongAnswerError("no rows")
    missing = [column for column in columns if column not in rows[0]]
    if missing:
        raise WrongAnswerError(f"the answer has no column {', '.join(missing)}")
    compare(rows, key, connection)


def check_answers(arguments):
    playground = arguments.dir.resolve()
    key = AnswerKey((arguments.key or arguments.dir).resolve())
    if arguments.answer:
        text = arguments.answer.read_text(encoding="utf-8")
        answers = [(arguments.exercise, arguments.engine[0], text)]
    else:
        answers = list(solutions(arguments.engine))
        if "duckdb" in arguments.engine and {exercise for exercise, _, _ in answers} != set(CHECKS):
            sys.exit("the pages and this file do not have the same exercises")
        if arguments.expect_wrong:
            # Data without effects need cleaning, too.
            answers = [answer for answer in answers if answer[0].isdecimal()]
        if arguments.exercise:
            answers = [answer for answer in answers if answer[0] == arguments.exercise]
    if not answers:
        sys.exit("there is no such exercise or solution")
    wrong = 0
    with tempfile.TemporaryDirectory() as directory:
        # Solutions in Python open this database as learners do.
        os.chdir(directory)
        database = pathlib.Path("playground") / DATABASE
        database.parent.mkdir()
        load(playground, database)
        for exercise, engine, text in answers:
            with duckdb.connect(database, read_only=True) as connection:
                try:
                    grade(exercise, engine, text, key, connection)
                except WrongAnswerError as error:
                    print(f"{exercise} ({engine}): wrong: {error}")
                    wrong += 1
                else:
                    print(f"{exercise} ({engine}): right")
        os.chdir(playground)
    print(f"{len(answers) - wrong} of {len(answers)} answers are right")
    if arguments.expect_wrong:
        return 0 if wrong == len(answers) else 1
    return 1 if wrong else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True, dest="command")
    directory = {"type": pathlib.Path, "default": pathlib.Path("playground"), "help": "the playground's directory"}
    loader = commands.add_parser("load", help=f"create {DATABASE} in the playground's directory")
    loader.add_argument("--dir", **directory)
    checker = commands.add_parser("check", help="check your answer, or the solutions in the pages")
    checker.add_argument("exercise", nargs="?", help="such as 02; all if it is missing")
    checker.add_argument("answer", nargs="?", type=pathlib.Path, help="a file with your query; the page's solution if it is missing")
    checker.add_argument("--dir", **directory)
    checker.add_argument("--key", type=pathlib.Path, help="a playground whose answer key is used instead")
    checker.add_argument("--engine", choices=ENGINES, nargs="+", default=["duckdb"], help="languages of the answers")
    checker.add_argument("--expect-wrong", action="store_true", help="succeed only if all answers are wrong")
    arguments = parser.parse_args()
    if arguments.command == "check" and arguments.exercise not in (None, *CHECKS):
        parser.error(f"the exercises are {', '.join(CHECKS)}")
    if not (arguments.dir / "orders.db").exists():
        sys.exit(f"{arguments.dir} is no playground: run `cargo xtask playground` first, or name one using --dir")
    if arguments.command == "load":
        load(arguments.dir.resolve(), arguments.dir / DATABASE)
        print(f"{arguments.dir / DATABASE} is ready")
        return 0
    return check_answers(arguments)


if __name__ == "__main__":
    sys.exit(main())
