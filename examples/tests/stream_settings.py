"""Prints the settings that make stream-pageviews send the stream of a playground again, one NAME=VALUE per line.

usage: stream_settings.py PLAYGROUND
"""

import json
import pathlib
import sys

playground = pathlib.Path(sys.argv[1])


def manifest(path):
    return json.loads((playground / path).read_text("utf-8"))


stream = manifest("stream/_datagen/stream.json")
one_in = {effect["effect"]: effect["parameters"].get("one_in") for effect in stream["planted"]}
settings = {
    "SEED": stream["seed"],
    "PROFILE": stream["profile"],
    "STREAM_FROM": stream["from"],
    "STREAM_TO": stream["to"],
    "CONCURRENT_USERS": stream["concurrent_users"],
    "LATE_ONE_IN": one_in["late"],
    "DUPLICATE_ONE_IN": one_in["duplicate"],
    "USER_MAX_ID": manifest("lake/_datagen/users.json")["count"] - 1,
    "PRODUCT_MAX_ID": manifest("lake/_datagen/products.json")["count"] - 1,
}
for name, value in settings.items():
    print(f"{name}={value}")
