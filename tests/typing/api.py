"""Type-checked, never run: the public names have the types users are promised. `make check` fails when they do not."""

from typing import assert_type

import sidecar

assert_type(sidecar.__version__, str)
assert_type(sidecar.Telemetry(), sidecar.Telemetry)
assert_type(sidecar.default_telemetry(), sidecar.Telemetry)
assert_type(sidecar.serve_metrics(0).port, int)
