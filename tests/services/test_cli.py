"""The commands that call a gateway, against a real one."""

import json
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from services.cli import app
from services.gateway.credentials.api_keys import read_keys


def gantry(address: str, *arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"GANTRY_ADDRESS": address})


def test_models_lists_what_is_loaded_and_what_was_refused(address: str) -> None:
    result = gantry(address, "models")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["model", "version", "kind", "w×h×channels", "takes", "digest"]
    assert lines[1].split()[:6] == ["rgb", "2.0.0", "class_conditional", "6×8×3", "3", "classes"]
    assert [re.split(r"\s{2,}", line)[4] for line in lines[3:]] == [
        "3 classes",
        "smile 0..1, age 18..80",
        "shape (3), slant, c2",
        "sketch → photo",
        "latent only",
        "horse ↔ zebra",
    ]
    assert lines[5].split()[2:4] == ["code_conditional", "6×8×1"]
    assert result.stderr.startswith("gantry models: refused garbage.mar: ")


def test_models_prints_a_card(address: str) -> None:
    result = gantry(address, "models", "tiny")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["card"]["version"] == "1.1.0"


def test_sample_writes_a_file_per_picture(address: str, tmp_path: Path) -> None:
    result = gantry(address, "sample", "tiny", "--label", 2, "--count", 3, "--seed", 5, "--out", tmp_path)
    assert result.exit_code == 0
    files = [tmp_path / f"tiny-label2-seed{seed}.png" for seed in (5, 6, 7)]
    assert result.stdout.splitlines() == [str(file) for file in files]
    with Image.open(files[2]) as image:
        assert image.size == (6, 8)
        assert image.info["gantry:seed"] == "7"


def test_sample_writes_one_file_in_the_format_of_its_name(address: str, tmp_path: Path) -> None:
    file = tmp_path / "one.webp"
    result = gantry(address, "sample", "rgb", "--label", "three words here", "--quality", 100, "--out", file)
    assert result.exit_code == 0
    with Image.open(file) as image:
        assert (image.format, image.size) == ("WEBP", (6, 8))


def test_sample_writes_a_grid(address: str, tmp_path: Path) -> None:
    file = tmp_path / "grid.png"
    result = gantry(address, "sample", "rgb", "--each-class", "--count", 4, "--grid", "--out", file)
    (told,) = result.stdout.splitlines()
    assert told.startswith(f"{file} seed ")
    grid = read(file)
    again = gantry(
        address, "sample", "rgb", "--each-class", "--count", 4, "--grid", "--seed", told.split()[-1], "-o", file
    )
    assert again.stdout.splitlines() == [str(file)]
    assert read(file) == grid
    assert grid[0] > (4 * 76, 3 * 100)


def read(file: Path) -> tuple[tuple[int, int], bytes]:
    """The size and the pixels of a picture."""
    with Image.open(file) as image:
        return image.size, image.tobytes()


@pytest.mark.parametrize("several", [("--count", "2"), ("--each-class",), ("--label", "0", "--label", "1")])
def test_several_pictures_do_not_go_into_one_file(address: str, tmp_path: Path, several: tuple[str, ...]) -> None:
    result = gantry(address, "sample", "tiny", *several, "--out", tmp_path / "one.png")
    assert result.exit_code == 1
    assert "is one file, for several pictures: name a folder, or add --grid" in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nope",), "NOT_FOUND: model 'nope' is not loaded; loaded: rgb, tiny"),
        (("tiny", "--label", "triangle"), "has no class 'triangle'; its classes: 0 'circle', 1 'square'"),
        (("tiny", "--label", "1", "--label", "circle"), "has no class '1'"),
        (("tiny", "--truncation", "2"), "truncation: must be 0 to 1, got 2"),
        (("tiny", "--seed", "-1"), "seed: "),
        (("tiny-attributes", "--attribute", "smile"), "--attribute smile: must be NAME=VALUE"),
        (("tiny-attributes", "--attribute", "smile=wide"), "--attribute smile=wide: 'wide' is not a number"),
        (("tiny-attributes", "--attribute", "smile=3"), 'attributes["smile"]: must be 0 to 1, got 3'),
        (("tiny-attributes", "--attribute", "hat=1"), "smile"),
        (("tiny-plain", "--label", "3"), "latent"),
    ],
)
def test_errors_are_one_line_and_exit_code_1(
    address: str, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    result = gantry(address, "sample", *arguments, "--out", tmp_path)
    assert result.exit_code == 1
    assert result.stderr.startswith("gantry sample: ")
    assert message in result.stderr
    assert not list(tmp_path.iterdir())


def test_sample_takes_codes_by_name(address: str, tmp_path: Path) -> None:
    codes = "--code", "slant=1", "--code", "shape=long", "--code", "c2=-0.5"
    result = gantry(address, "sample", "tiny-codes", *codes, "--seed", 1, "--out", tmp_path)
    assert result.stdout.splitlines() == [str(tmp_path / "tiny-codes-k1=2-c1=1-c2=-0.5-seed1.png")]


def test_sample_takes_attributes_by_name(address: str, tmp_path: Path) -> None:
    attributes = "--attribute", "smile=0.5", "--attribute", "age=30"
    result = gantry(address, "sample", "tiny-attributes", *attributes, "--seed", 1, "--out", tmp_path)
    (file,) = tmp_path.iterdir()
    assert result.stdout.splitlines() == [str(file)]
    assert set(file.stem.split("-")[2:]) == {"smile=0.5", "age=30", "seed1"}


def test_traverse_takes_attributes_held_and_at_both_ends(address: str, tmp_path: Path) -> None:
    held = "--x", "age=20:60:3", "--attribute", "smile=1"
    ends = "--from-seed", 1, "--to-seed", 1, "--steps", 3, "--from-attribute", "age=20", "--from-attribute", "smile=1"
    ends += "--to-attribute", "age=60", "--to-attribute", "smile=1"
    assert gantry(address, "traverse", "tiny-attributes", *held, "--seed", 1, "-o", tmp_path / "x").exit_code == 0
    assert gantry(address, "traverse", "tiny-attributes", *ends, "-o", tmp_path / "mixed").exit_code == 0
    for frame in range(3):
        name = f"tiny-attributes-frame{frame}.png"
        assert read(tmp_path / "x" / name) == read(tmp_path / "mixed" / name)


def test_traverse_tells_the_seed_of_a_grid_that_nobody_gave(address: str, tmp_path: Path) -> None:
    file = tmp_path / "grid.png"
    sweep = "traverse", "tiny-codes", "--x", "slant", "--y", "shape", "--grid", "--out", file
    (told,) = gantry(address, *sweep).stdout.splitlines()
    grid = read(file)
    assert gantry(address, *sweep, "--seed", told.removeprefix(f"{file} seed ")).stdout.splitlines() == [str(file)]
    assert read(file) == grid


def test_traverse_writes_a_file_per_frame(address: str, tmp_path: Path) -> None:
    axes = "--x", "slant=-1:1:5", "--y", "shape"
    result = gantry(address, "traverse", "tiny-codes", *axes, "--seed", 1, "--code", "c2=0", "--out", tmp_path)
    assert result.exit_code == 0
    files = [tmp_path / f"tiny-codes-frame{index:02}.png" for index in range(15)]
    assert result.stdout.splitlines() == [str(file) for file in files]
    with Image.open(files[14]) as image:
        assert (image.size, image.info["gantry:model"]) == ((6, 8), "tiny-codes")


def test_traverse_writes_a_grid(address: str, tmp_path: Path) -> None:
    file = tmp_path / "grid.png"
    ends = "--from-seed", 1, "--to-seed", 2, "--from-label", "circle", "--to-label", 1, "--steps", 4
    result = gantry(address, "traverse", "rgb", *ends, "--grid", "--columns", 2, "--out", file)
    assert result.stdout.splitlines() == [str(file)]
    assert read(file)[0] == (2 * 76 + 4, 2 * 118 + 4)


def test_traverse_writes_an_animation(address: str, tmp_path: Path) -> None:
    terms = "--a", 1, "--a", 2, "--b", 3, "--c", 4, "--label", 0
    result = gantry(address, "traverse", "tiny", *terms, "--animation", "--out", tmp_path)
    assert result.stdout.splitlines() == [str(tmp_path / "tiny-traversal-seed1.webp")]
    with Image.open(tmp_path / "tiny-traversal-seed1.webp") as image:
        assert image.n_frames == 4  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give one way: --x for a sweep"),
        (("--x", "slant", "--steps", "3"), "--steps does not go with --x"),
        (("--x", "slant=0:1"), "--x slant=0:1: must be NAME"),
        (("--x", "slant", "--grid", "--animation"), "give --grid or --animation, not both"),
        (("--x", "slant", "--animation", "--out", "a.png"), "an animation is a WEBP: end --out a.png in .webp"),
        (("--x", "slant", "--out", "a.png"), "--out a.png is one file, for all frames"),
        (("--x", "size"), "sweep.x.code: "),
    ],
)
def test_traverse_tells_what_is_wrong(address: str, arguments: tuple[str, ...], message: str) -> None:
    result = gantry(address, "traverse", "tiny-codes", *arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith("gantry traverse: ")
    assert message in result.stderr
    assert not Path("a.png").exists()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with two pictures, one of them a folder deeper."""
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    Image.effect_noise((20, 17), 90).save(folder / "a.jpg")
    Image.effect_noise((33, 16), 90).save(folder / "deep" / "b.png")
    return folder


def test_translate_keeps_names_and_sizes(address: str, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "zebras"
    result = gantry(address, "translate", "tiny-translation", photos, "--to", "zebra", "-o", out)
    assert result.exit_code == 0
    assert sorted(result.stdout.splitlines()) == [str(out / "a.png"), str(out / "deep" / "b.png")]
    with Image.open(out / "a.png") as a, Image.open(out / "deep" / "b.png") as b:
        assert (a.size, b.size) == ((20, 17), (33, 16))


def test_translate_writes_what_came_back_beside_it(address: str, photos: Path, tmp_path: Path) -> None:
    file = tmp_path / "z.webp"
    result = gantry(address, "translate", "tiny-translation", photos / "a.jpg", "--to", "zebra", "--cycle", "-o", file)
    written, cycled, *distance = result.stdout.split()
    assert (written, cycled) == (str(file), str(tmp_path / "z-cycled.webp"))
    assert distance[:2] == ["cycle", "L1"]
    assert 0 < float(distance[2]) < 1
    for name in (written, cycled):
        with Image.open(name) as image:
            assert (image.format, image.size) == ("WEBP", (20, 17))


def test_translate_goes_on_after_a_bad_picture(address: str, photos: Path, tmp_path: Path) -> None:
    (photos / "bad.png").write_bytes(b"text")
    result = gantry(address, "translate", "tiny-translation", photos, "--to", "zebra", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 2
    assert result.stderr.startswith(f"gantry translate: {photos / 'bad.png'}: INVALID_ARGUMENT: ")


def test_translate_never_replaces_an_input(address: str, photos: Path) -> None:
    before = (photos / "deep" / "b.png").read_bytes()
    result = gantry(address, "translate", "tiny-translation", photos, "--to", "zebra", "-o", photos)
    assert result.exit_code == 1
    assert "would replace an input: name another folder" in result.stderr
    assert (photos / "deep" / "b.png").read_bytes() == before
    assert not (photos / "a.png").exists()


def test_translate_needs_no_direction_where_there_is_one(address: str, photos: Path, tmp_path: Path) -> None:
    result = gantry(address, "translate", "tiny-one-way", photos / "a.jpg", "-o", tmp_path / "photo.png")
    assert result.stdout.splitlines() == [str(tmp_path / "photo.png")]
    back = gantry(address, "translate", "tiny-one-way", photos / "a.jpg", "--to", "sketch", "-o", tmp_path / "b.png")
    assert back.exit_code == 1
    assert "sketch" in back.stderr


def test_translate_names_the_domains_there_are(address: str, photos: Path, tmp_path: Path) -> None:
    result = gantry(address, "translate", "tiny-translation", photos / "a.jpg", "--to", "cow", "-o", tmp_path)
    assert result.exit_code == 1
    assert "'horse'" in result.stderr


@pytest.mark.parametrize(
    "command", [("models",), ("sample", "tiny"), ("traverse", "tiny", "--x", "class"), ("translate", "m", __file__)]
)
def test_a_gateway_that_is_not_there(command: tuple[str, ...]) -> None:
    result = gantry("127.0.0.1:1", *command)
    assert result.exit_code == 1
    assert result.stderr == (
        f"gantry {command[0]}: no gateway answers at 127.0.0.1:1: connection refused; "
        "start one with `gantry serve`, or name another address with --address or GANTRY_ADDRESS\n"
    )


def test_of_a_listener_that_is_no_gateway_it_is_not_said_that_nobody_is_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        result = gantry(f"127.0.0.1:{listener.getsockname()[1]}", "models", "--timeout", "0.2")
    assert result.exit_code == 1
    assert "no gateway answers" not in result.stderr


def test_a_command_whose_dependencies_are_not_installed_says_what_to_install() -> None:
    without_torch = "import sys; sys.modules['torch'] = None; from services.cli import app; app()"

    done = subprocess.run([sys.executable, "-c", without_torch, "train"], capture_output=True, text=True)

    assert done.returncode == 1
    assert "pip install 'gantry[training]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_key_adds_a_hash_to_the_file_and_prints_the_key_once(tmp_path: Path) -> None:
    file = tmp_path / "api-keys.json"
    arguments = "key", "reports", "--model", "tiny", "--model", "rgb", "--file", str(file)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0
    (key,) = result.stdout.splitlines()
    assert result.stderr == ""
    caller = read_keys(file).caller_of(key)
    assert caller is not None
    assert (caller.name, caller.models) == ("reports", {"tiny", "rgb"})
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 1
    assert again.stdout == ""
    assert (
        again.stderr
        == f"gantry key: {file}: the name reports is in use; take the old key out, or choose another name\n"
    )


def test_key_without_a_file_prints_the_entry_beside_the_key(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["key", "reports"])
    assert result.exit_code == 0
    (tmp_path / "api-keys.json").write_text(json.dumps({"keys": [json.loads(result.stderr)]}))
    caller = read_keys(tmp_path / "api-keys.json").caller_of(result.stdout.strip())
    assert caller is not None
    assert (caller.name, caller.models) == ("reports", {"*"})


def test_key_is_found_under_its_former_name_too(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["token", "reports"])
    assert result.exit_code == 0
    assert result.stdout.startswith("gantry_")
    assert "token" not in CliRunner().invoke(app, ["--help"]).stdout


def test_key_wants_a_word_for_a_name() -> None:
    result = CliRunner().invoke(app, ["key", "two words"])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("gantry key: name: ")


def test_commands_take_credentials_from_the_environment(address: str) -> None:
    """Each of these would be ignored where a command did not look at them."""
    wrong = {
        "GANTRY_TOKEN_FILE": ("missing", "No such file"),
        "GANTRY_CA": ("ca.crt", "ca is set without tls"),
        "GANTRY_TLS": ("perhaps", "GANTRY_TLS must be one of"),
    }
    commands = ("models",), ("sample", "tiny"), ("traverse", "tiny", "--x", "class"), ("translate", "tiny", __file__)
    for command in commands:
        for name, (value, message) in wrong.items():
            result = CliRunner().invoke(app, command, env={"GANTRY_ADDRESS": address, name: value})
            assert result.exit_code == 1, (command, name)
            assert result.stderr.startswith(f"gantry {command[0]}: "), result.stderr
            assert message in result.stderr
