"""Reads a Dockerfile and a .dockerignore, as far as Gantry's go."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Instruction:
    """One instruction, for example ("EXPOSE", "50051 9464")."""

    name: str
    text: str


@dataclass
class Stage:
    """A stage with what it inherits.

    Attributes:
        name: What follows AS.
        image: What it begins with: another stage's name, or an image's.
        base: The stage it begins with; None for an image.
        own: Its instructions after FROM.
    """

    name: str
    image: str
    base: "Stage | None"
    own: list[Instruction] = field(default_factory=list)

    @property
    def instructions(self) -> list[Instruction]:
        """All instructions that its image is made by, the inherited ones first."""
        return [*(self.base.instructions if self.base else ()), *self.own]

    def all(self, name: str) -> list[str]:
        """The texts of all instructions of this name."""
        return [instruction.text for instruction in self.instructions if instruction.name == name]

    def last(self, name: str) -> str:
        """The text of the instruction of this name that counts."""
        return self.all(name)[-1]

    def pairs(self, name: str) -> dict[str, str]:
        """What the ENV, ARG or LABEL instructions say, by key."""
        return {
            key: value.strip('"')
            for text in self.all(name)
            for key, value in re.findall(r'([\w.]+)=("[^"]*"|\S*)', text)
        }

    def command(self, name: str) -> list[str]:
        """An ENTRYPOINT or CMD in exec form.

        Raises:
            ValueError: It is in shell form.
        """
        return [str(word) for word in json.loads(self.last(name))]


@dataclass(frozen=True)
class Dockerfile:
    """All stages, and the arguments before the first.

    Attributes:
        arguments: Names and defaults.
        stages: By name, in order.
    """

    arguments: dict[str, str]
    stages: dict[str, Stage]

    @property
    def targets(self) -> dict[str, Stage]:
        """The stages that nothing is built on or copied from."""
        used = {stage.image for stage in self.stages.values()}
        for stage in self.stages.values():
            used.update(re.findall(r"--from=(\S+)", "\n".join(stage.all("COPY"))))
        return {name: stage for name, stage in self.stages.items() if name not in used}


def read_dockerfile(text: str) -> Dockerfile:
    """Read a Dockerfile whose stages all have names."""
    arguments: dict[str, str] = {}
    stages: dict[str, Stage] = {}
    for instruction in _instructions(text):
        if instruction.name == "FROM":
            image, _, name = instruction.text.partition(" AS ")
            stages[name] = Stage(name, image, stages.get(image))
        elif stages:
            list(stages.values())[-1].own.append(instruction)
        else:
            key, _, default = instruction.text.partition("=")
            arguments[key] = default
    return Dockerfile(arguments, stages)


def _instructions(text: str) -> Iterator[Instruction]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for joined in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        name, _, rest = joined.partition(" ")
        yield Instruction(name, rest.strip())


def in_context(paths: Iterable[str], dockerignore: str) -> list[str]:
    """Choose the files that a .dockerignore lets into a build: the last pattern that fits a file or a folder above it.

    Args:
        paths: Files, relative to the root of the build.
        dockerignore: Its text; of patterns it may have *, ** and !.

    Returns:
        Those that go in.
    """
    rules = [line for line in dockerignore.splitlines() if line and not line.startswith("#")]
    return [path for path in paths if not _ignored(path, rules)]


def _ignored(path: str, rules: list[str]) -> bool:
    ignored = False
    for rule in rules:
        pattern = re.escape(rule.removeprefix("!")).replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*")
        if re.fullmatch(f"{pattern}(/.*)?", path):
            ignored = not rule.startswith("!")
    return ignored


DOCKERFILE = read_dockerfile((ROOT / "Dockerfile").read_text())
