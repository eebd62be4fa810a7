"""Parses the statements that gen-orders sends to SQL Server, one per line, as T-SQL.

Usage: parse_statements.py FILE   (needs sqlglot)
"""

import logging
import pathlib
import sys

import sqlglot
from sqlglot import exp

logging.disable(logging.WARNING)
statements = 0
for line in pathlib.Path(sys.argv[1]).read_text(encoding="utf-8").splitlines():
    for tree in sqlglot.parse(line, read="tsql"):
        # A `Command` is a text that sqlglot accepts without parsing it, as it does with these statements.
        unknown = ("UPDATE STATISTICS ", "CREATE USER ", "ALTER ROLE ")
        if isinstance(tree, exp.Command) and not line.startswith(unknown):
            sys.exit(f"sqlglot does not understand: {line}")
        statements += tree is not None
if statements < 30:
    sys.exit(f"only {statements} statements were parsed")
print(f"sqlglot parsed {statements} T-SQL statements")
