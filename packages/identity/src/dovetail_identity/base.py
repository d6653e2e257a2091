"""The user as an abstract model, which can be imported without ``dovetail_identity`` in ``INSTALLED_APPS``."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.auth import models as auth_models
from django.contrib.auth.hashers import make_password
from django.db import models
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy as _

from dovetail_core.accounts import normalize_address
from dovetail_core.models import uuid7
from dovetail_identity.fields import NormalizedEmailField, validate_language, validate_time_zone


class UserManager(auth_models.UserManager["AbstractUser"]):
    """Django's ``UserManager`` with an e-mail address in place of the username."""

    @classmethod
    def normalize_email(cls, email: str | None) -> str:
        # Django's method converts only the domain to lower case.
        return normalize_address(email or "")

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> AbstractUser:  # type: ignore[override]  # no username
        """Create and return a user, with an unusable password by default. Raise ``ValueError`` without an address."""
        user = self._new(email, password, **{"is_staff": False, "is_superuser": False, **fields})
        user.save(using=self._db)
        return user

    create_user.alters_data = True  # type: ignore[attr-defined]  # not called by templates

    async def acreate_user(self, email: str, password: str | None = None, **fields: Any) -> AbstractUser:  # type: ignore[override]  # no username
        user = self._new(email, password, **{"is_staff": False, "is_superuser": False, **fields})
        await user.asave(using=self._db)
        return user

    acreate_user.alters_data = True  # type: ignore[attr-defined]  # not called by templates

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> AbstractUser:  # type: ignore[override]  # no username
        """Create and return a superuser.

        Raises ``ValueError`` without an address, and if ``is_staff`` or ``is_superuser`` is not True.
        """
        user = self._new(email, password, **_superuser(fields))
        user.save(using=self._db)
        return user

    create_superuser.alters_data = True  # type: ignore[attr-defined]  # not called by templates

    async def acreate_superuser(self, email: str, password: str | None = None, **fields: Any) -> AbstractUser:  # type: ignore[override]  # no username
        user = self._new(email, password, **_superuser(fields))
        await user.asave(using=self._db)
        return user

    acreate_superuser.alters_data = True  # type: ignore[attr-defined]  # not called by templates

    def _new(self, email: str, password: str | None, **fields: Any) -> AbstractUser:
        if not email or not email.strip():
            raise ValueError("A user must have an e-mail address.")
        # Not set_password(): historical models in migrations have no methods.
        return self.model(email=normalize_address(email), password=make_password(password), **fields)


def _superuser(fields: dict[str, Any]) -> dict[str, Any]:
    fields = {"is_staff": True, "is_superuser": True, **fields}
    for name in ("is_staff", "is_superuser"):
        if fields[name] is not True:
            raise ValueError(f"A superuser must have {name}=True; got {fields[name]!r}.")
    return fields


class AbstractUser(auth_models.AbstractUser):
    """Django's user with an e-mail address, unique regardless of case, in place of the username.

    Inherit from it to add fields, and set ``AUTH_USER_MODEL`` to your model. If you define ``Meta``, inherit from
    ``AbstractUser.Meta``, which contains the constraint that rejects addresses in mixed case.
    """

    username = None  # type: ignore[assignment]  # removes the inherited field

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
            # Expressions in bulk operations, raw SQL and other programs bypass the field.
            models.CheckConstraint(condition=models.Q(email=Lower("email")), name="%(app_label)s_%(class)s_email_lower")
        ]

    @classmethod
    def normalize_username(cls, username: object) -> Any:
        # Not NFKC as in Django, which merges addresses that are different to a mail server.
        return normalize_address(username) if isinstance(username, str) else username
