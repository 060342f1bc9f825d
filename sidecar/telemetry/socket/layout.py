"""The datagram's layout, version 1: what the encoder writes and the decoder reads, and the limits both keep.

A datagram is a header, a table of strings, and rows of fixed size in sections. What many records have in common (model,
outcome, host, ...) stands in a *head* that points into the string table, and each record's row points to its head: a
batch says everything once, and both sides spend their time in ``struct``. All is little-endian; string 0 is "absent".

    header     magic, version, kind, number of strings, rows of each section, bytes of text
    lengths    one byte a string
    text       UTF-8, all strings joined
    sections   of records: attempt heads, call heads, attempts, calls, rate limits, waits
               of a snapshot: gauges, counters, labels
"""

from struct import Struct
from typing import Final

MAGIC: Final = b"cS"
VERSION: Final = 1
RECORDS: Final = 1
SNAPSHOT: Final = 2

MAX_DATAGRAM: Final = 128 * 1024
"""Nothing larger is sent or looked at; Linux takes about 200 KB with its default buffers."""
MAX_STRING: Final = 255
"""In bytes; a longer name is cut by the sender."""
MAX_ROWS: Final = 0xFFFF
"""What a section's count can say."""
MAX_PARTS: Final = 32
"""Rate limits or waits of one record; of more, the sender keeps the last."""

HEADER: Final = Struct("<2sBBHHHHHHHI")

ABSENT_PORT: Final = 0
ABSENT_STATUS: Final = 0
ABSENT_COUNT: Final = -1
"""For numbers of which 0 means something. Of floats, NaN is absent."""
NO_TRACE: Final = bytes(24)

# source, endpoint, model, profile, outcome, phase, error_type, method, host; stream; status, port
ATTEMPT_HEAD: Final = Struct("<9H?HH")
# head, request_id, number, flags, number of its limits; started_at, duration, first_byte, first_token, max_gap,
# max_gap_at; trace id and span id
ATTEMPT: Final = Struct("<HHHBB6d24s")
# source, endpoint, model, profile, outcome, phase, error_type, host, retry_result, stop_reason; stream
CALL_HEAD: Final = Struct("<10H?")
# head, request_id, attempts, flags, number of its waits; started_at, duration, first_token, output_seconds; tokens of
# each kind; trace id and span id
CALL: Final = Struct("<HHHBB4d4Q24s")
# kind; limit, remaining; reset_at
LIMIT: Final = Struct("<Hqqd")
# reason, completed; at, seconds
WAIT: Final = Struct("<H?dd")
# family, number of its labels; value, at
SAMPLE: Final = Struct("<HBdd")
LABEL: Final = Struct("<H")

SECTIONS: Final = {
    RECORDS: (ATTEMPT_HEAD, CALL_HEAD, ATTEMPT, CALL, LIMIT, WAIT),
    SNAPSHOT: (SAMPLE, SAMPLE, LABEL, LABEL, LABEL, LABEL),
}
"""The rows of each section, by the datagram's kind; a snapshot leaves its last three empty."""

# Flags of a row.
SAMPLED: Final = 1
USAGE: Final = 2
