"""What protection costs a request inside the proxy, in CPU time, beside the plain way in the same run.

Without sockets: bytes go through the parsers, the planner, the records and back, and what turning the loop costs is
taken off. Protection is opt-in and has no target; the plain way must cost nothing more for there being another.
"""

import sys
from pathlib import Path
from time import process_time

sys.path.insert(0, str(Path(__file__).parents[1]))

from sidecar.proxy.protect.settings import Protection
from sidecar.proxy.protect.upgrade import streaming
from tests.proxy.kit import answer, chunks
from tests.proxy.memory import Conversation
from tests.proxy.protected import BODY, JSON, MESSAGE, ask
from tests.proxy.test_protect_upgrade import HEAD, WHOLE

REQUESTS = 800
ROUNDS = 4
PLAIN = answer(MESSAGE, JSON)
STREAM = HEAD + chunks(WHOLE)


def seconds(reply: bytes, protection: Protection | None) -> float:
    """Measure one request, the best of a few rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        with Conversation(protection=protection) as talk:
            began = process_time()
            for _ in range(REQUESTS):
                talk.say(ask())
                talk.reply(reply)
                talk.pipe.written.clear()
            between = process_time()
            for _ in range(2 * REQUESTS):
                talk.settle()
            best = min(best, (2 * between - began - process_time()) / REQUESTS)
    return best


def editing(body: bytes) -> float:
    began = process_time()
    for _ in range(20):
        streaming(body)
    return (process_time() - began) / 20


def main() -> None:
    plain = seconds(PLAIN, None)
    rows = {
        "plain way": plain,
        "protected": seconds(PLAIN, Protection()),
        "protected, with a queue": seconds(PLAIN, Protection(concurrency=10)),
        "upgraded": seconds(STREAM, Protection(upgrade=True)),
    }
    print(f"{'a request of 100 bytes':30}{'µs':>10}{'of plain':>10}")
    for name, cost in rows.items():
        print(f"{name:30}{cost * 1e6:10.0f}{cost / plain:10.2f}")
    print()
    print(f"{'the edit of a body':30}{'ms':>10}")
    large = BODY[:-2] + b"x" * 4_000_000 + BODY[-2:]
    words = BODY[:-1] + b',"a":"' + b"x" * 1_000_000 + b'","stream":false}'
    print(f"{'4 MB':30}{editing(large) * 1e3:10.2f}")
    print(f"{'1 MB that has to be searched':30}{editing(words) * 1e3:10.2f}")


if __name__ == "__main__":
    main()
