"""What a client shows a gateway: read from arguments, files and the environment, and kept to itself."""

from pathlib import Path

import pytest

from services.client.credentials import Credentials


def test_without_anything_nothing_is_sent() -> None:
    assert Credentials().metadata() == ()
    assert Credentials.from_environment({}) == Credentials()


def test_the_environment_says_all() -> None:
    environment = {
        "GANTRY_TOKEN": "gantry_x",
        "GANTRY_TLS": "true",
        "GANTRY_CA": "/ca.crt",
        "GANTRY_CLIENT_CERTIFICATE": "/tls.crt",
        "GANTRY_CLIENT_KEY": "/tls.key",
        "GANTRY_SERVER_NAME": "gantry",
        "GANTRY_ALLOW_PLAIN_TEXT": "1",
        "GANTRY_TOKENS": "of the gateway",
    }
    assert Credentials.from_environment(environment) == Credentials(
        token="gantry_x",
        tls=True,
        ca=Path("/ca.crt"),
        certificate=Path("/tls.crt"),
        key=Path("/tls.key"),
        server_name="gantry",
        allow_plain_text=True,
    )


def test_an_empty_variable_is_as_one_that_is_not_set() -> None:
    names = "TOKEN", "TOKEN_FILE", "TLS", "CA", "CLIENT_CERTIFICATE", "CLIENT_KEY", "SERVER_NAME", "ALLOW_PLAIN_TEXT"
    assert Credentials.from_environment({f"GANTRY_{name}": "" for name in names}) == Credentials()


@pytest.mark.parametrize(("text", "flag"), [("1", True), ("True", True), ("yes", True), ("0", False), ("off", False)])
def test_a_flag_is_a_word(text: str, flag: bool) -> None:
    assert Credentials.from_environment({"GANTRY_TLS": text}).tls is flag


def test_another_word_is_no_flag() -> None:
    with pytest.raises(ValueError, match="GANTRY_TLS must be one of 1, true, yes, on, 0, false, no, off"):
        Credentials.from_environment({"GANTRY_TLS": "tls1.3"})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"token": "a", "token_file": Path("b")}, "token and token_file: give one"),
        ({"tls": True, "certificate": Path("a")}, "certificate and key: mTLS needs both"),
        ({"tls": True, "key": Path("a")}, "certificate and key: mTLS needs both"),
        ({"ca": Path("a")}, "ca is set without tls"),
        ({"certificate": Path("a"), "key": Path("b")}, "certificate is set without tls"),
        ({"server_name": "a"}, "server_name is set without tls"),
        ({"token": ""}, "token: a token is one word of printable ASCII"),
    ],
)
def test_contradictions_are_told(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Credentials(**fields)


def test_a_file_of_a_token_is_read_anew_each_time(tmp_path: Path) -> None:
    path = tmp_path / "token"
    credentials = Credentials(token_file=path)
    for token in ("gantry_one", "gantry_two"):
        path.write_text(f"{token}\n")
        assert credentials.metadata() == (("authorization", f"Bearer {token}"),)
    path.unlink()
    with pytest.raises(OSError, match="token"):
        credentials.metadata()


@pytest.mark.parametrize("text", [b"", b"\n", b"two words", b"S3cr3t\xff", b"S3cr3t\nX-Other: 1", "S3cr3té".encode()])
def test_what_is_no_token_is_told_and_not_shown(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(text)
    with pytest.raises(ValueError, match="token: a token is one word of printable ASCII") as error:
        Credentials(token_file=path).metadata()
    assert "S3cr3t" not in str(error.value)
    with pytest.raises(ValueError, match="a token is one word"):
        Credentials(token=text.decode(errors="replace"))


def test_a_token_is_not_in_the_text_of_its_object() -> None:
    assert "S3cr3t" not in repr(Credentials(token="S3cr3t"))
