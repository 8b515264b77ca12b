"""JSON Web Tokens: which are accepted, and whom they name."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given, settings
from hypothesis import strategies as st

from services.gateway.call import Caller, CallerLimits
from services.gateway.credentials.jwks import FetchedKeys, KeySet, read_key_set
from services.gateway.credentials.jwt import TokenExpiredError, WebTokens
from tests.services.gateway.issuing import AUDIENCE, ISSUER, Signer, key_set

ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"]


class KnownKeys:
    """Keys that stay as they are, and count how often newer ones are asked for."""

    def __init__(self, *entries: dict[str, Any]) -> None:
        self._keys: KeySet = read_key_set(key_set(*entries), "keys")
        self.refreshes = 0

    def keys(self) -> KeySet:
        return self._keys

    async def refresh(self) -> None:
        self.refreshes += 1

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


def judge(*entries: dict[str, Any], issuer: str | None = ISSUER, audience: str | None = AUDIENCE) -> WebTokens:
    return WebTokens(
        KnownKeys(*entries),
        issuer=issuer,
        audience=audience,
        models_claim="gantry_models",
        limits_claim="gantry_limits",
    )


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_signed_token_names_its_bearer(algorithm: str) -> None:
    signer = Signer(algorithm)
    tokens = judge(signer.jwk(alg=algorithm))
    caller = await tokens.caller_of(signer.sign(gantry_models=["tiny", "other"]))
    assert caller == Caller("reports", frozenset({"tiny", "other"}))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_token_of_another_key_is_not_accepted(algorithm: str) -> None:
    known, stranger = Signer(algorithm, "one"), Signer(algorithm, "stranger")
    forged = stranger.sign(headers={"kid": "one"})
    assert await judge(known.jwk()).caller_of(forged) is None
    assert await judge(known.jwk()).caller_of(stranger.sign()) is None


async def test_a_token_says_what_its_bearer_gets() -> None:
    signer = Signer("EdDSA")
    caller = await judge(signer.jwk()).caller_of(signer.sign(gantry_limits={"weight": 2, "concurrent_images": 8}))
    assert caller is not None
    assert caller.limits == CallerLimits(weight=2, concurrent_images=8)
    unlimited = await judge(signer.jwk()).caller_of(signer.sign())
    assert unlimited is not None
    assert unlimited.limits == CallerLimits()


@pytest.mark.parametrize(
    "limits",
    [
        "none",
        [],
        7,
        {"wieght": 2},
        {"weight": 0},
        {"weight": 101},
        {"weight": "2"},
        {"weight": True},
        {"weight": None},
        {"images_per_second": 0},
        {"images_per_second": 1e999},
        {"concurrent_images": 0},
        {"concurrent_images": 1.5},
    ],
)
async def test_a_token_with_wrong_limits_is_not_accepted(limits: object) -> None:
    signer = Signer("EdDSA")
    assert await judge(signer.jwk()).caller_of(signer.sign(gantry_limits=limits)) is None


@pytest.mark.parametrize(
    ("claim", "models"),
    [
        ("tiny other", {"tiny", "other"}),
        ("*", {"*"}),
        (["*"], {"*"}),
        ([], set()),
        ("", set()),
        (None, set()),
        (["tiny", 7, None], {"tiny"}),
        ({"tiny": True}, set()),
        (7, set()),
    ],
)
async def test_the_claim_lists_the_models(claim: object, models: set[str]) -> None:
    signer = Signer("EdDSA")
    caller = await judge(signer.jwk()).caller_of(signer.sign(gantry_models=claim))
    assert caller is not None
    assert caller.models == models


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": None},
        {"sub": None},
        {"sub": 7},
        {"exp": "tomorrow"},
        {"exp": [1]},
        # Not from the clock: these are made when tests are collected, and name the tests.
        {"nbf": 2**32},
        {"iat": 2**32},
        {"iss": None},
        {"iss": "https://other.example"},
        {"iss": [ISSUER]},
        {"aud": None},
        {"aud": "other"},
        {"aud": [["gantry"]]},
        {"aud": "gantr"},
    ],
    ids=str,
)
async def test_a_token_that_says_the_wrong_thing_is_not_accepted(claims: dict[str, Any]) -> None:
    signer = Signer("EdDSA")
    good = {"sub": "reports", "exp": time.time() + 60, "aud": AUDIENCE, "iss": ISSUER}

    def token(**claims: Any) -> str:
        """Signed as bytes, since PyJWT itself refuses to sign some of these claims."""
        payload = json.dumps({name: value for name, value in claims.items() if value is not None}).encode()
        return jwt.api_jws.encode(payload, signer.private, "EdDSA", headers={"kid": "one"})

    assert await judge(signer.jwk()).caller_of(token(**good))
    assert await judge(signer.jwk()).caller_of(token(**good | claims)) is None


async def test_clocks_may_be_half_a_minute_apart() -> None:
    signer, now = Signer("EdDSA"), time.time()
    tokens = judge(signer.jwk())
    assert await tokens.caller_of(signer.sign(exp=now - 5, nbf=now + 25, iat=now + 25))
    with pytest.raises(TokenExpiredError):
        await tokens.caller_of(signer.sign(exp=now - 45))


async def test_only_a_token_with_a_good_signature_is_told_that_it_expired() -> None:
    known, stranger = Signer("EdDSA", "one"), Signer("EdDSA", "stranger")
    forged = stranger.sign(headers={"kid": "one"}, exp=time.time() - 3600)
    assert await judge(known.jwk()).caller_of(forged) is None


async def test_an_audience_among_several_is_one() -> None:
    signer = Signer("EdDSA")
    assert await judge(signer.jwk()).caller_of(signer.sign(aud=["other", AUDIENCE]))


async def test_without_the_settings_issuer_and_audience_may_be_any() -> None:
    signer = Signer("EdDSA")
    tokens = judge(signer.jwk(), issuer=None, audience=None)
    assert await tokens.caller_of(signer.sign(iss="https://other.example", aud="other"))
    assert await tokens.caller_of(signer.sign(iss=None, aud=None))


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signing_input(**header: Any) -> str:
    """A header and good claims, not yet signed."""
    claims = {"sub": "reports", "exp": time.time() + 60, "aud": AUDIENCE, "iss": ISSUER}
    return ".".join(encode(json.dumps(part).encode()) for part in (header, claims))


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", None, "HS256", "ES256K", "RS1", 7, ["RS256"]])
async def test_an_unsigned_token_is_not_accepted(algorithm: object) -> None:
    unsigned = signing_input(alg=algorithm, kid="one")
    assert await judge(Signer("RS256").jwk()).caller_of(f"{unsigned}.") is None


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
@pytest.mark.parametrize("signer_algorithm", ["RS256", "ES256", "EdDSA"])
async def test_a_public_key_is_never_taken_for_an_hmac_secret(algorithm: str, signer_algorithm: str) -> None:
    """The classic confusion: the attacker signs with HMAC, and the public key, known to all, as secret."""
    signer = Signer(signer_algorithm)
    public = signer.private.public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    signed = signing_input(alg=algorithm, kid="one")
    for secret in (pem, pem.strip(), json.dumps(signer.jwk()).encode()):
        digest = hmac.new(secret, signed.encode(), getattr(hashlib, f"sha{algorithm[2:]}")).digest()
        assert await judge(signer.jwk()).caller_of(f"{signed}.{encode(digest)}") is None


async def test_a_key_verifies_only_its_own_algorithm() -> None:
    signer = Signer("RS256")
    as_pss = Signer("PS256")
    assert await judge(signer.jwk(alg="PS256")).caller_of(signer.sign()) is None
    assert await judge(as_pss.jwk(alg="PS256")).caller_of(as_pss.sign())


@pytest.mark.parametrize("headers", [{"crit": ["exp"], "exp": 1}, {"b64": False, "crit": ["b64"]}, {"kid": "other"}])
async def test_headers_that_ask_for_more_are_not_obeyed(headers: dict[str, Any]) -> None:
    signer = Signer("EdDSA")

    def token(**header: Any) -> str:
        signed = signing_input(**{"alg": "EdDSA", "kid": "one"} | header)
        return f"{signed}.{encode(signer.private.sign(signed.encode()))}"

    assert await judge(signer.jwk()).caller_of(token())
    assert await judge(signer.jwk()).caller_of(token(**headers)) is None


async def test_keys_that_a_token_brings_along_are_ignored() -> None:
    known, stranger = Signer("EdDSA", "one"), Signer("EdDSA", "stranger")
    forged = stranger.sign(headers={"kid": "one", "jwk": stranger.jwk(), "jku": "http://127.0.0.1:1/"})
    assert await judge(known.jwk()).caller_of(forged) is None


async def test_an_unknown_key_makes_it_look_for_newer_ones() -> None:
    old, new = Signer("EdDSA", "old"), Signer("EdDSA", "new")
    entries, fetches, now = [old.jwk()], [], [0.0]

    def fetch(url: str) -> bytes:
        fetches.append(url)
        return key_set(*entries)

    source = FetchedKeys("https://issuer.example/keys", fetch=fetch, clock=lambda: now[0])
    tokens = WebTokens(source, issuer=None, audience=None, models_claim="gantry_models", limits_claim="gantry_limits")
    assert await tokens.caller_of(old.sign())
    entries.append(new.jwk())
    assert await tokens.caller_of(new.sign()) is None, "fetched a moment ago"
    now[0] += 30
    assert await tokens.caller_of(old.sign())
    assert len(fetches) == 1
    assert await tokens.caller_of(new.sign())
    assert len(fetches) == 2


async def test_an_algorithm_that_is_never_allowed_does_not_make_it_look() -> None:
    keys = KnownKeys(Signer("EdDSA").jwk())
    tokens = WebTokens(keys, issuer=None, audience=None, models_claim="gantry_models", limits_claim="gantry_limits")
    assert await tokens.caller_of(jwt.encode({"sub": "x"}, "s" * 32, "HS256", headers={"kid": "other"})) is None
    assert keys.refreshes == 0


TOKENS = judge(Signer("EdDSA").jwk())
# Made when tests are collected and judged minutes later, so it ends in 2106.
GOOD = Signer("EdDSA").sign(exp=2**32)


@settings(deadline=None)
@given(st.one_of(st.text(), st.lists(st.text(), min_size=3, max_size=3).map(".".join)))
async def test_any_text_is_judged_without_an_error(text: str) -> None:
    assert await TOKENS.caller_of(text) is None


@settings(deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.sampled_from("AZaz09-_.=é"))
async def test_a_token_with_one_character_changed_is_not_accepted(place: int, character: str) -> None:
    changed = GOOD[:place] + character + GOOD[place + 1 :]
    assert (await TOKENS.caller_of(changed) is None) == (changed != GOOD)


async def test_a_name_forges_no_line_of_the_log() -> None:
    signer = Signer("EdDSA")
    caller = await judge(signer.jwk()).caller_of(signer.sign(sub="a\nINFO b\x1b[31m" + "c" * 1000))
    assert caller is not None
    assert caller.name.isprintable()
    assert len(caller.name) == 128
