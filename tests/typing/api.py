"""Type-checked, never run: the public names have the types users are promised. `make check` fails when they do not."""

from typing import assert_type

import sidecar

assert_type(sidecar.__version__, str)
