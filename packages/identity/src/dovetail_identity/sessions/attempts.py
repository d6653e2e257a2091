"""Limits on guesses. Each is counted per network and per account before a password or a token is evaluated.

A stranger can spend the budget of an account. Therefore an account has one budget for each network from which it has
signed in, and one for all other networks together: an attack from elsewhere does not lock out its owner at the usual
places. At a new place, the owner can reset the password, which also clears the counts.

An attempt counts for the typed name and for the row that the database has for it. The name alone would give an account
a budget for each spelling that its collation considers equal. The row alone would reveal the account: another spelling,
which the database considers different, would still be evaluated. Unknown names are counted twice as well.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import MultipleObjectsReturned, ObjectDoesNotExist, ValidationError
from django.http import HttpRequest

from dovetail_core.attempts import Budget, Reservation, TooManyAttempts, forget, is_remembered, remember, reserve
from dovetail_core.conf import conf as core_conf
from dovetail_core.events import emit
from dovetail_core.net import client_address, client_network
from dovetail_core.secrets import keyed_hash
from dovetail_identity import events
from dovetail_identity.conf import conf

#: Seconds for which a network is known after a sign-in, like the lifetime of a session.
KNOWN_SECONDS: Final = 30 * 86400
_KNOWN: Final = "identity.known"
_CURRENT: Final = "_dovetail_sign_in_attempt"
_REFUSED: Final = "_dovetail_sign_in_refused"


@dataclass
class PasswordAttempt:
    """A counted attempt to sign in, which several backends may evaluate in one call of ``authenticate()``."""

    request: HttpRequest | None
    #: A keyed hash of the name, or None if the credentials include none.
    account: str | None
    #: The subjects of the budgets for accounts.
    subjects: Sequence[str]
    reservations: Sequence[Reservation]
    #: Whether the service that counted it also decides whether it succeeded.
    managed: bool = False
    succeeded: bool = False
    backends: set[type] = field(default_factory=set)

    def refund(self) -> None:
        for reservation in self.reservations:
            reservation.refund()

    def succeed(self, user: Any) -> None:
        if self.succeeded:
            return
        self.succeeded = True
        self.refund()
        remember_network(user, self.request)
        self.remember_other_names(user)

    def remember_other_names(self, user: Any) -> None:
        """Do as ``remember_network()`` for the typed name, which may be another identifier than the username."""
        _remember(sorted({*self.subjects} - {*_subjects_of(user)}), self.request)


@contextmanager
def managed(request: HttpRequest, username: str) -> Iterator[PasswordAttempt]:
    """Count an attempt, which the backends that are called in the block join. Raise ``TooManyAttempts``."""
    attempt = begin(request, username)
    attempt.managed = True
    try:
        yield attempt
    finally:
        setattr(request, _CURRENT, None)


def begin(request: Any, username: str | None) -> PasswordAttempt:
    """Count an attempt to sign in. Raise ``TooManyAttempts``, and emit ``user.sign_in_limited`` once per period.

    ``username`` is what the backend looks up, or None if it is unknown. Then only the network is limited.
    """
    plain = plain_request(request)
    account = None if username is None else account_of(username)
    # The network first: an address that is refused must not spend the budget of an account, nor make a query.
    budgets = _network_budgets("identity.network", plain)
    reservations = [_reserve(plain, budgets, account)]
    subjects: list[str] = []
    if username is not None and account is not None:
        try:
            subjects = [account, _row_of(username) or f"unknown:{account}"]
            network = _network(plain)
            budgets = [_account_budget(subject, network) for subject in subjects]
            reservations.append(_reserve(plain, budgets, account))
        except BaseException:
            reservations[0].refund()
            raise
    attempt = PasswordAttempt(plain, account, subjects, reservations)
    if plain is not None:
        setattr(plain, _CURRENT, attempt)
    return attempt


def join(request: Any, username: str | None, backend: type) -> PasswordAttempt:
    """Return the attempt that ``backend`` evaluates: that of the same call of ``authenticate()``, or a new one."""
    plain = plain_request(request)
    attempt: PasswordAttempt | None = getattr(plain, _CURRENT, None)
    account = None if username is None else account_of(username)
    # A backend that evaluates a second time does so for a second call, with another password.
    if attempt is None or attempt.account != account or backend in attempt.backends:
        attempt = begin(plain, username)
    attempt.backends.add(backend)
    return attempt


def succeed_by_another_backend(*, user: Any, request: Any, **_: Any) -> None:
    """Refund the attempt of a request that signs in: a later backend without limits has accepted the password."""
    attempt: PasswordAttempt | None = getattr(plain_request(request), _CURRENT, None)
    if attempt is not None and not attempt.managed:
        attempt.succeed(user)


def begin_link(request: HttpRequest | None) -> Reservation:
    """Count a token from a mail. Wrong ones are counted apart from passwords: old links are no guesses at those."""
    return _reserve(request, _network_budgets("identity.link", request))


def begin_change(request: HttpRequest | None, user: AbstractBaseUser) -> Reservation:
    """Count a current password. The attack: a stolen session guesses the password, to keep the account."""
    # Only this account can spend this budget, so strangers cannot prevent the change.
    budget = Budget("identity.change", str(user.pk), conf.FAILURES_PER_ACCOUNT)
    return _reserve(request, [budget], account_of(user.get_username()))


def remember_network(user: Any, request: HttpRequest | None) -> None:
    """Give the account its own budget for the network of ``request``, after a sign-in or another proof."""
    _remember(_subjects_of(user), plain_request(request))


def clear_account(user: AbstractBaseUser, request: HttpRequest | None) -> None:
    """Clear the counts after a password reset: guesses at the former password do not matter any more."""
    remember_network(user, request)
    forget(*(_account_budget(subject, None) for subject in _subjects_of(user)), cache=conf.CACHE)


def refusal_of(request: HttpRequest) -> TooManyAttempts | None:
    """Return why an attempt of this request was refused, or None."""
    return getattr(request, _REFUSED, None)


def account_of(username: str) -> str:
    """Return a keyed hash that is equal for most spellings of a username that a database may consider equal.

    It is the identifier of events, and the subject of the budget of an unknown name.
    """
    model: Any = get_user_model()
    with suppress(ValidationError):  # no account has such a name
        # A number or a UUID has many spellings.
        username = str(model._meta.get_field(model.USERNAME_FIELD).to_python(username))
    folded = unicodedata.normalize("NFKD", username.casefold()).casefold().replace("ı", "i")
    # Marks (M), control and format characters (C), separators (Z).
    kept = "".join(character for character in folded if unicodedata.category(character)[0] not in "MCZ")
    return keyed_hash("dovetail_identity.sign_in", kept)


def plain_request(request: Any) -> HttpRequest | None:
    """Return Django's request, which REST framework wraps."""
    plain: HttpRequest | None = getattr(request, "_request", request)
    return plain


def _row_of(username: str) -> str | None:
    """Return the subject of the account that the database has for this spelling, or None.

    The attack: MariaDB's collations equate more spellings than any fold of ours (``ß`` and ``s``, digits of other
    scripts, ignorable characters). If each had its own budget, an account would have thousands.
    """
    model: Any = get_user_model()
    try:
        # The lookup of ModelBackend.
        return _row_subject(model._default_manager.get_by_natural_key(username))
    except (ObjectDoesNotExist, MultipleObjectsReturned, ValidationError, ValueError, TypeError, OverflowError):
        return None  # no account has such a name, or no backend can tell several accounts apart


def _row_subject(user: Any) -> str:
    return f"row:{user.pk}"


def _subjects_of(user: Any) -> list[str]:
    return [account_of(user.get_username()), _row_subject(user)]


def _remember(subjects: Iterable[str], request: HttpRequest | None) -> None:
    network = _network(request)
    if network:
        for subject in subjects:
            remember(_KNOWN, f"{subject}:{network}", KNOWN_SECONDS, cache=conf.CACHE)
            # NIST SP 800-63B 3.2.2: after a sign-in, disregard earlier failures from the same address.
            forget(Budget("identity.account", f"{subject}:{network}", conf.FAILURES_PER_ACCOUNT), cache=conf.CACHE)


def _account_budget(account: str, network: str | None) -> Budget:
    known = f"{account}:{network}"
    subject = known if network and is_remembered(_KNOWN, known, cache=conf.CACHE) else account
    return Budget("identity.account", subject, conf.FAILURES_PER_ACCOUNT)


def _network_budgets(name: str, request: HttpRequest | None) -> list[Budget]:
    network = _network(request)
    if request is None or network is None or _is_of_unnamed_proxy(request):
        return []
    return [Budget(name, network, conf.FAILURES_PER_NETWORK)]


def _is_of_unnamed_proxy(request: HttpRequest) -> bool:
    """Return whether the client has no address of its own, because the project does not name its proxy.

    30 wrong passwords from anybody would refuse everyone. A client cannot choose the address of its connection, but any
    header, so headers do not count: with an invented ``X-Forwarded-For``, a client in a private network would be
    unlimited.
    """
    if core_conf.TRUSTED_PROXIES:
        return False
    address = client_address(request)
    return address is None or address.is_loopback


def _network(request: HttpRequest | None) -> str | None:
    # A server on a Unix socket provides no address. Without a request (a command,
    # the test client's login()), there is no client to limit.
    return None if request is None else client_network(request) or "local"


def _reserve(request: HttpRequest | None, budgets: list[Budget], account: str | None = None) -> Reservation:
    try:
        return reserve(*budgets, cache=conf.CACHE)
    except TooManyAttempts as error:
        if request is not None:
            setattr(request, _REFUSED, error)
        if error.first:
            data = {
                "budget": error.budget.name.removeprefix("identity."),
                "identifier_hash": account,
                "network": None if request is None else client_network(request),
            }
            emit(events.USER_SIGN_IN_LIMITED, data=data)
        raise
