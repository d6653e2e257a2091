"""A library of template tags that has a tag of the same name, as django-waffle's has."""

from __future__ import annotations

from django import template

register = template.Library()


@register.simple_tag
def flag(key: str) -> str:
    return key
