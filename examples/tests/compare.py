"""Compares the results of the examples with the results of plain Python code.

usage: compare.py PLAYGROUND PAGES QUERY RESULT…

QUERY is the query for DuckDB. PAGES is the reference data for Azure Stream Analytics, a JSON array. A RESULT is a directory
that Spark wrote.
"""

import collections
import datetime
import json
import pathlib
import sys

import duckdb

playground, pages_file, query, *results = map(pathlib.Path, sys.argv[1:])
TEN_MINUTES = datetime.timedelta(minutes=10)


def time(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def first_copies(topic):
    """Returns the messages of a topic by event id, and their number including duplicates."""
    with (playground / f"stream/{topic}.jsonl").open() as lines:
        messages = [json.loads(line) for line in lines]
    return {message["event_id"]: message for message in messages}.values(), len(messages)


products = [json.loads(file.read_text()) for file in (playground / "lake/products").iterdir()]
pages = {page: product for product in products for page in product["pages"]}
pageviews, arrived = first_copies("pageviews")
if len(pageviews) == arrived:
    sys.exit("there are no duplicates to remove")
views = collections.defaultdict(list)
for view in pageviews:
    if view["uri"] in pages:
        views[view["user_id"]].append((time(view["event_time"]), view["event_id"], pages[view["uri"]]))
expected = []
for star in first_copies("stars")[0]:
    if star["stars"] > 2:
        continue
    rated_at = time(star["event_time"])
    for viewed_at, view_id, product in views[star["user_id"]]:
        if rated_at - TEN_MINUTES <= viewed_at <= rated_at:
            row = (star["event_id"], star["user_id"], star["stars"], rated_at)
            expected.append((*row, view_id, viewed_at, product["id"], product["description"]))
expected.sort()
if len(expected) < 100:
    sys.exit(f"only {len(expected)} pageviews before bad ratings are too few to compare")


def check(what, rows):
    rows = sorted(rows)
    if rows != expected:
        missing, additional = set(expected) - set(rows), set(rows) - set(expected)
        sys.exit(f"{what}: {len(rows)} rows instead of {len(expected)}, {len(missing)} missing, {len(additional)} additional")
    print(f"{what}: {len(rows)} rows, as expected")


def with_zone(value):
    return value.replace(tzinfo=datetime.timezone.utc) if isinstance(value, datetime.datetime) else value


check(query, [tuple(map(with_zone, row)) for row in duckdb.execute(query.read_text()).fetchall()])
for result in results:
    lines = [line for file in result.glob("*.json") for line in file.read_text().splitlines()]
    rows = [json.loads(line) for line in lines]
    for row in rows:
        row["rated_at"], row["viewed_at"] = time(row["rated_at"]), time(row["viewed_at"])
    check(result, [tuple(row.values()) for row in rows])

reference = {row["uri"]: (row["product_id"], row["description"]) for row in json.loads(pages_file.read_text())}
if reference != {page: (product["id"], product["description"]) for page, product in pages.items()}:
    sys.exit(f"{pages_file} does not list the pages of all products")
