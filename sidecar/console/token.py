"""The token that the console asks for: where it comes from, and how it is compared. It is never shown or logged."""

import hashlib
import hmac
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

VARIABLE: Final = "SIDECAR_CONSOLE_TOKEN"
FILE_VARIABLE: Final = "SIDECAR_CONSOLE_TOKEN_FILE"
SHORTEST: Final = 16
_FIT: Final = re.compile(r"[!-~]{16,512}")


class TokenError(ValueError):
    """The token cannot be used; the message says why, without it."""


class Token:
    """A secret, and what a browser keeps in its place."""

    def __init__(self, secret: str) -> None:
        if not _FIT.fullmatch(secret):
            raise TokenError(
                f"the console's token has {len(secret)} characters: it must have {SHORTEST} to 512, printable ASCII"
                " without spaces; make one with: openssl rand -hex 24"
            )
        self._secret: Final = secret.encode()
        # What a browser stores does not give the token away, and is of no use once the token has changed.
        digest = hmac.digest(self._secret, b"claude-sidecar console cookie", hashlib.sha256).hex()
        self.cookie_name: Final = f"sidecar-{digest[:8]}"
        """Differs between sidecars, as browsers do not tell the ports of a host apart."""
        self.cookie: Final = digest[8:]

    def matches(self, given: str) -> bool:
        """Compare, in a time that does not depend on where they differ."""
        return hmac.compare_digest(self._secret, given.encode("utf-8", "surrogateescape"))

    def matches_cookie(self, given: str) -> bool:
        """Compare what a browser stored, in the same way."""
        return hmac.compare_digest(self.cookie.encode(), given.encode("utf-8", "surrogateescape"))

    def __repr__(self) -> str:
        return "Token(...)"


def read_token(environ: Mapping[str, str] = os.environ) -> Token | None:
    """Take the token from ``SIDECAR_CONSOLE_TOKEN``, else from the file that ``SIDECAR_CONSOLE_TOKEN_FILE`` names."""
    secret, path = environ.get(VARIABLE, ""), environ.get(FILE_VARIABLE, "")
    if secret:
        return Token(secret)
    if not path:
        return None
    try:
        return Token(Path(path).read_text(encoding="utf-8").strip())
    except (OSError, UnicodeDecodeError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or "it is not text"
        raise TokenError(f"{FILE_VARIABLE} names {path!r}, which cannot be read: {why}") from error
