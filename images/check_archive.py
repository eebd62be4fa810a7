#!/usr/bin/env python3
"""Checks a release archive: that its checksum is right, that its programs can be unpacked and run, and that `cargo
binstall` finds them, because the metadata in each generator's Cargo.toml names this archive and the program in it.
Unpacks the archive beside itself.

Usage: check_archive.py ARCHIVE TARGET
"""

import hashlib
import json
import subprocess
import sys
import tarfile
from pathlib import Path

from environment import GENERATORS, ROOT


def expand(template, values):
    """Expands a template as cargo-binstall does: https://github.com/cargo-bins/cargo-binstall/blob/main/SUPPORT.md"""
    for name, value in values.items():
        template = template.replace(f"{{ {name} }}", value)
    assert "{" not in template, f"unknown variables: {template}"
    return template


def main():
    archive, target = Path(sys.argv[1]), sys.argv[2]
    (line,) = archive.with_name(archive.name + ".sha256").read_text(encoding="ascii").splitlines()
    assert line == f"{hashlib.sha256(archive.read_bytes()).hexdigest()}  {archive.name}", line

    with tarfile.open(archive) as contents:
        contents.extractall(archive.parent, filter="data")
    command = ["cargo", "metadata", "--no-deps", "--format-version=1"]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout)
    packages = {package["name"]: package for package in metadata["packages"]}
    for name in GENERATORS:
        package = packages[name]
        binstall = package["metadata"]["binstall"]
        values = {
            "repo": package["repository"],
            "version": package["version"],
            "name": name,
            "bin": name,
            "target": target,
            "archive-suffix": ".tgz",
            "binary-ext": "",
        }
        assert binstall["pkg-fmt"] == "tgz", binstall
        url = expand(binstall["pkg-url"], values)
        assert url == f"{package['repository']}/releases/download/v{package['version']}/{archive.name}", url
        program = archive.parent / expand(binstall["bin-dir"], values)
        printed = subprocess.run([program, "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout
        assert printed == f"{name} {package['version']}\n", printed
        sample = subprocess.run([program, "--sample", "3"], stdout=subprocess.PIPE, text=True, check=True).stdout
        assert len([json.loads(record) for record in sample.splitlines()]) == 3, sample
    print(f"{len(GENERATORS)} passed")


if __name__ == "__main__":
    main()
