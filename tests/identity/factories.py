from __future__ import annotations

import itertools
from typing import Any

from dovetail_identity.models import User

PASSWORD = "correct horse battery staple"
_numbers = itertools.count(1)


def make_user(**fields: Any) -> User:
    fields = {"email": f"person{next(_numbers)}@example.com", "password": PASSWORD, **fields}
    user = User.objects.create_user(**fields)
    assert isinstance(user, User)
    return user
