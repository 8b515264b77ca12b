"""JSON Web Tokens (RFC 7519) of callers: whether one is accepted, and whom it names."""

from typing import Any

import jwt

from services.gateway.call import NO_LIMITS, Caller, CallerLimits
from services.gateway.credentials.jwks import ALGORITHMS, KeySource

LEEWAY_SECONDS = 30


class TokenExpiredError(Exception):
    """The token was good once."""


class WebTokens:
    """Checks JSON Web Tokens by the keys of a source."""

    def __init__(
        self, source: KeySource, *, issuer: str | None, audience: str | None, models_claim: str, limits_claim: str
    ) -> None:
        """Keep what a token must say.

        Args:
            source: The keys that sign tokens.
            issuer: What "iss" must be. None: anything.
            audience: What "aud" must be or hold. None: anything.
            models_claim: The claim that lists the models its bearer may use.
            limits_claim: The claim that says what its bearer gets of the gateway: an object of `CallerLimits`.
        """
        self.source = source
        self._issuer, self._audience = issuer, audience
        self._models_claim, self._limits_claim = models_claim, limits_claim

    async def caller_of(self, token: str) -> Caller | None:
        """Check a token: a known key must have signed it, and it must have an end ("exp") and a bearer ("sub").

        Args:
            token: What a caller sent.

        Returns:
            Its "sub" and the models that it may use; None where the token is not accepted.

        Raises:
            TokenExpiredError: It was good once; only said of tokens with a good signature.
        """
        try:
            key = await self._key_of(token)
            claims = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                issuer=self._issuer,
                audience=self._audience,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "sub"], "verify_aud": self._audience is not None},
            )
            models = _models(claims.get(self._models_claim))
            return Caller.of(claims["sub"], models, _limits(claims.get(self._limits_claim)))
        except jwt.ExpiredSignatureError:
            raise TokenExpiredError from None
        # A stranger chose every byte: whatever a library makes of some, the token is not accepted.
        except Exception:
            return None

    async def _key_of(self, token: str) -> jwt.PyJWK:
        header = jwt.get_unverified_header(token)
        key_id, algorithm = header.get("kid"), header.get("alg")
        if algorithm not in ALGORITHMS:
            raise jwt.InvalidAlgorithmError
        key = self.source.keys().find(key_id, algorithm)
        if key is None:
            await self.source.refresh()
            key = self.source.keys().find(key_id, algorithm)
        if key is None:
            raise jwt.InvalidKeyError
        return key


def _models(claim: Any) -> list[str]:
    """Read the claim: a list of names, or names with spaces between, as OAuth writes scopes."""
    if isinstance(claim, str):
        return claim.split()
    if isinstance(claim, list):
        return [name for name in claim if isinstance(name, str)]
    return []


def _limits(claim: Any) -> CallerLimits:
    """Read the claim; without it there are no limits. Raises whatever there is to raise of a wrong one."""
    return NO_LIMITS if claim is None else CallerLimits(**claim)
