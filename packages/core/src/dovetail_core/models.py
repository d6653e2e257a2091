"""UUIDv7 primary keys, foreign keys whose target a setting names, and access to the model that a setting names.

This module defines no model.
"""

from __future__ import annotations

import copy
import os
import pkgutil
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
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
    """A version 7 UUID (RFC 9562): 48 bits of Unix milliseconds, then a counter and randomness.

    Strictly increasing within a process, so rows created together keep their order and are appended to the index
    (measured on 1 000 000 rows: half the insert time and four fifths of the index size of version 4).
    It is no secret and discloses when it was created.
    """
    global _uuid7_last
    with _uuid7_lock:
        # RFC 9562 6.2 method 3: the 12 bits of rand_a hold a fraction of the millisecond. It is incremented by one
        # where two calls get the same stamp or the clock goes back.
        milliseconds, nanoseconds = divmod(time.time_ns(), 1_000_000)
        stamp = max(milliseconds << 12 | nanoseconds * 4096 // 1_000_000, _uuid7_last + 1)
        _uuid7_last = stamp
    value = (stamp >> 12) << 80 | 0x7 << 76 | (stamp & 0xFFF) << 64
    return uuid.UUID(int=value | 0b10 << 62 | int.from_bytes(os.urandom(8)) >> 2)


class SettingForeignKey(models.ForeignKey):  # type: ignore[type-arg]  # the target's type is the project's choice
    """A foreign key to the model that the setting ``setting`` names.

    In migrations it is a plain ``ForeignKey(to=settings.X)``, so one shipped migration serves every target: the user
    model, an organization model of ours or the project's, with integer or UUID keys.

    ``inherited=True`` is for abstract models that projects inherit, whose migrations ``makemigrations`` writes. There,
    Django translates a setting into a dependency on the target app's first migration, which fails if a later migration
    creates the target. In that case the model's label and a dependency on its app's latest migration are written.
    """

    def __init__(self, to: Any = None, on_delete: Any = None, *, setting: str, inherited: bool = False, **kwargs: Any):
        self.setting = setting
        self.inherited = inherited
        super().__init__(to or named_model(setting), on_delete=on_delete, **kwargs)

    @property
    def swappable_setting(self) -> str | None:
        return None if self.inherited and not _created_first(named_model(self.setting)) else self.setting

    def deconstruct(self) -> tuple[str, str, list[Any], dict[str, Any]]:
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.ForeignKey", list(args), dict(kwargs)

    def clone(self) -> SettingForeignKey:
        _, _, args, kwargs = self.deconstruct()
        return type(self)(*args, setting=self.setting, inherited=self.inherited, **kwargs)


def named_model(setting: str) -> str:
    """The label ``app_label.ModelName`` in ``setting``. Raises ``ImproperlyConfigured`` for anything else."""
    label = getattr(settings, setting, None)
    if isinstance(label, str) and len(label.split(".")) == 2:
        return label
    value = "not set" if label is None else repr(label)
    raise ImproperlyConfigured(
        f"{setting} is {value}. It takes the label of a model, as 'app_label.ModelName': "
        f"one of your own models or {settings.AUTH_USER_MODEL!r}."
    )


@cached_until_settings_change
def get_setting_model(setting: str) -> type[Any]:
    """The model class that ``setting`` names, cached until a setting changes.

    Models must be loaded (``AppRegistryNotReady``). Raises ``ImproperlyConfigured`` where the setting holds no label,
    and ``LookupError`` where no installed app has the model.
    """
    return apps.get_model(named_model(setting))


def dependency(setting: str) -> tuple[str, str]:
    """The migration that creates the model which ``setting`` names, for ``Migration.dependencies``.

    Django's own ``swappable_dependency`` means the app's first migration, and fails for a model that was created
    later. This function finds the migration in all cases: a later migration, a model that was renamed since, state
    operations (a model that was moved from another app), a squashed migration. Use it together with :func:`target`.
    """
    app_label = named_model(setting).split(".")[0]
    creation = _creation(named_model(setting))
    # None if the app has no migrations yet, or they are being imported now. Django ignores __first__ of the same app.
    return SwappableTuple((app_label, creation[0] if creation else "__first__"), setting)


class Target(str):
    """A model's label at its creation; ``labels`` holds that one and all later ones, the present one last."""

    __slots__ = ("labels",)
    labels: list[str]


def target(setting: str) -> Target:
    """The ``to`` of a foreign key in a :class:`TargetingMigration` that has ``dependency(setting)``."""
    app_label, name = named_model(setting).split(".")
    _, names = _creation(named_model(setting)) or (None, [name])
    label = Target(f"{app_label}.{names[0]}")
    label.labels = [f"{app_label}.{name}" for name in names]
    return label


class TargetingMigration(Migration):
    """A migration with relations to :func:`target`. They get the name that the model has when the migration runs.

    If the project renames the model, that name is unknown before: on a new database the order of the app labels decides
    whether the renaming or our migration runs first, and on an existing database either may have been applied already.
    A dependency that fixed the order would make Django refuse databases with the other order
    (``InconsistentMigrationHistory``).
    """

    def mutate_state(self, project_state: ProjectState, preserve: bool = True) -> ProjectState:
        return Migration.mutate_state(self._resolved(project_state), project_state, preserve)

    def apply(self, project_state: ProjectState, schema_editor: Any, collect_sql: bool = False) -> ProjectState:
        return Migration.apply(self._resolved(project_state), project_state, schema_editor, collect_sql)

    def unapply(self, project_state: ProjectState, schema_editor: Any, collect_sql: bool = False) -> ProjectState:
        return Migration.unapply(self._resolved(project_state), project_state, schema_editor, collect_sql)

    def _resolved(self, state: ProjectState) -> Migration:
        # Copies, because states keep the field objects of the operations that created them.
        resolved: Any = copy.copy(self)
        resolved.operations = copy.deepcopy(self.operations)
        for operation in _state_operations(resolved.operations):
            fields = [field for _, field in getattr(operation, "fields", ())] or [getattr(operation, "field", None)]
            for relation in filter(None, (getattr(field, "remote_field", None) for field in fields)):
                for end in ("model", "through"):
                    # The latest label that exists wins: another model may have taken an earlier one.
                    for label in getattr(getattr(relation, end, None), "labels", []):
                        if tuple(label.lower().split(".")) in state.models:
                            setattr(relation, end, label)
        return resolved  # type: ignore[no-any-return]  # assigned to as Any: the stubs know operations of classes only


def _creation(label: str) -> tuple[str, list[str]] | None:
    """The migration that creates the model, and all names of the model since, the present one last."""
    app_label, model_name = label.split(".")
    now: dict[str, tuple[str, list[str]]] = {}
    for migration_name, migration in _in_order(app_label, _migrations(app_label)):
        for operation in _state_operations(migration.operations):
            if isinstance(operation, operations.CreateModel):
                now[operation.name_lower] = migration_name, [operation.name]
            elif isinstance(operation, operations.RenameModel) and operation.old_name_lower in now:
                now[operation.new_name_lower] = now.pop(operation.old_name_lower)
                now[operation.new_name_lower][1].append(operation.new_name)
            elif isinstance(operation, operations.DeleteModel):
                now.pop(operation.name_lower, None)
    return now.get(model_name.lower())


def _created_first(label: str) -> bool:
    app_label, migrations, creation = label.split(".")[0], _migrations(label.split(".")[0]), _creation(label)
    if creation is None:
        return not migrations
    return all(parent_label != app_label for parent_label, _ in migrations[creation[0]].dependencies)


def _migrations(app_label: str) -> dict[str, type[Migration]]:
    from django.db.migrations.loader import MigrationLoader  # imports the registry, which models are still filling

    try:
        module_name, _ = MigrationLoader.migrations_module(app_label)
        package = import_module(module_name or "")
    except (LookupError, ModuleNotFoundError, ValueError):  # ValueError: MIGRATION_MODULES maps the app to None
        return {}
    names = [name for _, name, is_package in pkgutil.iter_modules(package.__path__) if not is_package]
    modules = {name: import_module(f"{package.__name__}.{name}") for name in names if name[0] not in "_~"}
    return {name: module.Migration for name, module in modules.items() if hasattr(module, "Migration")}


def _in_order(app_label: str, migrations: dict[str, type[Migration]]) -> Iterator[tuple[str, type[Migration]]]:
    """The app's migrations, dependencies first, without those that a squashed migration replaces.

    Where Django runs the replaced migrations instead (a database that has applied some of them), it turns a dependency
    on the squashed migration into one on the last that it replaces, where the model has the same name.
    """
    # Keys are (app label, name): an app that was renamed replaces migrations of its old label, often of the same name.
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


def _state_operations(listed: Iterable[Operation]) -> Iterator[Operation]:
    for operation in listed:
        if isinstance(operation, operations.SeparateDatabaseAndState):
            yield from _state_operations(operation.state_operations)
        else:
            yield operation
