# ruff: noqa: DJ001, DJ008
"""A model for each way to record its changes, and the two designs that ``bench/audit.py`` compares with."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from django.db import models

from dovetail_audit import track

AUDITLOG, SIMPLE, PGHISTORY = (bool(find_spec(name)) for name in ("auditlog", "simple_history", "pghistory"))


class Base(models.Model):
    name = models.CharField(max_length=50)
    amount = models.IntegerField(default=0)
    note = models.TextField(default="")

    class Meta:
        abstract = True


class Plain(Base):
    pass


@track(fields=["name", "amount", "note"])
class Tracked(Base):
    pass


class Log(models.Model):
    """A plain audit row with the same kinds of columns, as a project would write it."""

    at = models.DateTimeField(auto_now_add=True)
    organization = models.CharField(max_length=64, null=True, db_index=True)
    actor = models.CharField(max_length=64, db_index=True)
    action = models.CharField(max_length=100, db_index=True)
    target_kind = models.CharField(max_length=100)
    target = models.CharField(max_length=64, db_index=True)
    request_id = models.CharField(max_length=64, db_index=True)
    data = models.JSONField(default=dict)
    previous = models.BinaryField(null=True)
    hash = models.BinaryField(null=True)


class Head(models.Model):
    """The last hash of a chain."""

    hash = models.BinaryField()


MODELS: dict[str, Any] = {"plain save": Plain, "dovetail-audit @track": Tracked}
if AUDITLOG:
    from auditlog.registry import auditlog

    @auditlog.register()
    class Logged(Base):
        pass

    MODELS["django-auditlog"] = Logged
if SIMPLE:
    from simple_history.models import HistoricalRecords

    class Historical(Base):
        history = HistoricalRecords()

    MODELS["django-simple-history"] = Historical
if PGHISTORY:
    import pghistory

    @pghistory.track(pghistory.InsertEvent(), pghistory.UpdateEvent(), context_field=None)
    class Triggered(Base):
        pass

    MODELS["django-pghistory"] = Triggered
