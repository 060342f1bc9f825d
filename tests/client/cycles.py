"""What Python itself leaves to the garbage collector of a call, whoever makes it."""

import sys

BROKEN_CALLS_ARE_LEFT = sys.version_info >= (3, 12)
"""Since 3.12 contextlib makes a cycle of each exception that a context manager puts another in place of, as the HTTP
client's do, and with it of all frames that it came through."""
