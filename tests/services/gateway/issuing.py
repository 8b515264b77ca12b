"""Keys that sign JSON Web Tokens, made in the test."""

import json
import time
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

AUDIENCE, ISSUER = "gantry", "https://issuer.example"
_CURVES = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1}


class Signer:
    """A private key with an id, and the JSON Web Key of its public half."""

    def __init__(self, algorithm: str, key_id: str | None = "one") -> None:
        self.algorithm, self.id = algorithm, key_id
        self.private = _private(algorithm, key_id)

    def jwk(self, **members: Any) -> dict[str, Any]:
        """The public key, with members added; those that are None are left out."""
        encode = jwt.get_algorithm_by_name(self.algorithm).to_jwk
        entry = json.loads(encode(self.private.public_key())) | {"kid": self.id} | members
        entry.pop("key_ops", None)
        return {name: value for name, value in entry.items() if value is not None}

    def sign(self, headers: dict[str, Any] | None = None, **claims: Any) -> str:
        """Sign a token that is good for an hour, longer than any test takes; claims that are None are left out."""
        claims = {"sub": "reports", "exp": time.time() + 3600, "aud": AUDIENCE, "iss": ISSUER} | claims
        named = {"kid": self.id} if self.id else {}
        return jwt.encode(
            {name: value for name, value in claims.items() if value is not None},
            self.private,
            self.algorithm,
            headers=named | (headers or {}),
        )


def key_set(*entries: dict[str, Any]) -> bytes:
    return json.dumps({"keys": entries}).encode()


@cache
def _private(algorithm: str, key_id: str | None) -> Any:
    """RSA keys take a while to find, so each is found once."""
    if algorithm in _CURVES:
        return ec.generate_private_key(_CURVES[algorithm]())
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)
