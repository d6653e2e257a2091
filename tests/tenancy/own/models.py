"""A project's own organization and membership, each with a field that must be given."""

from __future__ import annotations

from django.db import models

from dovetail_tenancy.base import AbstractMembership, AbstractOrganization


class Organization(AbstractOrganization):
    country = models.CharField(max_length=2)


class Membership(AbstractMembership):
    title = models.CharField(max_length=100)

    class Meta(AbstractMembership.Meta):
        pass
