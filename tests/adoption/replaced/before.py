"""Two people, one of whom has a firm and a token, in a database from before ``clients`` was renamed to ``firms``."""

from __future__ import annotations

from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from firms.models import Firm
from people.models import AccessToken, Person

ada = Person.objects.create(name="Ada", email="ada@example.com")
Person.objects.create(name="Bo", email="bo@example.com")
AccessToken.objects.create(key="opensesame", person=ada)
Firm.objects.create(name="Old Mill").people.add(ada)
MigrationRecorder(connection).record_unapplied("firms", "0001_initial")
