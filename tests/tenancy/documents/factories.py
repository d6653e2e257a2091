from __future__ import annotations

from itertools import count
from typing import Any

from django.contrib.auth import get_user_model

from dovetail_tenancy import get_membership_model, get_organization_model, tenant
from dovetail_tenancy.organizations.project_models import concrete_field
from tests.tenancy.documents.models import Document, Folder, Note

_number = count(1)


def make_user(**fields: Any) -> Any:
    return get_user_model()._default_manager.create(**{"username": f"user{next(_number)}", **fields})


def make_organization(name: str = "Acme", owner: Any = None, **fields: Any) -> Any:
    owner = owner or make_user()
    model = get_organization_model()
    given = {"name": name, "slug": f"organization-{next(_number)}", "owner": owner}
    fields = {each: value for each, value in given.items() if concrete_field(model, each)} | fields
    organization = model._default_manager.create(**fields)
    make_membership(organization, owner, "owner")
    return organization


def make_membership(organization: Any, user: Any, role: str = "member") -> Any:
    return get_membership_model()._default_manager.create(organization=organization, user=user, role=role)


def make_document(organization: Any, title: str, author: Any = None, folder: str = "Inbox") -> Document:
    """Return a document in a folder, with one note."""
    with tenant(organization):
        parent, _ = Folder.objects.get_or_create(name=folder)
        document = Document.objects.create(folder=parent, title=title, author=author)
        Note.objects.create(document=document, text=f"about {title}", writer=author)
    return document
