from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models

if TYPE_CHECKING:
    _EmailField = models.EmailField[Any, Any]
else:
    _EmailField = models.EmailField


def normalize_email(address: str) -> str:
    """The one form in which an address is stored and compared: no surrounding space, lower case.

    RFC 5321 lets a host tell ``Ada@`` from ``ada@``; none that people use does, and an account for each is how
    one person's mail opens another's account.
    """
    return address.strip().lower()


class NormalizedEmailField(_EmailField):
    """An e-mail address that is written and looked up in the form of :func:`normalize_email`.

    ``filter(email="Ada@Example.com")`` and ``email__in`` become equality with the stored form and use the plain unique
    index. (``iexact`` cannot use it, and SQLite folds only ASCII there.) Python cannot see what raw SQL and expressions
    write; for those add the check constraint that ``base.AbstractUser`` has.
    """

    # CharField.get_prep_value, which prepares lookups and updates, goes through here too.
    def to_python(self, value: Any) -> Any:
        value = super().to_python(value)
        return normalize_email(value) if isinstance(value, str) else value

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        value = super().pre_save(model_instance, add)
        if isinstance(value, str):
            # The instance must say what the row says: the next comparison may be made with it.
            value = normalize_email(value)
            setattr(model_instance, self.attname, value)
        return value
