"""The console: a live page and its status document, from the records of the last hour. It knows no server."""

from sidecar.console.console import EVERY, Console, Viewer
from sidecar.console.gate import Asked, asked
from sidecar.console.token import Token, TokenError, read_token

__all__ = ["EVERY", "Asked", "Console", "Token", "TokenError", "Viewer", "asked", "read_token"]
