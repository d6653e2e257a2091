"""Filling memberships from what a project has already: a foreign key, a many-to-many field or a table of members."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.apps import apps as current_apps
from django.apps.registry import Apps
from django.conf import settings
from django.core.exceptions import FieldDoesNotExist, FieldError
from django.db import IntegrityError, connections, router, transaction
from django.db.models import Count, Model, Q, QuerySet

from dovetail_core import accounts
from dovetail_tenancy.conf import MEMBERSHIP_FIELDS, OWNER, conf, membership_lookups, membership_path
from dovetail_tenancy.isolation.scope import get_organization_model
from dovetail_tenancy.organizations.project_models import get_membership_model, with_active_user

Pair = tuple[Any, Any]
#: Called after each batch with the number of memberships created so far.
Progress = Callable[[int], None]


class ImportRefused(ValueError):
    """The source, its fields or its roles are not usable. Nothing was written."""


@dataclass
class ImportReport:
    created: Counter[str] = field(default_factory=Counter)
    """The number of new memberships of each role."""
    existing: int = 0
    """Rows whose user is a member of the organization already."""
    other_role: int = 0
    """Those of them whose membership has another role than the source. It stays."""
    incomplete: int = 0
    """Rows without a user or without an organization."""


@dataclass(frozen=True)
class _Source:
    """A table, and the paths from its rows to the keys of the user and the organization."""

    rows: QuerySet[Any]
    user: str
    organization: str


def import_members(
    source: str,
    *,
    role: str | None = None,
    role_field: str | None = None,
    roles: Mapping[Any, str] | None = None,
    user: str | None = None,
    organization: str | None = None,
    using: str | None = None,
    batch_size: int = 1000,
    dry_run: bool = False,
    progress: Progress | None = None,
    apps: Apps = current_apps,
) -> ImportReport:
    """Create a membership for each user and organization that ``source`` connects, and return what was done.

    ``source`` is ``"app.Model.field"`` (a foreign key or a many-to-many field between users and organizations) or
    ``"app.Model"`` (a table with a foreign key to each; ``user`` and ``organization`` name them if there are several).
    Members get ``role``, or the role that the column ``role_field`` holds. ``roles`` maps its values to the keys of
    ``TENANCY_ROLES``; a value that is such a key needs no entry. A user whom several rows connect with one organization
    gets the highest role.

    Existing memberships stay as they are, so the import can be repeated. Each batch is a transaction, unless the caller
    opened one. Rows are written without hooks, limits and events, which would notify every member.
    Raise ``ImportRefused`` before anything is written.
    """
    if batch_size < 1:
        raise ImportRefused(f"batch_size is {batch_size}; it must be a whole number of at least 1.")
    membership = _model(apps, settings.TENANCY_MEMBERSHIP_MODEL)
    _require_writable(membership)
    using = using or router.db_for_write(membership)
    table = _source(apps, membership, source, user, organization, using)
    selections = list(_by_role(table, role, role_field, roles or {}))
    report = ImportReport()
    report.incomplete = table.rows.filter(Q(**{table.user: None}) | Q(**{table.organization: None})).count()
    planned: set[Pair] = set()
    for new_role, selection in selections:
        for pairs in _batches(table, selection, batch_size):
            missing = _write(membership, pairs - planned, new_role, report, using=using, dry_run=dry_run)
            planned |= missing
            if progress is not None:
                progress(report.created.total())
    return report


def _model(apps: Apps, label: str) -> type[Model]:
    try:
        return apps.get_model(label)
    except (LookupError, ValueError):
        raise ImportRefused(
            f"{label!r} is no model here. Name an installed model as 'app_label.Model'. In a migration, add a "
            "dependency on the migration that creates it."
        ) from None


def _require_writable(membership: type[Model]) -> None:
    names = {membership_path(name) for name in MEMBERSHIP_FIELDS}
    missing = names - {present.name for present in membership._meta.concrete_fields}
    required = accounts.required_fields(membership) - names - {membership._meta.pk.name}
    if missing:
        raise ImportRefused(
            f"{membership._meta.label} has no field {', '.join(sorted(missing))}. Set TENANCY_MEMBERSHIP_FIELDS."
        )
    if required:
        raise ImportRefused(
            f"{membership._meta.label} requires {', '.join(sorted(required))}, which the import cannot fill. Give "
            "these fields a default, or write the rows in a data migration."
        )


def _source(
    apps: Apps, membership: type[Model], source: str, user: str | None, organization: str | None, using: str
) -> _Source:
    people = membership._meta.get_field(membership_path("user")).related_model
    companies = membership._meta.get_field(membership_path("organization")).related_model
    label, name = source, ""
    if source.count(".") == 2:
        label, _, name = source.rpartition(".")
    model = _model(apps, label)
    if name:
        if user or organization:
            raise ImportRefused(f"{source!r} names a field. Use user and organization with a table only: {label!r}.")
        model, user, organization = _of_relation(model, name, people, companies)
    else:
        if model._meta.label == membership._meta.label:
            raise ImportRefused(f"{label} is the membership model itself (TENANCY_MEMBERSHIP_MODEL).")
        user = _path_to(model, people, user, "user")
        organization = _path_to(model, companies, organization, "organization")
    # With __pk, because a foreign key may refer to another unique column. Django joins the table only then.
    paths = [path if path == "pk" else f"{path}__pk" for path in (user, organization)]
    return _Source(model._base_manager.using(using).order_by("pk"), *paths)


def _of_relation(model: type[Model], name: str, people: Any, companies: Any) -> tuple[type[Model], str, str]:
    """Return the table of a relation between users and organizations, and its paths to both."""
    try:
        relation: Any = model._meta.get_field(name)
    except FieldDoesNotExist:
        names = ", ".join(sorted(known.name for known in model._meta.get_fields() if known.is_relation))
        raise ImportRefused(f"{model._meta.label} has no field {name!r}. Its relations are: {names}.") from None
    if relation.auto_created and relation.is_relation and not relation.concrete:
        relation = relation.field  # the reverse side
    near, far = relation.model, relation.related_model
    ends = [_same(near, people) and _same(far, companies), _same(near, companies) and _same(far, people)]
    if not any(ends):
        to = getattr(getattr(far, "_meta", None), "label", "no model")
        raise ImportRefused(
            f"{relation} connects {near._meta.label} and {to}. It must be a foreign key or a many-to-many field "
            f"between {people._meta.label} and {companies._meta.label}."
        )
    if relation.many_to_many:
        through = relation.remote_field.through
        paths = (relation.m2m_field_name(), relation.m2m_reverse_field_name())
    else:
        through, paths = near, ("pk", relation.name)
    return (through, *paths) if ends[0] else (through, paths[1], paths[0])


def _path_to(model: type[Model], target: Any, path: str | None, argument: str) -> str:
    """Return the path from ``model`` to ``target``, which is ``path`` or the model's only foreign key to it."""
    candidates = [
        known.name
        for known in model._meta.concrete_fields
        if known.remote_field and isinstance(known.related_model, type) and _same(known.related_model, target)
    ]
    if path is not None:
        reached: Any = model
        for step in path.split("__"):
            try:
                reached = reached._meta.get_field(step).related_model
            except (AttributeError, FieldDoesNotExist):
                reached = None
        if isinstance(reached, type) and _same(reached, target):
            return path
        problem = f"The path {path!r} of {model._meta.label} does not lead to {target._meta.label}"
    elif len(candidates) == 1:
        return candidates[0]
    else:
        problem = f"{model._meta.label} has {len(candidates)} foreign keys to {target._meta.label}"
    raise ImportRefused(
        f"{problem}. Name a field or a path as the {argument}, such as 'profile__account'. Foreign keys to it: "
        f"{', '.join(candidates) or 'none'}."
    )


def _same(model: Any, other: Any) -> bool:
    return isinstance(model, type) and model._meta.concrete_model is other._meta.concrete_model  # type: ignore[attr-defined]


def _by_role(
    table: _Source, role: str | None, role_field: str | None, roles: Mapping[Any, str]
) -> Iterator[tuple[str, QuerySet[Any]]]:
    """Yield the rows of each role, highest role first. Raise ``ImportRefused`` for an unknown role."""
    if (role is None) == (role_field is None):
        raise ImportRefused("Name either the role of all members or the field that holds their roles, not both.")
    targets = {_text(value): new for value, new in roles.items()}
    named = set(targets.values()) if role is None else {role}
    # Without rows, a migration that was written for other roles must pass on a new database.
    if (unknown := sorted(named - conf.ROLES.keys())) and table.rows.exists():
        raise ImportRefused(
            f"Not roles: {', '.join(map(repr, unknown))}. The roles of TENANCY_ROLES are: {', '.join(conf.ROLES)}."
        )
    if role_field is None:
        if targets:
            raise ImportRefused("A mapping of roles needs the field that holds them.")
        yield str(role), table.rows
        return
    try:
        counted = list(table.rows.order_by().values_list(role_field).annotate(Count("pk")))
    except FieldError as error:
        raise ImportRefused(f"The field of the roles is {role_field!r}: {error}.") from None
    values: dict[str, list[Any]] = defaultdict(list)
    unmapped: list[str] = []
    for value, rows in counted:
        new = targets.get(_text(value), _text(value))
        values[new].append(value)
        if new not in conf.ROLES:
            unmapped.append(f"{_text(value)!r} ({rows} rows)")
    if unmapped:
        raise ImportRefused(
            f"{role_field} holds values that are no roles: {', '.join(sorted(unmapped))}. The roles of TENANCY_ROLES "
            f"are: {', '.join(conf.ROLES)}. Map each value to one of them, or declare it as a role."
        )
    for new in conf.ROLES:
        if selected := values.get(new):
            condition = Q(**{f"{role_field}__in": [value for value in selected if value is not None]})
            if None in selected:
                condition |= Q(**{role_field: None})
            yield new, table.rows.filter(condition)


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _batches(table: _Source, rows: QuerySet[Any], batch_size: int) -> Iterator[set[Pair]]:
    """Yield the pairs of a user's and an organization's key. By key: an offset would read the table again each time."""
    complete = rows.exclude(**{table.user: None}).exclude(**{table.organization: None})
    complete = complete.values_list("pk", table.user, table.organization)
    batch = list(complete[:batch_size])
    while batch:
        yield {(user, organization) for _key, user, organization in batch}
        batch = list(complete.filter(pk__gt=batch[-1][0])[:batch_size])


def _write(
    membership: type[Model], pairs: set[Pair], role: str, report: ImportReport, *, using: str, dry_run: bool
) -> set[Pair]:
    """Create the missing memberships and return their pairs."""
    for attempt in (1, 2):
        present = _present(membership, pairs, using)
        missing = pairs - present.keys()
        new = [
            membership(**membership_lookups(user_id=user, organization_id=organization, role=role))
            for user, organization in sorted(missing, key=str)
        ]
        try:
            with transaction.atomic(using=using):
                if not dry_run:
                    membership._base_manager.using(using).bulk_create(new)
            break
        except IntegrityError:
            # Somebody joined at this moment, by an invitation. The second attempt sees that membership.
            if attempt == 2:
                raise
    report.created[role] += len(missing)
    report.existing += len(present)
    report.other_role += sum(current != role for current in present.values())
    return missing


def _present(membership: type[Model], pairs: set[Pair], using: str) -> dict[Pair, str]:
    columns = [membership_path(name) for name in ("user_id", "organization_id", "role")]
    present: dict[Pair, str] = {}
    # A query has at most two parameters for each pair, and some databases limit them.
    limit = connections[using].features.max_query_params
    ordered = list(pairs)
    size = max(1, limit // 2 if limit else len(ordered))
    for start in range(0, len(ordered), size):
        part = ordered[start : start + size]
        users, organizations = ({pair[end] for pair in part} for end in (0, 1))
        rows = membership._base_manager.using(using).filter(
            **membership_lookups(user__in=users, organization__in=organizations)
        )
        known = {(user, organization): role for user, organization, role in rows.values_list(*columns)}
        present |= {pair: known[pair] for pair in part if pair in known}
    return present


def ownerless_organizations(using: str) -> QuerySet[Any]:
    """Return the organizations without an owner who can sign in."""
    memberships = get_membership_model()._base_manager.using(using)
    owned = with_active_user(memberships.filter(**membership_lookups(role=OWNER))).values(
        membership_path("organization_id")
    )
    return get_organization_model()._base_manager.using(using).exclude(pk__in=owned).order_by("pk")
