"""The smallest project, served by several processes with the database ``SERVED_DATABASE`` and a layer on Redis."""

from __future__ import annotations

import os

from tests.notify.settings import *  # noqa: F403  # the base of these settings
from tests.notify.settings import DATABASES

ALLOWED_HOSTS = ["127.0.0.1"]
# Set for the servers. The publisher creates the database, and Django names it.
if "SERVED_DATABASE" in os.environ:
    DATABASES["default"]["NAME"] = os.environ["SERVED_DATABASE"]
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["TEST"] = {"NAME": os.environ["SERVED_FILE"]}
    DATABASES["default"]["OPTIONS"] = {"timeout": 30, "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF"}
else:
    DATABASES["default"]["TEST"] = {"NAME": f"{DATABASES['default']['NAME']}_{os.environ['SERVED_NAME']}"}

_host = {"address": os.environ["SERVED_REDIS"], "socket_timeout": 20}
CHANNEL_LAYERS = {
    "default": {
        "core": {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            "CONFIG": {"hosts": [_host], "capacity": 1000, "prefix": "notify_served"},
        },
        "pubsub": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [os.environ["SERVED_REDIS"]], "prefix": "notify_served"},
        },
    }[os.environ["SERVED_LAYER"]]
}
NOTIFY_RUNNER = "dovetail_notify.outbox.runner.wait"
NOTIFY_SOCKET_SWEEP_SECONDS = int(os.environ.get("SERVED_SWEEP", "3600"))
