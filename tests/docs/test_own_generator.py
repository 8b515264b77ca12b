"""The page on own generators is done as it stands: its files written, its commands typed, its models called."""

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from services.client.connection import DEFAULT_ADDRESS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "own-generator.md").read_text()
SECTIONS = dict(re.findall(r"^## (From .*?)\n(.*?)(?=^## )", PAGE, re.DOTALL | re.MULTILINE))
GANTRY = [sys.executable, "-m", "services.cli"]
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("GANTRY_")}
# The models are small, and what they do does not depend on how fast their graphs run.
ENVIRONMENT |= {"GANTRY_EXECUTION": "float32", "OMP_NUM_THREADS": "1"}


def run(folder: Path, command: list[str], **variables: str) -> None:
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT | variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (command, done.stdout, done.stderr)


@contextmanager
def serving(folder: Path, command: list[str], backend: str) -> Iterator[str]:
    """Run `gantry serve` until the block ends; its address."""
    environment = ENVIRONMENT | {"GANTRY_PORT": "0", "GANTRY_METRICS_PORT": "0", "GANTRY_BACKEND": backend}
    with subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        log = ""
        try:
            for line in process.stderr:
                log += line
                if port := re.search(r"gRPC on .+:(\d+), ", line):
                    yield f"127.0.0.1:{port[1]}"
                    return
            pytest.fail(log)
        finally:
            process.send_signal(signal.SIGTERM)
            process.stderr.read()


@pytest.mark.slow
@pytest.mark.timeout(900)  # ten processes that load torch, one after another
@pytest.mark.parametrize("title", SECTIONS)
@pytest.mark.parametrize("backend", ["embedded", pytest.param("torchserve", marks=pytest.mark.torchserve)])
def test_a_section_does_what_it_says(title: str, backend: str, tmp_path: Path) -> None:
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", SECTIONS[title], re.DOTALL | re.MULTILINE)
    code = [text for language, text in blocks if language == "python" and "Client(" in text]
    for _, text in blocks:
        if named := re.match(r"# (\S+\.(?:py|yaml))\n", text):
            (tmp_path / named[1]).write_text(text)
    Image.effect_noise((50, 30), 90).save(tmp_path / "sketch.png")
    lines = [line for language, text in blocks if language == "sh" for line in text.splitlines()]
    commands = [shlex.split(line.removesuffix("&").replace("gantry", shlex.join(GANTRY), 1)) for line in lines]
    (served,) = [place for place, line in enumerate(lines) if line.startswith("gantry serve")]
    for command in commands[:served]:
        run(tmp_path, [sys.executable, *command[1:]] if command[0] == "python" else command)
    with serving(tmp_path, commands[served], backend) as address:
        for command in commands[served + 1 :]:
            run(tmp_path, command, GANTRY_ADDRESS=address)
        for text in code:
            run(tmp_path, [sys.executable, "-c", text.replace(DEFAULT_ADDRESS, address)])
    made = re.findall(r"(\w+\.png)\b", " ".join([*lines[served:], *code]))
    sizes = {name: Image.open(tmp_path / name).size for name in made}
    assert sizes.get("painting.png") == (50, 30) or sizes["dog.png"] == (64, 64)
