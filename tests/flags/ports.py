from __future__ import annotations

import contextlib
import random
import socket


def free_port() -> int:
    """Return a port outside the ephemeral range, whose ports an outgoing connection may take before the server."""
    while True:
        # Not seeded by the test runner: two runs with the same seed would choose the same port.
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
