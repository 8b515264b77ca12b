"""Carries the comments of the chart's values.yaml to where else they are read: README.md's table and the schema.

    python helm/values_table.py            writes both
    python helm/values_table.py --check    fails where one is out of date

A comment that begins with `# --` describes the value below it, together with all that is inside.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

_CHART = Path(__file__).resolve().parent / "gantry"
_MARKS = "<!-- values: made by helm/values_table.py -->", "<!-- end of values -->"
_KEY = re.compile(r"( *)([A-Za-z_][A-Za-z0-9_]*):")


class Value(NamedTuple):
    """A described value: the keys that lead to it, its default, and what its comment says."""

    path: tuple[str, ...]
    default: Any
    meaning: str


def read_values(text: str) -> list[Value]:
    """Find the described values of a values.yaml, in order.

    Args:
        text: The file's text.

    Raises:
        ValueError: A value has no description, neither of its own nor of a map around it.
    """
    described: list[Value] = []
    path: list[str] = []
    comment: list[str] = []
    defaults = yaml.safe_load(text)
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            said = line.strip().removeprefix("#").strip()
            if said.startswith("--"):
                comment = [said.removeprefix("--").strip()]
            elif comment:
                comment.append(said)
        elif key := _KEY.match(line):
            path = [*path[: len(key[1]) // 2], key[2]]
            if comment:
                described.append(Value(tuple(path), _at(defaults, path), " ".join(comment)))
            comment = []
    known = {value.path for value in described}
    for leaf in _leaves(defaults, ()):
        if not any(leaf[:length] in known for length in range(1, len(leaf) + 1)):
            raise ValueError(f"values.yaml does not say what {'.'.join(leaf)} is: put a comment `# -- ...` above it")
    return described


def table(values: list[Value]) -> str:
    """Lay the values out as a table in Markdown."""
    rows = [
        f"| `{'.'.join(value.path)}` | `{json.dumps(value.default, ensure_ascii=False)}` | {value.meaning} |"
        for value in values
    ]
    return "\n".join(["| Value | Default | Meaning |", "|---|---|---|", *rows])


def describe(schema: dict[str, Any], values: list[Value]) -> None:
    """Put what the comments say into the schema, at the values that it defines in place."""
    for value in values:
        node = schema
        for key in value.path:
            if "$ref" in node:
                # What several values share is described where it is defined.
                break
            node = node["properties"][key]
        else:
            rest = {key: held for key, held in node.items() if key != "description"}
            node.clear()
            node.update(description=value.meaning, **rest)


def _at(values: Any, path: list[str]) -> Any:
    for key in path:
        values = values[key]
    return values


def _leaves(values: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if isinstance(values, dict) and values:
        for key, value in values.items():
            yield from _leaves(value, (*path, key))
    else:
        yield path


def main() -> int:
    """Write the files, or say which are out of date."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a file is out of date")
    check = parser.parse_args().check
    values = read_values((_CHART / "values.yaml").read_text())
    readme, schema_file = _CHART / "README.md", _CHART / "values.schema.json"
    before, _, rest = readme.read_text().partition(_MARKS[0])
    after = rest.partition(_MARKS[1])[2]
    schema = json.loads(schema_file.read_text())
    describe(schema, values)
    wanted = {
        readme: f"{before}{_MARKS[0]}\n{table(values)}\n{_MARKS[1]}{after}",
        schema_file: json.dumps(schema, indent=2, ensure_ascii=False) + "\n",
    }
    stale = [file for file, text in wanted.items() if file.read_text() != text]
    for file in stale:
        if check:
            print(f"{file.name} is out of date: run python helm/values_table.py", file=sys.stderr)
        else:
            file.write_text(wanted[file])
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
