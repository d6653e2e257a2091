"""``assert_admin_isolated``, which tests that an admin site shows and changes rows of one organization only."""

from __future__ import annotations

import copy
import itertools
import json
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.utils import get_fields_from_path, quote
from django.contrib.auth import get_permission_codename
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import Permission
from django.core.paginator import UnorderedObjectListWarning
from django.db import models
from django.test import Client
from django.urls import reverse
from django.utils.regex_helper import normalize

from dovetail_tenancy.isolation.scope import get_organization_model, tenant, unscoped
from dovetail_tenancy.organizations.project_models import database_of
from dovetail_tenancy.testing.endpoints import recorded_writes, rolled_back
from dovetail_tenancy.testing.isolation import Report
from dovetail_tenancy.testing.rows import Rows, by_key, contains, make_rows, marks, owned_models

_CSRF_TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="[^"]*"')
_OWN_PAGES = ("changelist", "add", "change", "delete", "history")


@dataclass
class AdminReport(Report):
    """The result of ``assert_admin_isolated``. Pages are named like ``"shop.Order: list"``."""

    noun = "admin pages"
    entries = "skip= that match no model admin"
    advice = (
        "Create the rows in make=, or pass the reason why the model admin needs no test: "
        "skip={'shop.Order': 'archived orders'}."
    )


def assert_admin_isolated(
    site: admin.AdminSite = admin.site,
    *,
    mine: models.Model,
    theirs: models.Model,
    user: AbstractBaseUser,
    make: Callable[[Any], object] | None = None,
    skip: Mapping[str, str] | None = None,
) -> AdminReport:
    """Open every page of ``site`` as staff of one organization, and fail for each that is not isolated.

    ``user`` is a member of the organization ``mine`` and of no other. The test makes it a staff user with every
    permission, except the one to view all organizations. ``make`` creates an organization's rows, with different texts
    for ``mine`` and ``theirs``; without it, one row of each tenant model is created.

    A model admin leaks if a list, form, filter, popup, autocomplete response or page of its own shows a row of theirs;
    if a page of their row opens; if a form or an action accepts their row; or if a row of theirs changes. A model of
    which ``make`` creates no row proves nothing and fails too, until ``skip`` gives a reason by the model's label.

    Return a report of the tested pages. Raise ``AssertionError`` with all failures. Everything is rolled back.
    """
    walk = _Walk(site, mine, theirs, user, skip or {}, database_of(mine))
    with rolled_back(walk.using):
        walk.test(make or make_rows)
    if walk.report.leaks or walk.report.untested or walk.report.stale:
        raise AssertionError(str(walk.report))
    return walk.report


@dataclass
class _Walk:
    site: admin.AdminSite
    mine: models.Model
    theirs: models.Model
    user: Any
    skip: Mapping[str, str]
    using: str
    report: AdminReport = field(default_factory=AdminReport)
    client: Client = field(default_factory=lambda: Client(raise_request_exception=False))
    our_rows: Rows = field(default_factory=dict)
    their_rows: Rows = field(default_factory=dict)
    marks: dict[str, str] = field(default_factory=dict)

    def test(self, make: Callable[[Any], object]) -> None:
        make(self.mine)
        self._make_staff()
        self.client.force_login(self.user)
        registered = self.site._registry
        registry = {model: options for model, options in registered.items() if model._meta.label not in self.skip}
        self.report.stale = sorted(set(self.skip) - {model._meta.label for model in registered})
        owned = [options for model, options in registry.items() if model in self._paths()]
        before = [self._list(options) for options in owned]
        make(self.theirs)
        self.our_rows, self.their_rows = self._rows(self.mine), self._rows(self.theirs)
        self.marks = self._marks()
        for options, page in zip(owned, before, strict=True):
            after = self._list(options)
            # Requested again, because a page may differ with each request.
            if after != page and after == self._list(options) and not self._shown(after, ""):
                self._leak(options, "list", "differs since another organization has rows")
        for options in registry.values():
            self._test_admin(options)

    def _make_staff(self) -> None:
        # A copy, because the rollback restores only the row.
        self.user = copy.copy(self.user)
        self.user.is_staff, self.user.is_superuser = True, False
        self.user.save()
        if hasattr(self.user, "user_permissions"):
            organizations = get_organization_model()._meta
            viewing = {"codename": get_permission_codename("view", organizations)}
            permissions = Permission.objects.exclude(content_type__app_label=organizations.app_label, **viewing)
            self.user.user_permissions.set(permissions)

    def _paths(self) -> dict[type[models.Model], str]:
        """Return the lookup from each model whose rows belong to an organization to that organization."""
        limited = {
            model: options.organization_field
            for model, options in self.site._registry.items()
            if hasattr(options, "organization_field")
        }
        return {**limited, **owned_models(), get_organization_model(): "pk"}

    def _rows(self, organization: models.Model) -> Rows:
        rows: Rows = {}
        with unscoped(reason="assert_admin_isolated reads the rows"):
            for model, path in self._paths().items():
                manager = model._base_manager.using(self.using)
                own = path == "pk" or get_fields_from_path(model, path)[-1].is_relation
                # A text field has no conversion from a UUID.
                rows[model] = by_key(manager.filter(**{path: organization.pk if own else str(organization.pk)}))
        return rows

    def _marks(self) -> dict[str, str]:
        ours, theirs = marks(self.our_rows), marks(self.their_rows)
        # The keys of users, who belong to no organization, appear in lists of users.
        others = {
            str(row[key.attname])
            for model, rows in self.their_rows.items()
            for key in model._meta.concrete_fields
            if isinstance(key, models.ForeignKey) and key.related_model not in self.their_rows
            for row in rows.values()
        }
        return {text: row for text, row in theirs.items() if text not in ours and text not in others}

    def _test_admin(self, options: Any) -> None:
        model, label = options.model, options.model._meta.label
        theirs = list(self.their_rows.get(model, ()))
        if model in self.their_rows and not (theirs and self.our_rows[model]):
            self.report.untested[label] = "make= creates no row of this model"
            return
        page = self._get(options, "list", self._url(options, "changelist"))
        listed = model not in self.their_rows or self._keys_in(page) & set(self.our_rows[model])
        if page.status_code != 200 or not listed:
            self.report.untested[label] = f"the list answers {page.status_code} and shows no row of ours"
            return
        texts = [text for text, row in self.marks.items() if row.startswith(f"{label} ")]
        popup = {"_popup": 1, "_to_field": model._meta.pk.name}
        for query in ({"all": ""}, popup, *({"q": text} for text in texts[-1:])):
            self._get(options, "list", self._url(options, "changelist"), query)
        self._test_actions(options, page, theirs)
        self._test_form(options, "add", self._get(options, "add", self._url(options, "add")))
        for name in ("change", "delete", "history"):
            for key in list(self.our_rows.get(model, ()))[:1]:
                own_page = self._get(options, name, self._url(options, name, key))
                if name == "change":
                    self._test_form(options, name, own_page)
            for key in theirs[:1]:
                url = self._url(options, name, key)
                if self._get(options, name, url).status_code == 200:
                    self._leak(options, name, f"opens a {label} of theirs")
                self._post(options, name, url, {"post": "yes"})
        self._test_autocomplete(options)
        self._test_own_views(options, theirs)

    def _test_actions(self, options: Any, page: Any, theirs: list[Any]) -> None:
        form = (page.context_data or {}).get("action_form")
        actions = [name for name, _ in form.fields["action"].choices if name] if form else []
        for name, across in itertools.product(actions, (0, 1)):
            selected = list(self.our_rows.get(options.model, ()))[:1] if across else theirs[:1]
            body = {"action": name, "_selected_action": selected, "select_across": across, "index": 0, "post": "yes"}
            self._post(options, f"action {name}", self._url(options, "changelist"), body)

    def _test_form(self, options: Any, name: str, page: Any) -> None:
        variables = getattr(page, "context_data", None) or {}
        if page.status_code != 200 or "adminform" not in variables:
            return
        formsets = [inline.formset for inline in variables["inline_admin_formsets"]]
        body: dict[str, Any] = {}
        for form in [variables["adminform"].form, *(formset.empty_form for formset in formsets)]:
            for field_name, form_field in form.fields.items():
                target = getattr(getattr(form_field, "queryset", None), "model", None)
                if target is form._meta.model and field_name == target._meta.pk.name:
                    continue  # of an inline, whose rows Django looks up among the parent's
                keys = [str(key) for key in self.their_rows.get(target, ())] if target else []
                if field_name == self._paths().get(options.model):
                    keys = [str(self.theirs.pk)]
                if keys and not form_field.disabled:
                    body[form.add_prefix(field_name)] = keys[0]
                    if self._accepts(form_field, keys[0]):
                        self._leak(options, name, f"accepts a key of theirs in the field {field_name!r}")
        # A form with errors may show the names of the rows whose keys were sent.
        self._post(options, name, page.request["PATH_INFO"], body)

    def _accepts(self, form_field: Any, key: str) -> bool:
        value = [key] if isinstance(form_field, forms.ModelMultipleChoiceField | forms.MultipleChoiceField) else key
        with tenant(self.mine):
            try:
                form_field.clean(value)
            except forms.ValidationError:
                return False
        return True

    def _test_autocomplete(self, options: Any) -> None:
        for relation in options.model._meta.get_fields():
            target = getattr(relation, "related_model", None)
            if not relation.concrete or target not in self.their_rows or target not in self.site._registry:
                continue
            labels = {"app_label": options.model._meta.app_label, "model_name": options.model._meta.model_name}
            query = {**labels, "field_name": relation.name, "term": ""}
            with warnings.catch_warnings():
                # An error in projects whose tests fail on warnings.
                warnings.simplefilter("ignore", UnorderedObjectListWarning)
                page = self._get(options, "autocomplete", self._autocomplete, query)
            results = json.loads(page.content)["results"] if page.status_code == 200 else ()
            if {result["id"] for result in results} & {str(key) for key in self.their_rows[target]}:
                self._leak(options, "autocomplete", f"offers a {target._meta.label} of theirs as {relation.name!r}")

    def _test_own_views(self, options: Any, theirs: list[Any]) -> None:
        prefix = f"{options.model._meta.app_label}_{options.model._meta.model_name}_"
        base = self._url(options, "changelist")
        for pattern in options.get_urls():
            name = (pattern.name or "").removeprefix(prefix)
            template, arguments = normalize(pattern.pattern.regex.pattern.removeprefix("^"))[0]
            if name in _OWN_PAGES or (not pattern.name and template == "%(object_id)s/"):
                continue
            for key in theirs[:1] if arguments else ("",):
                url = base + template % dict.fromkeys(arguments, quote(key))
                self._get(options, name or template, url)
                self._post(options, name or template, url, {})

    @property
    def _autocomplete(self) -> str:
        return reverse("admin:autocomplete", current_app=self.site.name)

    def _url(self, options: Any, page: str, *keys: Any) -> str:
        name = f"admin:{options.model._meta.app_label}_{options.model._meta.model_name}_{page}"
        return reverse(name, args=[quote(key) for key in keys], current_app=self.site.name)

    def _list(self, options: Any) -> str:
        with rolled_back(self.using):
            return _CSRF_TOKEN.sub("", _text(self.client.get(self._url(options, "changelist"))))

    def _get(self, options: Any, name: str, url: str, query: Mapping[str, Any] | None = None) -> Any:
        return self._request(options, name, url, query or {}, self.client.get)

    def _post(self, options: Any, name: str, url: str, body: Mapping[str, Any]) -> Any:
        return self._request(options, name, url, body, self.client.post)

    def _request(self, options: Any, name: str, url: str, data: Any, send: Callable[..., Any]) -> Any:
        cookies = copy.copy(self.client.cookies)
        with rolled_back(self.using):
            with recorded_writes(self.using) as writes:
                page = send(url, data)
            # Deferred content is rendered by now, and its rows are read again only if something was written.
            for change in self._changes() if writes else ():
                self._leak(options, name, change)
        self.client.cookies = cookies
        if page.status_code >= 500:
            self.report.untested[f"{options.model._meta.label}: {name}"] = f"answers {page.status_code}"
        self.report.tested.add(f"{options.model._meta.label}: {name}")
        shown = self._shown(_text(page), f"{url} {json.dumps(data, default=str)}")
        listed = self._keys_in(page) & set(self.their_rows.get(options.model, ()))
        for row in shown[:3] or ([f"a {options.model._meta.label} of theirs"] if listed else []):
            self._leak(options, name, f"shows {row}")
        return page

    def _shown(self, body: str, request: str) -> list[str]:
        texts = [text for text in self.marks if contains(body, text) and not contains(request, text)]
        return [self.marks[text] for text in texts]

    def _keys_in(self, page: Any) -> set[Any]:
        changes = (getattr(page, "context_data", None) or {}).get("cl")
        return {row.pk for row in changes.result_list} if changes is not None else set()

    def _changes(self) -> Iterator[str]:
        rows = self._rows(self.theirs)
        for model, before in self.their_rows.items():
            if rows[model] != before:
                added = len(rows[model]) - len(before)
                yield f"{'adds' if added > 0 else 'removes' if added else 'changes'} a {model._meta.label} of theirs"

    def _leak(self, options: Any, name: str, problem: str) -> None:
        self.report.leak(f"{options.model._meta.label}: {name}", problem)


def _text(page: Any) -> str:
    return str(page.content.decode(errors="replace")) if not page.streaming else ""
