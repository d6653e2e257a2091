from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage
from django.db import connections, router

from dovetail_audit.conf import conf
from dovetail_audit.entries.databases import home, is_same_database
from dovetail_audit.models import Entry
from dovetail_audit.proofs import is_key_name
from dovetail_audit.protection import roles, triggers
from dovetail_audit.sealing.checkpoints import signing_key_problem, verifying_key_problem
from dovetail_audit.sealing.sealer import LAG, lag
from dovetail_audit.sealing.storage import has_storage


def register() -> None:
    checks.register(check_settings)
    checks.register(check_signing_key, checks.Tags.security)
    checks.register(check_signature_kind, checks.Tags.security, deploy=True)
    checks.register(check_anchors, checks.Tags.security, deploy=True)
    checks.register(check_lag, checks.Tags.database)
    checks.register(check_databases, checks.Tags.models)
    checks.register(check_middleware)
    checks.register(check_triggers, checks.Tags.database)
    checks.register(check_rights, checks.Tags.database, deploy=True)
    checks.register(check_failure, checks.Tags.security, deploy=True)
    checks.register(check_admins, checks.Tags.admin, deploy=True)
    checks.register(check_retention, deploy=True)


def check_settings(**_: Any) -> list[CheckMessage]:
    return conf.check()


def check_signing_key(**_: Any) -> Iterator[CheckMessage]:
    if conf.SIGNING_KEY and (problem := signing_key_problem(conf.SIGNING_KEY)):
        yield checks.Error(
            f"AUDIT_SIGNING_KEY {problem}.",
            hint="manage.py audit_seal --new-key NAME prints a new pair of keys.",
            id="dovetail_audit.E003",
        )
    keys: Any = conf.VERIFYING_KEYS
    for key in keys if isinstance(keys, list | tuple) else ():  # others are E001
        if problem := verifying_key_problem(key):
            yield checks.Error(
                f"AUDIT_VERIFYING_KEYS contains {key!r}: {problem}",
                hint="Copy the whole public key, as manage.py audit_seal --new-key NAME printed it.",
                id="dovetail_audit.E003",
            )
    if conf.ORIGIN and not is_key_name(str(conf.ORIGIN)):
        yield checks.Error(
            f"AUDIT_ORIGIN is {conf.ORIGIN!r}; it must not contain spaces or '+'.",
            hint="Use a name such as 'audit.example.com'.",
            id="dovetail_audit.E003",
        )


def check_signature_kind(**_: Any) -> Iterator[CheckMessage]:
    if not conf.SIGNING_KEY:
        yield checks.Info(
            "Checkpoints of the audit log are authenticated by SECRET_KEY, so nobody outside can verify a proof.",
            hint="Set AUDIT_SIGNING_KEY. manage.py audit_seal --new-key NAME prints a pair of keys.",
            id="dovetail_audit.I001",
        )


def check_anchors(**_: Any) -> Iterator[CheckMessage]:
    anchors: Any = conf.ANCHORS
    names = [item for item in anchors if isinstance(item, str)] if isinstance(anchors, list | tuple) else []
    if not conf.ANCHORS:
        yield checks.Warning(
            "AUDIT_ANCHORS is empty: somebody with the database and the secret keys can rewrite the whole audit log, "
            "and nothing shows it.",
            hint="Name an anchor, such as 'dovetail_audit.sealing.anchors.storage' with a bucket that has object lock.",
            id="dovetail_audit.W003",
        )
    if "dovetail_audit.sealing.anchors.storage" in names and not has_storage():
        yield checks.Error(
            f"AUDIT_ANCHORS contains the anchor 'storage', but STORAGES has no {conf.STORAGE!r} (AUDIT_STORAGE).",
            hint="Add it to STORAGES, or set AUDIT_STORAGE to the alias of another storage.",
            id="dovetail_audit.E004",
        )
    if "dovetail_audit.sealing.anchors.url" in names and not conf.ANCHOR_URL:
        yield checks.Error(
            "AUDIT_ANCHORS contains the anchor 'url', but AUDIT_ANCHOR_URL is not set.",
            hint="Set AUDIT_ANCHOR_URL to the address that stores checkpoints.",
            id="dovetail_audit.E004",
        )


def check_lag(*, databases: Sequence[str] | None = None, **_: Any) -> Iterator[CheckMessage]:
    """Warn if entries are not sealed (``check --database default``)."""
    if not _has_table(databases):
        return
    if (age := lag(home())) > LAG:
        yield checks.Warning(
            f"The oldest audit entry that is not sealed is {age.total_seconds() // 60:.0f} minutes old.",
            hint="Run manage.py audit_seal --loop as a service, or schedule audit_seal.",
            id="dovetail_audit.W004",
        )


def check_databases(**_: Any) -> Iterator[CheckMessage]:
    for name, alias in (("AUDIT_ALIAS", conf.ALIAS), ("AUDIT_OWNER_ALIAS", conf.OWNER_ALIAS)):
        if not _is_usable(alias):
            yield checks.Error(
                f"{name} is {alias!r}, which is not in DATABASES.",
                hint=f"Use one of: {', '.join(map(repr, connections))}.",
                id="dovetail_audit.E002",
            )
    if not _is_usable(conf.ALIAS):
        return
    label = settings.AUTH_USER_MODEL
    if conf.ALIAS is None and apps.is_installed("django.contrib.auth"):
        users = router.db_for_write(apps.get_model(label))
        if not is_same_database(users, home()):
            yield checks.Error(
                f"The audit entries are in the database {home()!r}, and {label} in {users!r}: an entry of a change to "
                "users is not in the transaction of the change.",
                hint="Route dovetail_audit to the database whose changes matter, or set AUDIT_ALIAS to accept it.",
                id="dovetail_audit.E002",
            )


def check_middleware(**_: Any) -> Iterator[CheckMessage]:
    names = [path.rpartition(".")[2] for path in settings.MIDDLEWARE]
    if "AuditMiddleware" not in names:
        yield checks.Warning(
            "MIDDLEWARE has no AuditMiddleware: entries have no request, and refused requests are not recorded.",
            hint="Add 'dovetail_audit.middleware.AuditMiddleware' after the authentication middleware.",
            id="dovetail_audit.W006",
        )
    elif "AuthenticationMiddleware" in names[names.index("AuditMiddleware") :]:
        yield checks.Warning(
            "AuditMiddleware comes before AuthenticationMiddleware, so the entries of some requests have no user.",
            hint="Move 'dovetail_audit.middleware.AuditMiddleware' behind the authentication middleware.",
            id="dovetail_audit.W006",
        )


def check_triggers(*, databases: Sequence[str] | None = None, **_: Any) -> Iterator[CheckMessage]:
    """Warn if the database would let somebody change entries (``check --database default``)."""
    if not _has_table(databases) or triggers.is_test_database(connection := connections[home()]):
        return
    expected = triggers.names(connection, Entry)
    if missing := sorted(set(expected) - triggers.installed(connection, Entry)):
        yield checks.Warning(
            f"Triggers that protect the audit entries are missing or disabled: {', '.join(missing)}.",
            hint="Install them as a user who may create triggers: manage.py migrate dovetail_audit 0001, then "
            "manage.py migrate dovetail_audit.",
            id="dovetail_audit.W002",
        )


def check_rights(*, databases: Sequence[str] | None = None, **_: Any) -> Iterator[CheckMessage]:
    if not _has_table(databases) or triggers.is_test_database(connection := connections[home()]):
        return
    if connection.vendor == "postgresql" and roles.owns(connection, Entry):
        yield checks.Warning(
            "The application's database role owns the table of audit entries, its schema or the database, so it can "
            "disable the triggers or drop the table.",
            hint="manage.py audit_protect prints the statements that give the table to another role. Give that role "
            "the schema and the database too.",
            id="dovetail_audit.W009",
        )
    if connection.vendor == "mysql" and roles.may_truncate(connection):
        yield checks.Warning(
            "The application's database user may DROP tables, so it can TRUNCATE the audit entries.",
            hint="manage.py audit_protect prints the statement that revokes it. Migrate as another user.",
            id="dovetail_audit.W008",
        )


def check_failure(**_: Any) -> Iterator[CheckMessage]:
    if conf.ON_FAILURE == "log":
        yield checks.Warning(
            "AUDIT_ON_FAILURE is 'log': changes go on without an audit entry if none can be written.",
            hint="Remove the setting, so that such a change fails.",
            id="dovetail_audit.W007",
        )


def check_admins(**_: Any) -> Iterator[CheckMessage]:
    if not conf.ADMIN_SITE or not apps.is_installed("django.contrib.admin"):
        return
    from django.contrib.admin.sites import all_sites

    from dovetail_audit.entries.admin_log import AuditModelAdmin

    for site in list(all_sites):
        others = [options for options in site._registry.values() if not isinstance(options, AuditModelAdmin)]
        # Without those of Dovetail packages, whose services emit events.
        labels = sorted(o.model._meta.label for o in others if not o.model._meta.app_label.startswith("dovetail_"))
        if labels:
            yield checks.Warning(
                f"Model admins of the site {site.name!r} record neither values nor the deletion of several objects: "
                f"{', '.join(labels)}.",
                hint="Inherit from dovetail_audit.admin.AuditModelAdmin first.",
                id="dovetail_audit.W005",
            )


def check_retention(**_: Any) -> Iterator[CheckMessage]:
    if conf.RETENTION is None:
        yield checks.Info(
            "AUDIT_RETENTION is not set, so audit entries are kept for ever.",
            hint="Set the number of days that your policy or law requires, and schedule audit_prune.",
            id="dovetail_audit.I002",
        )


def _is_usable(alias: object) -> bool:
    return alias is None or alias in tuple(connections)


def _has_table(databases: Sequence[str] | None) -> bool:
    # A wrong alias is E002, and must not stop the other checks.
    if not _is_usable(conf.ALIAS):
        return False
    return home() in (databases or ()) and Entry._meta.db_table in connections[home()].introspection.table_names()
