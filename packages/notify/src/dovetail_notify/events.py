"""The domain events of this package (see ``dovetail_core.events``).

==================================  ============  ==============================
name                                target        data
==================================  ============  ==============================
notification_device.registered      device        ``kind``
notification_device.removed         device        ``kind``
==================================  ============  ==============================

Sending a notification emits no event, because the subject of the notification has its own.
"""

from __future__ import annotations

from typing import Final

DEVICE_REGISTERED: Final = "notification_device.registered"
DEVICE_REMOVED: Final = "notification_device.removed"
