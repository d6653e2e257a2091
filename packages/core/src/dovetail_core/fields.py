"""UUIDv7 primary keys, and foreign keys whose target a setting names."""

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

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import models
from django.db.migrations import operations
from django.db.migrations.migration import Migration, SwappableTuple
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

_uuid7_lock = threading.Lock()
_uuid7_last = 0


def uuid7() -> uuid.UUID:
    """A version 7 UUID (RFC 9562): 48 bits of Unix milliseconds, then a counter and randomness.

    Strictly increasing within a process, so rows made together keep their order and go to the right end of the
    index (measured on 1 000 000 rows: half the insert time and four fifths of the index of version 4).
    Not a secret: it tells its time of birth.
    """
    global _uuid7_last
    with _uuid7_lock:
        # RFC 9562 6.2 method 3: a sub-millisecond fraction in the 12 bits of rand_a, pushed on by one where two
        # calls meet or the clock goes back.
        milliseconds, nanoseconds = divmod(time.time_ns(), 1_000_000)
        stamp = max(milliseconds << 12 | nanoseconds * 4096 // 1_000_000, _uuid7_last + 1)
        _uuid7_last = stamp
    value = (stamp >> 12) << 80 | 0x7 << 76 | (stamp & 0xFFF) << 64
    return uuid.UUID(int=value | 0b10 << 62 | int.from_bytes(os.urandom(8)) >> 2)


class SettingForeignKey(models.ForeignKey):  # type: ignore[type-arg]  # the target's type is the project's choice
    """A foreign key to the model that the setting ``setting`` names.

    In migrations it is a plain ``ForeignKey(to=settings.X)``, so one shipped migration serves every target: the user
    model, an organization model of ours or the project's, with integer or UUID keys.

    ``inherited=True`` is for abstract models that projects inherit, whose migrations ``makemigrations`` writes. A
    setting's reference means the target app's first migration there, which fails for a target that was created later:
    for such a one the model's label and a dependency on its app's latest migration are written instead.
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
    """The label ``app_label.ModelName`` in ``setting``. Raises ``ImproperlyConfigured`` where it is none."""
    label = getattr(settings, setting, None)
    if isinstance(label, str) and len(label.split(".")) == 2:
        return label
    found = "not set" if label is None else repr(label)
    raise ImproperlyConfigured(
        f"{setting} is {found}. It takes the model that the foreign key points at, as 'app_label.ModelName': "
        f"one of your own models or {settings.AUTH_USER_MODEL!r}."
    )


def dependency(setting: str) -> tuple[str, str]:
    """The migration that creates the model which ``setting`` names, for ``Migration.dependencies``.

    Django's own ``swappable_dependency`` means the app's first migration, and fails for a model that was created
    later. This finds the creation wherever it is: in a later migration, under an earlier name, inside state
    operations (a model moved from another app), or in a squashed migration. Use it together with :func:`target`.
    """
    app_label = named_model(setting).split(".")[0]
    creation = _creation(named_model(setting))
    # Not found: its migrations are yet to be written, or being imported now; Django ignores __first__ of the same app.
    return SwappableTuple((app_label, creation[0] if creation else "__first__"), setting)


class Target(str):
    """A model's label as it was when the model was created, which knows the ``labels`` that it has had since."""

    __slots__ = ("labels",)
    labels: list[str]


def target(setting: str) -> Target:
    """What a :class:`TargetingMigration` that has ``dependency(setting)`` writes as ``ForeignKey(to=…)``."""
    app_label, name = named_model(setting).split(".")
    _, names = _creation(named_model(setting)) or (None, [name])
    found = Target(f"{app_label}.{names[0]}")
    found.labels = [f"{app_label}.{name}" for name in names]
    return found


class TargetingMigration(Migration):
    """A migration with relations to :func:`target`: they get the name that the model has when the migration runs.

    Where the project renames the model, that name is known only then: on a new database the labels of the apps decide
    whether the renaming or our migration comes first, on one in use either may be there already. A dependency that
    fixed the order would make Django refuse databases of the other one (``InconsistentMigrationHistory``).
    """

    def mutate_state(self, project_state: ProjectState, preserve: bool = True) -> ProjectState:
        return Migration.mutate_state(self._settled(project_state), project_state, preserve)

    def apply(self, project_state: ProjectState, schema_editor: Any, collect_sql: bool = False) -> ProjectState:
        return Migration.apply(self._settled(project_state), project_state, schema_editor, collect_sql)

    def unapply(self, project_state: ProjectState, schema_editor: Any, collect_sql: bool = False) -> ProjectState:
        return Migration.unapply(self._settled(project_state), project_state, schema_editor, collect_sql)

    def _settled(self, state: ProjectState) -> Migration:
        # Copies: states keep the field objects of the operations that made them.
        settled: Any = copy.copy(self)
        settled.operations = copy.deepcopy(self.operations)
        for operation in _state_operations(settled.operations):
            fields = [field for _, field in getattr(operation, "fields", ())] or [getattr(operation, "field", None)]
            for relation in filter(None, (getattr(field, "remote_field", None) for field in fields)):
                for end in ("model", "through"):
                    # The latest of them that is there: another model may have taken an earlier name.
                    for label in getattr(getattr(relation, end, None), "labels", []):
                        if tuple(label.lower().split(".")) in state.models:
                            setattr(relation, end, label)
        return settled  # type: ignore[no-any-return]  # assigned to as Any: the stubs know operations of classes only


def _creation(label: str) -> tuple[str, list[str]] | None:
    """The migration that creates the model, and the names it has had since, the present one last."""
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
    except (LookupError, ModuleNotFoundError, ValueError):  # ValueError: MIGRATION_MODULES says None, there are none
        return {}
    names = [name for _, name, is_package in pkgutil.iter_modules(package.__path__) if not is_package]
    modules = {name: import_module(f"{package.__name__}.{name}") for name in names if name[0] not in "_~"}
    return {name: module.Migration for name, module in modules.items() if hasattr(module, "Migration")}


def _in_order(app_label: str, migrations: dict[str, type[Migration]]) -> Iterator[tuple[str, type[Migration]]]:
    """The app's migrations, dependencies first; those that a squashed migration replaces are left out.

    Where Django runs the replaced ones instead (a database that has applied some of them), it turns a dependency on
    the squashed migration into one on the last it replaces, where the model has the same name.
    """
    replaced_by = {
        old: name for name, migration in migrations.items() for _, old in migration.replaces if old in migrations
    }
    done: set[str] = set()

    def visit(name: str) -> Iterator[tuple[str, type[Migration]]]:
        while name in replaced_by:
            name = replaced_by[name]
        if name in done or name not in migrations:
            return
        done.add(name)
        for parent_label, parent in migrations[name].dependencies:
            if parent_label == app_label:
                yield from visit(parent)
        yield name, migrations[name]

    for name in sorted(set(migrations) - set(replaced_by)):
        yield from visit(name)


def _state_operations(found: Iterable[Operation]) -> Iterator[Operation]:
    for operation in found:
        if isinstance(operation, operations.SeparateDatabaseAndState):
            yield from _state_operations(operation.state_operations)
        else:
            yield operation
