"""Reads the files of a playground with DuckDB and checks that they are complete and can be joined.

Usage: playground.py DIRECTORY   (needs DuckDB and xxhash)
"""

import json
import pathlib
import sqlite3
import sys

import duckdb
import xxhash

root = pathlib.Path(sys.argv[1])
lake, stream = root / "lake", root / "stream"


def one(sql):
    return duckdb.execute(sql).fetchone()


def check(what, found, expected):
    print(f"{what}: {found}")
    if found != expected:
        sys.exit(f"{what}: {found}, expected {expected}")


users, products = f"'{lake}/users/users.json'", f"'{lake}/products/*.json'"
views, stars = f"'{stream}/pageviews.jsonl'", f"'{stream}/stars.jsonl'"
check("users", one(f"SELECT count(*), min(id), max(id), count(DISTINCT id) FROM {users}"), (20000, 0, 19999, 20000))
check("regions", one(f"SELECT count(DISTINCT administrative_unit) FROM {users}"), (14,))
check(
    "VIPs that are users",
    one(f"SELECT count(DISTINCT v.id) FROM '{lake}/vipusers/vipusers.json' v JOIN {users} u USING (id)"),
    (500,),
)
check("products", one(f"SELECT count(*), count(DISTINCT id) FROM {products}"), (1000, 1000))
check("pages", one(f"SELECT count(DISTINCT page) FROM (SELECT unnest(pages) AS page FROM {products})"), (3000,))
check("pageviews of unknown users", one(f"SELECT count(*) FROM {views} WHERE user_id NOT IN (SELECT id FROM {users})"), (0,))
check(
    "pageviews of unknown product pages",
    one(
        f"""SELECT count(*) FROM {views} WHERE uri LIKE '%/produkt/%'
            AND uri NOT IN (SELECT unnest(pages) FROM {products})"""
    ),
    (0,),
)
views_of_products = one(f"SELECT count(*) FROM {views} v JOIN (SELECT unnest(pages) AS uri FROM {products}) USING (uri)")[0]
all_views, sessions, first, last = one(
    f"SELECT count(*), count(DISTINCT session_id), min(event_time)::text, max(event_time)::text FROM {views}"
)
print(f"pageviews: {all_views} of {sessions} sessions, of products: {views_of_products}; from {first} to {last}")
if not 0.54 < views_of_products / all_views < 0.64 or not 265_000 < all_views < 285_000 or not 25_000 < sessions < 26_500:
    sys.exit("about 59 % of pageviews should be of products, and three days should have 25 700 sessions with 276 000 of them")
check("star ratings out of range", one(f"SELECT count(*) FROM {stars} WHERE stars NOT BETWEEN 1 AND 5"), (0,))

orders = sqlite3.connect(root / "orders.db")
check("orders", orders.execute("SELECT COUNT(*), MIN(orderId), MAX(orderId) FROM orders").fetchone(), (50000, 1, 50000))
check("orders without items", orders.execute("SELECT COUNT(*) FROM orders WHERE orderId NOT IN (SELECT orderId FROM items)").fetchone(), (0,))
check("references out of range", orders.execute("SELECT (SELECT COUNT(*) FROM orders WHERE userId NOT BETWEEN 0 AND 19999) + (SELECT COUNT(*) FROM items WHERE productId NOT BETWEEN 0 AND 999)").fetchone(), (0,))

last_order = orders.execute("SELECT date(MAX(orderDate)) FROM orders").fetchone()[0]
check("the last day of the stream and of the orders", last[:10], last_order)
manifest = json.loads((stream / "_datagen/stream.json").read_text())
all_stars = one(f"SELECT count(*) FROM {stars}")[0]
check("messages", (manifest["pageviews"], manifest["stars"]), (all_views, all_stars))
duplicates = next(effect["count"] for effect in manifest["planted"] if effect["effect"] == "duplicate")
copy = sqlite3.connect(root / "playground.db")
without_duplicates = copy.execute("SELECT (SELECT COUNT(*) FROM pageviews) + (SELECT COUNT(*) FROM stars)").fetchone()[0]
check("messages without duplicates", without_duplicates, all_views + all_stars - duplicates)

manifest = json.loads((lake / "_datagen/users.json").read_text())
data = (lake / "users/users.json").read_bytes()
check("manifest of users", (manifest["bytes"], manifest["digest"]["hex"]), (len(data), xxhash.xxh3_128_hexdigest(data)))
print("the playground joins")
