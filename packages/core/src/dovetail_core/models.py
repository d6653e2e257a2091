"""UUIDv7 primary keys, and foreign keys and accessors to models that are named in settings."""

from __future__ import annotations

import copy
import os
import pkgutil
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import models
from django.db.migrations import operations
from django.db.migrations.migration import Migration, SwappableTuple
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from dovetail_core.conf import cached_until_settings_change

_uuid7_lock = threading.Lock()
_uuid7_last = 0


def uuid7() -> uuid.UUID:
    """Return a version 7 UUID (RFC 9562): 48 bits of Unix milliseconds, then a counter and randomness.

    UUIDs are strictly increasing within a process, so rows created together keep their order and are appended to the
    index (measured on 1 000 000 rows: half the insert time and four fifths of the index size of version 4). They reveal
    their time of creation; do not use them as secrets.
    """
    global _uuid7_last
    with _uuid7_lock:
        # RFC 9562 6.2 method 3: the 12 bits of rand_a hold a fraction of the millisecond, which is incremented if two
        # calls get the same timestamp or the clock goes back.
        milliseconds, nanoseconds = divmod(time.time_ns(), 1_000_000)
        stamp = max(milliseconds << 12 | nanoseconds * 4096 // 1_000_000, _uuid7_last + 1)
        _uuid7_last = stamp
    value = (stamp >> 12) << 80 | 0x7 << 76 | (stamp & 0xFFF) << 64
    return uuid.UUID(int=value | 0b10 << 62 | int.from_bytes(os.urandom(8)) >> 2)


class PrimaryKeyIndex(models.Index):
    """An index of an abstract model in whose ``fields`` ``pk`` is the primary key, which a subclass may replace.

    It has no name, because each table needs its own. Migrations contain a plain ``Index``.
    """

    def set_name_with_model(self, model: type[models.Model]) -> None:
        self.fields_orders = [
            (model._meta.pk.name if name == "pk" else name, order) for name, order in self.fields_orders
        ]
        self.fields = ["-" * (order == "DESC") + name for name, order in self.fields_orders]
        super().set_name_with_model(model)

    def deconstruct(self) -> tuple[str, Sequence[Any], dict[str, Any]]:
        _, args, kwargs = super().deconstruct()
        return "django.db.models.Index", args, kwargs

    def clone(self) -> models.Index:
        # The index of a concrete model has a name. Django compares it with the one of migrations, also by the class.
        _, args, kwargs = self.deconstruct()
        return (models.Index if self.name else type(self))(*args, **kwargs)


class SettingForeignKey(models.ForeignKey):  # type: ignore[type-arg]  # the project chooses the target
    """A foreign key to the model that is named in the setting ``setting``.

    Migrations contain a plain ``ForeignKey(to=settings.X)``, so a package ships one migration for every possible
    target, whatever the type of its primary key.

    Set ``inherited=True`` in abstract models, for which projects run ``makemigrations``. Django would write a
    dependency on the first migration of the target's app, which fails if a later migration creates the target. In that
    case, the label of the model and a dependency on the latest migration are written instead.
    """

    def __init__(
        self, to: type[models.Model] | str | None = None, *, setting: str, inherited: bool = False, **kwargs: Any
    ) -> None:
        self.setting = setting
        self.inherited = inherited
        super().__init__(to or named_model(setting), **kwargs)

    @property
    def swappable_setting(self) -> str | None:
        return None if self.inherited and not _created_first(named_model(self.setting)) else self.setting

    def deconstruct(self) -> tuple[str, str, list[Any], dict[str, Any]]:
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.ForeignKey", list(args), dict(kwargs)

    def clone(self) -> SettingForeignKey:
        *_, kwargs = self.deconstruct()
        return type(self)(setting=self.setting, inherited=self.inherited, **kwargs)


def named_model(setting: str) -> str:
    """Return the label ``app_label.ModelName`` in ``setting``. Raise ``ImproperlyConfigured`` for any other value."""
    label = getattr(settings, setting, None)
    if isinstance(label, str) and len(label.split(".")) == 2:
        return label
    value = "not set" if label is None else repr(label)
    raise ImproperlyConfigured(
        f"{setting} is {value}. It must be the label of a model in the form 'app_label.ModelName', "
        f"such as {settings.AUTH_USER_MODEL!r} or one of your own models."
    )


@cached_until_settings_change
def get_setting_model(setting: str) -> type[Any]:
    """Return the model class that is named in ``setting``, cached until a setting changes.

    Raises ``ImproperlyConfigured`` if the setting is not a label, ``LookupError`` if no installed app has the model,
    and ``AppRegistryNotReady`` before models are loaded.
    """
    return apps.get_model(named_model(setting))


def dependency(setting: str) -> tuple[str, str]:
    """Return an item of ``Migration.dependencies``: the migration that creates the model named in ``setting``.

    Django's ``swappable_dependency`` depends on the first migration of the app, and fails if a later migration creates
    the model. This function also finds later and squashed migrations, models that were renamed, and models that state
    operations moved from another app. Use it together with :func:`target`.
    """
    app_label = named_model(setting).split(".")[0]
    creation = _creation(named_model(setting))
    # Unknown if the app has no migrations, or if Python is importing them now. Django ignores
    # __first__ of the same app.
    return SwappableTuple((app_label, creation[0] if creation else "__first__"), setting)


class Target(str):
    """The label of a model when it was created. ``labels`` holds all its labels, oldest first."""

    __slots__ = ("labels",)
    labels: list[str]


def target(setting: str) -> Target:
    """Return ``to`` for a foreign key in a :class:`TargetingMigration` that depends on ``dependency(setting)``."""
    app_label, name = named_model(setting).split(".")
    _, names = _creation(named_model(setting)) or (None, [name])
    label = Target(f"{app_label}.{names[0]}")
    label.labels = [f"{app_label}.{name}" for name in names]
    return label


class TargetingMigration(Migration):
    """A migration that points relations to :func:`target` at the name of the model at the time it runs.

    The name differs if the project renames the model. On a new database, the order of the app labels decides whether
    the renaming runs first; on an existing database, either migration may have been applied. With a dependency that
    fixes the order, Django would reject databases with the other order (``InconsistentMigrationHistory``).
    """

    def mutate_state(self, project_state: ProjectState, preserve: bool = True) -> ProjectState:
        return Migration.mutate_state(self._resolved(project_state), project_state, preserve)

    def apply(self, project_state: ProjectState, *args: Any, **kwargs: Any) -> ProjectState:
        return Migration.apply(self._resolved(project_state), project_state, *args, **kwargs)

    def unapply(self, project_state: ProjectState, *args: Any, **kwargs: Any) -> ProjectState:
        return Migration.unapply(self._resolved(project_state), project_state, *args, **kwargs)

    def _resolved(self, state: ProjectState) -> Migration:
        # Copied, because project states keep the field objects of the operations that created them.
        resolved: Any = copy.copy(self)
        resolved.operations = copy.deepcopy(self.operations)
        for operation in _state_operations(resolved.operations):
            fields = [field for _, field in getattr(operation, "fields", ())] or [getattr(operation, "field", None)]
            for relation in filter(None, (getattr(field, "remote_field", None) for field in fields)):
                for end in ("model", "through"):
                    # The last existing label wins: an earlier one may belong to another model now.
                    for label in getattr(getattr(relation, end, None), "labels", []):
                        if tuple(label.lower().split(".")) in state.models:
                            setattr(relation, end, label)
        return resolved  # type: ignore[no-any-return]  # Any, because the stubs declare operations on classes only


def _creation(label: str) -> tuple[str, list[str]] | None:
    """Return the name of the migration that creates the model, and all names of the model, oldest first."""
    app_label, model_name = label.split(".")
    creations: dict[str, tuple[str, list[str]]] = {}
    for migration_name, migration in _in_order(app_label, _migrations(app_label)):
        for operation in _state_operations(migration.operations):
            if isinstance(operation, operations.CreateModel):
                creations[operation.name_lower] = migration_name, [operation.name]
            elif isinstance(operation, operations.RenameModel) and operation.old_name_lower in creations:
                creations[operation.new_name_lower] = creations.pop(operation.old_name_lower)
                creations[operation.new_name_lower][1].append(operation.new_name)
            elif isinstance(operation, operations.DeleteModel):
                creations.pop(operation.name_lower, None)
    return creations.get(model_name.lower())


def _created_first(label: str) -> bool:
    app_label = label.split(".")[0]
    migrations, creation = _migrations(app_label), _creation(label)
    if creation is None:
        return not migrations
    return all(parent_label != app_label for parent_label, _ in migrations[creation[0]].dependencies)


def _migrations(app_label: str) -> dict[str, type[Migration]]:
    from django.db.migrations.loader import MigrationLoader  # imports the app registry, too early for this module

    try:
        module_name, _ = MigrationLoader.migrations_module(app_label)
        package = import_module(module_name or "")
    except (LookupError, ModuleNotFoundError, ValueError):  # ValueError: MIGRATION_MODULES maps the app to None
        return {}
    names = [name for _, name, is_package in pkgutil.iter_modules(package.__path__) if not is_package]
    modules = {name: import_module(f"{package.__name__}.{name}") for name in names if name[0] not in "_~"}
    return {name: module.Migration for name, module in modules.items() if hasattr(module, "Migration")}


def _in_order(app_label: str, migrations: dict[str, type[Migration]]) -> Iterator[tuple[str, type[Migration]]]:
    """Yield the migrations of an app after their dependencies, without those that a squashed migration replaces.

    If Django runs the replaced migrations (on a database that has applied some of them), it replaces a dependency on
    the squashed migration by one on the last replaced migration, where the model has the same name.
    """
    # Keyed by (app label, name): a renamed app replaces migrations of its old label, often of the same name.
    replaced_by = {tuple(old): name for name, migration in migrations.items() for old in migration.replaces}
    done: set[str] = set()

    def visit(label: str, name: str) -> Iterator[tuple[str, type[Migration]]]:
        while (label, name) in replaced_by:
            label, name = app_label, replaced_by[label, name]
        if label != app_label or name in done or name not in migrations:
            return
        done.add(name)
        for parent_label, parent in migrations[name].dependencies:
            yield from visit(parent_label, parent)
        yield name, migrations[name]

    for name in sorted(migrations):
        yield from visit(app_label, name)


def _state_operations(migration_operations: Iterable[Operation]) -> Iterator[Operation]:
    for operation in migration_operations:
        if isinstance(operation, operations.SeparateDatabaseAndState):
            yield from _state_operations(operation.state_operations)
        else:
            yield operation
