"""Files of callers' keys."""

import hmac
import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from services.gateway.call import CallerLimits
from services.gateway.credentials.api_keys import add_key, digest_of, make_key, read_keys


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "api-keys.json"


def add(path: Path, name: str, *models: str) -> str:
    key, entry = make_key(name, models or ["*"])
    add_key(path, entry)
    return key


def test_a_key_is_random_and_only_its_hash_is_kept(path: Path) -> None:
    keys = {add(path, f"caller-{index}") for index in range(8)}
    assert len(keys) == 8
    assert all(re.fullmatch(r"gantry_[A-Za-z0-9_-]{43}", key) for key in keys)
    assert not any(key in path.read_text() for key in keys)
    assert {entry.sha256 for entry in read_keys(path).keys} == {digest_of(key) for key in keys}


def test_a_key_names_its_caller(path: Path) -> None:
    reports, shop = add(path, "reports", "tiny", "other"), add(path, "shop")
    file = read_keys(path)
    caller = file.caller_of(reports)
    assert caller is not None
    assert (caller.name, caller.models) == ("reports", {"tiny", "other"})
    assert caller.may_use("tiny")
    assert not caller.may_use("third")
    everyone = file.caller_of(shop)
    assert everyone is not None
    assert everyone.may_use("third")
    for wrong in ("", "gantry_", reports[:-1], reports + "A", reports.upper(), digest_of(reports), "gantry_é\ud800"):
        assert file.caller_of(wrong) is None


def test_a_key_is_compared_with_every_entry(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of a call must not tell where in the file a key stands."""
    first, *_ = [add(path, f"caller-{index}") for index in range(5)]
    file = read_keys(path)
    compared = []
    compare = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append(a) or compare(a, b))
    for key in (first, "gantry_unknown"):
        compared.clear()
        file.caller_of(key)
        assert compared == [entry.sha256 for entry in file.keys]


def test_a_name_in_use_is_refused_and_the_file_stays_as_it_is(path: Path) -> None:
    add(path, "reports")
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"api-keys\.json: the name reports is in use"):
        add(path, "reports")
    assert path.read_bytes() == before


def test_the_file_is_replaced_at_once_and_for_its_owner_only(path: Path) -> None:
    add(path, "reports")
    path.chmod(0o644)
    before = path.stat().st_ino
    add(path, "shop")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_ino != before
    assert [file.name for file in path.parent.iterdir()] == ["api-keys.json"]


def test_a_link_to_the_file_stays_a_link(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to(path)
    add(link, "reports")
    assert link.is_symlink()
    assert [entry.name for entry in read_keys(path).keys] == ["reports"]


def test_keys_that_are_added_at_once_are_all_kept(path: Path) -> None:
    names = {f"caller-{index}" for index in range(24)}
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda name: add(path, name), names))
    assert {entry.name for entry in read_keys(path).keys} == names


@pytest.mark.parametrize("name", ["", "two words", "-flag", "x" * 65, "line\nbreak"])
def test_a_name_must_be_a_word(name: str) -> None:
    with pytest.raises(ValueError, match=r"^name: "):
        make_key(name, ["*"])


def test_an_empty_model_is_no_model() -> None:
    with pytest.raises(ValueError, match=r"^models\.1: "):
        make_key("reports", ["tiny", ""])


def test_a_key_has_the_limits_that_it_is_given(path: Path) -> None:
    key, entry = make_key("reports", ["*"], weight=2.5, images_per_second=None, concurrent_images=8)
    add_key(path, entry)
    caller = read_keys(path).caller_of(key)
    assert caller is not None
    assert caller.limits == CallerLimits(weight=2.5, concurrent_images=8)
    (written,) = json.loads(path.read_text())["keys"]
    assert written.keys() == {"name", "sha256", "models", "weight", "concurrent_images"}


def test_a_limit_must_be_one() -> None:
    with pytest.raises(ValueError, match=r"^weight: Input should be greater than 0$"):
        make_key("reports", ["*"], weight=0.0)


ENTRY = {"name": "reports", "sha256": "a" * 64, "models": ["*"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "Invalid JSON"),
        ("[]", "Input should be an object"),
        ({}, "keys: Field required"),
        ({"keys": [], "kees": []}, "kees: Extra inputs are not permitted"),
        ({"keys": [ENTRY | {"model": "tiny"}]}, "keys.0.model: Extra inputs are not permitted"),
        ({"keys": [ENTRY | {"models": []}]}, "keys.0.models: List should have at least 1 item"),
        ({"keys": [ENTRY | {"models": "*"}]}, "keys.0.models: Input should be a valid array"),
        ({"keys": [ENTRY | {"name": "two words"}]}, "keys.0.name: String should match pattern"),
        ({"keys": [ENTRY | {"sha256": "A" * 64}]}, "keys.0.sha256: String should match pattern"),
        ({"keys": [ENTRY | {"weight": 0}]}, "keys.0.weight: Input should be greater than 0"),
        ({"keys": [ENTRY | {"weight": 100.5}]}, "keys.0.weight: Input should be less than or equal to 100"),
        ({"keys": [ENTRY | {"weight": "2"}]}, "keys.0.weight: Input should be a valid number"),
        ({"keys": [ENTRY | {"images_per_second": 0}]}, "keys.0.images_per_second: Input should be greater than 0"),
        ({"keys": [ENTRY | {"concurrent_images": 0}]}, "keys.0.concurrent_images: Input should be greater than or"),
        ({"keys": [ENTRY | {"concurrent_images": 1.5}]}, "keys.0.concurrent_images: Input should be a valid integer"),
        ({"keys": [ENTRY, ENTRY | {"sha256": "b" * 64}]}, "keys.1.name is that of keys.0; each must be unique"),
        ({"keys": [ENTRY, ENTRY | {"name": "shop"}]}, "keys.1.sha256 is that of keys.0; each must be unique"),
    ],
)
def test_a_bad_file_is_told_by_field(path: Path, content: object, message: str) -> None:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        read_keys(path)
    assert str(error.value).startswith(f"{path}: ")


def test_a_key_written_in_clear_is_not_repeated_in_the_error(path: Path) -> None:
    """The likeliest mistake is to write the key itself where its hash belongs."""
    key, _ = make_key("reports", ["*"])
    path.write_text(json.dumps({"keys": [ENTRY | {"sha256": key}]}))
    with pytest.raises(ValueError, match="sha256") as error:
        read_keys(path)
    assert key not in str(error.value)
    assert error.value.__suppress_context__


def test_a_huge_file_is_refused(path: Path) -> None:
    path.write_bytes(b" " * (4 << 20) + b'{"keys": []}')
    with pytest.raises(ValueError, match="larger than 4 MiB"):
        read_keys(path)
