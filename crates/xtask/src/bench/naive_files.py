"""Writes a file, renames it, and repeats this: the simplest program that publishes only complete files.

Arguments: the directory and the number of files.
"""

import os
import sys

directory, count = sys.argv[1], int(sys.argv[2])
contents = b'{"id": 1, "description": "' + b"x" * 480 + b'"}\n'
os.makedirs(f"{directory}/temporary")
os.makedirs(f"{directory}/products")
for number in range(count):
    with open(f"{directory}/temporary/{number}", "wb") as file:
        file.write(contents)
    os.rename(f"{directory}/temporary/{number}", f"{directory}/products/product_{number}.json")
