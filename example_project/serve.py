"""Prepare the database and serve the project on this machine for a trial: ``make serve``."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import warnings

from example_project import garbage

HOST = "127.0.0.1"


def main() -> None:
    garbage.collect_rarely()
    port = _port(os.environ.get("PORT") or "8000")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")
    os.environ.setdefault("DJANGO_DEBUG", "true")
    os.environ.setdefault("WEBSOCKETS_ENABLED", "true")

    import django
    import uvicorn
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    address = f"http://{HOST}:{port}"
    call_command("seed_demo")
    sys.stdout.write(
        f"\nAPI             {address}/api/v1/\n"
        f"Documentation   {address}/api/docs/\n"
        f"Notifications   {address}/console/\n"
        f"Admin site      {address}/django-admin/\n\n"
        "Stop with Ctrl-C.\n\n"
    )
    sys.stdout.flush()
    # WhiteNoise streams files synchronously. That is fast enough for a trial.
    warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous iterators")
    # uvicorn raises the signal again after it has shut down.
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.run("example_project.asgi:application", host=HOST, port=port, lifespan="off", log_level="info")


def _port(value: str) -> int:
    if not value.isdecimal() or not 0 < int(value) < 65536:
        sys.exit(f"PORT is {value!r}; it takes a number from 1 to 65535: make serve PORT=8001")
    with socket.socket() as probe:
        # Like uvicorn: connections of a server that has just stopped do not block the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, int(value)))
        except OSError as error:
            sys.exit(f"Port {value} of {HOST} cannot be used ({error.strerror}). Choose another: make serve PORT=8001")
    return int(value)


if __name__ == "__main__":
    main()
