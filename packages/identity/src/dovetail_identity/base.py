"""The user as an abstract model. Importable although ``dovetail_identity`` is not installed."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import PermissionsMixin
from django.contrib.auth.models import UserManager as DjangoUserManager
from django.core.mail import send_mail
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from dovetail_core.fields import uuid7
from dovetail_identity.fields import NormalizedEmailField, normalize_email


class UserManager(BaseUserManager["AbstractUser"]):
    """The manager of a user model whose only name for a person is ``email``, in any case."""

    use_in_migrations = True

    with_perm = DjangoUserManager.with_perm

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> AbstractUser:
        """A saved user; without ``password`` one whom no password signs in. Raises ``ValueError`` without ``email``."""
        user = self._new(email, password, **{"is_staff": False, "is_superuser": False, **fields})
        user.save(using=self._db)
        return user

    create_user.alters_data = True  # type: ignore[attr-defined]  # Django's mark: templates do not call it

    async def acreate_user(self, email: str, password: str | None = None, **fields: Any) -> AbstractUser:
        user = self._new(email, password, **{"is_staff": False, "is_superuser": False, **fields})
        await user.asave(using=self._db)
        return user

    acreate_user.alters_data = True  # type: ignore[attr-defined]  # Django's mark: templates do not call it

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> AbstractUser:
        """A saved user with every permission. Raises ``ValueError`` where ``fields`` say otherwise."""
        user = self._new(email, password, **_superuser(fields))
        user.save(using=self._db)
        return user

    create_superuser.alters_data = True  # type: ignore[attr-defined]  # Django's mark: templates do not call it

    async def acreate_superuser(self, email: str, password: str | None = None, **fields: Any) -> AbstractUser:
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


class AbstractUser(AbstractBaseUser, PermissionsMixin):
    """A person, known by an e-mail address that is unique whatever its case.

    Inherit from it to add fields and name your model in ``AUTH_USER_MODEL``. A ``Meta`` of your own inherits
    ``AbstractUser.Meta``: that has the database's own refusal of an address in mixed case.
    """

    id = models.UUIDField(_("id"), primary_key=True, default=uuid7, editable=False)
    email = NormalizedEmailField(
        _("email address"),
        unique=True,
        error_messages={"unique": _("A user with that email address already exists.")},
    )
    first_name = models.CharField(_("first name"), max_length=150, blank=True)
    last_name = models.CharField(_("last name"), max_length=150, blank=True)
    avatar_url = models.URLField(_("avatar"), max_length=2000, blank=True, help_text=_("Address of a picture."))
    phone_number = models.CharField(_("phone number"), max_length=32, blank=True)
    email_verified_at = models.DateTimeField(
        _("email verified"),
        null=True,
        blank=True,
        help_text=_("When the person proved that this address is theirs."),
    )
    is_staff = models.BooleanField(
        _("staff status"),
        default=False,
        help_text=_("Designates whether the user can log into this admin site."),
    )
    is_active = models.BooleanField(
        _("active"),
        default=True,
        help_text=_(
            "Designates whether this user should be treated as active. Unselect this instead of deleting accounts."
        ),
    )
    date_joined = models.DateTimeField(_("date joined"), default=timezone.now)

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        abstract = True
        verbose_name = _("user")
        verbose_name_plural = _("users")
        constraints = [
            # bulk operations with expressions, raw SQL and other programs get past the field; nothing gets past this.
            models.CheckConstraint(condition=models.Q(email=Lower("email")), name="%(app_label)s_%(class)s_email_lower")
        ]

    @classmethod
    def normalize_username(cls, username: Any) -> Any:
        # Not Django's NFKC: it makes one address out of two that are different to a mail server.
        return normalize_email(username) if isinstance(username, str) else username

    def get_full_name(self) -> str:
        return f"{self.first_name} {self.last_name}".strip()

    def get_short_name(self) -> str:
        return self.first_name

    def email_user(self, subject: str, message: str, from_email: str | None = None, **kwargs: Any) -> None:
        """Send this user a mail at once, as Django's ``AbstractUser`` does."""
        send_mail(subject, message, from_email, [self.email], **kwargs)
