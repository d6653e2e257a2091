"""The user as an abstract model. It can be imported although ``dovetail_identity`` is not installed."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.auth import models as auth_models
from django.contrib.auth.hashers import make_password
from django.db import models
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy as _

from dovetail_core.models import uuid7
from dovetail_identity.fields import NormalizedEmailField, normalize_email, validate_language, validate_time_zone


class UserManager(auth_models.UserManager["AbstractUser"]):
    """Django's ``UserManager``, whose methods take an e-mail address in the place of a username."""

    @classmethod
    def normalize_email(cls, email: str | None) -> str:
        # Django's lowers the domain only, and would make a second form of an address.
        return normalize_email(email or "")

    def create_user(  # type: ignore[override]  # there is no username
        self, email: str, password: str | None = None, **fields: Any
    ) -> AbstractUser:
        """Create and return a user. Without ``password``, no password signs it in.

        Raises ``ValueError`` for an empty address.
        """
        user = self._new(email, password, **{"is_staff": False, "is_superuser": False, **fields})
        user.save(using=self._db)
        return user

    create_user.alters_data = True  # type: ignore[attr-defined]  # Django's mark: templates do not call it

    async def acreate_user(  # type: ignore[override]  # there is no username
        self, email: str, password: str | None = None, **fields: Any
    ) -> AbstractUser:
        user = self._new(email, password, **{"is_staff": False, "is_superuser": False, **fields})
        await user.asave(using=self._db)
        return user

    acreate_user.alters_data = True  # type: ignore[attr-defined]  # Django's mark: templates do not call it

    def create_superuser(  # type: ignore[override]  # there is no username
        self, email: str, password: str | None = None, **fields: Any
    ) -> AbstractUser:
        """Create and return a user with every permission.

        Raises ``ValueError`` for an empty address, and if ``fields`` has ``is_staff`` or ``is_superuser`` off.
        """
        user = self._new(email, password, **_superuser(fields))
        user.save(using=self._db)
        return user

    create_superuser.alters_data = True  # type: ignore[attr-defined]  # Django's mark: templates do not call it

    async def acreate_superuser(  # type: ignore[override]  # there is no username
        self, email: str, password: str | None = None, **fields: Any
    ) -> AbstractUser:
        user = self._new(email, password, **_superuser(fields))
        await user.asave(using=self._db)
        return user

    acreate_superuser.alters_data = True  # type: ignore[attr-defined]  # Django's mark: templates do not call it

    def _new(self, email: str, password: str | None, **fields: Any) -> AbstractUser:
        if not email or not email.strip():
            raise ValueError("A user needs an e-mail address; got an empty one.")
        # make_password and not set_password: historical models in migrations have fields and no methods.
        return self.model(email=normalize_email(email), password=make_password(password), **fields)


def _superuser(fields: dict[str, Any]) -> dict[str, Any]:
    fields = {"is_staff": True, "is_superuser": True, **fields}
    for name in ("is_staff", "is_superuser"):
        if fields[name] is not True:
            raise ValueError(f"A superuser has {name}=True; got {fields[name]!r}.")
    return fields


class AbstractUser(auth_models.AbstractUser):
    """Django's user without a username. People are known by an e-mail address, which is unique in any case.

    Inherit from it to add fields, and name your model in ``AUTH_USER_MODEL``. A ``Meta`` of your own inherits from
    ``AbstractUser.Meta``, which holds the constraint that refuses an address in mixed case.
    """

    username = None  # type: ignore[assignment]  # Django's way to leave an inherited field out

    id = models.UUIDField(_("id"), primary_key=True, default=uuid7, editable=False)
    email = NormalizedEmailField(
        _("email address"),
        unique=True,
        error_messages={"unique": _("A user with that email address already exists.")},
    )
    avatar_url = models.URLField(_("avatar"), max_length=2000, blank=True, help_text=_("Address of a picture."))
    phone_number = models.CharField(_("phone number"), max_length=32, blank=True)
    # 35 characters hold every language tag in use (RFC 5646, 4.4.1).
    language = models.CharField(
        _("language"),
        max_length=35,
        blank=True,
        validators=[validate_language],
        help_text=_("A language code such as de. Empty if none is chosen."),
    )
    time_zone = models.CharField(
        _("time zone"),
        max_length=64,
        blank=True,
        validators=[validate_time_zone],
        help_text=_("A name from the IANA time zone database, such as Europe/Berlin. Empty if none is chosen."),
    )
    email_verified_at = models.DateTimeField(
        _("email verified"),
        null=True,
        blank=True,
        help_text=_("When the person proved that this address is theirs."),
    )

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta(auth_models.AbstractUser.Meta):
        abstract = True
        constraints = [
            # bulk operations with expressions, raw SQL and other programs get past the field; nothing gets past this.
            models.CheckConstraint(condition=models.Q(email=Lower("email")), name="%(app_label)s_%(class)s_email_lower")
        ]

    @classmethod
    def normalize_username(cls, username: Any) -> Any:
        # Not Django's NFKC: it makes one address out of two that are different to a mail server.
        return normalize_email(username) if isinstance(username, str) else username
