"""Fetches the fonts of `families.json` with npm: `python -m training.data.letters.fetch FOLDER`.

Each family gets a sub-folder with its Latin fonts and its licence. What is there is not fetched again.
"""

import json
import re
import subprocess
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import track

FAMILIES = Path(__file__).with_name("families.json")
"""The npm package, its version and the licence of each family, by its name."""

_AT_ONCE = 3  # more would be impolite
_WANTED = re.compile(r"LICENSE|.*-latin-\d+-(normal|italic)\.woff2")


def main(folder: Annotated[Path, typer.Argument(help="where the fonts go, a sub-folder for each family")]) -> None:
    """Fetches the fonts that the data set `letters` is meant for."""
    families = json.loads(FAMILIES.read_text())
    folder.mkdir(parents=True, exist_ok=True)
    missing = [(name, each) for name, each in families.items() if not (folder / name).exists()]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        fetched = pool.map(partial(_fetch, folder), missing)
        for _ in track(fetched, "fetching fonts", len(missing)):
            pass


def _fetch(folder: Path, family: tuple[str, dict[str, str]]) -> None:
    name, source = family
    package = f"{source['package']}@{source['version']}"
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as place:
        command = ["npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", place, package]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except FileNotFoundError:
            raise SystemExit("npm is needed to fetch the fonts: install Node.js") from None
        except subprocess.CalledProcessError as error:
            raise SystemExit(f"npm could not fetch {package}: {error.stderr.strip()}") from None
        (packed,) = Path(place).glob("*.tgz")
        unpacked = Path(place) / name
        unpacked.mkdir()
        with tarfile.open(packed) as archive:
            for member in archive:
                file = Path(member.name).name
                if _WANTED.fullmatch(file) and (content := archive.extractfile(member)):
                    (unpacked / file).write_bytes(content.read())
        unpacked.rename(folder / name)  # whole or not at all


if __name__ == "__main__":
    typer.run(main)
