"""Two harbour masters with a berth each, one of whom has a second factor."""

from __future__ import annotations

from allauth.mfa.totp.internal.auth import TOTP
from berths.models import Berth, Port
from callers import PASSWORD, SECRET
from django.contrib.auth.models import User

for name in ("anna", "otto"):
    master = User.objects.create_user(name, f"{name}@example.com", PASSWORD)
    Berth.objects.create(port=Port.objects.create(name=f"Port of {name}", master=master), number="1")
TOTP.activate(User.objects.get(username="otto"), SECRET)
