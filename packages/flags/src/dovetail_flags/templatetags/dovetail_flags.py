from __future__ import annotations

from typing import Any

from django import template
from django.template.base import FilterExpression, NodeList, Parser, Token
from django.template.context import Context

from dovetail_flags.evaluation.facade import flags

register = template.Library()


class FlagNode(template.Node):
    child_nodelists = ("nodelist_on", "nodelist_off")

    def __init__(self, key: FilterExpression, nodelist_on: NodeList, nodelist_off: NodeList) -> None:
        self.key = key
        self.nodelist_on = nodelist_on
        self.nodelist_off = nodelist_off

    def render(self, context: Context) -> Any:
        enabled = flags.enabled(str(self.key.resolve(context)), context.get("request"))
        return (self.nodelist_on if enabled else self.nodelist_off).render(context)


@register.tag
def flag(parser: Parser, token: Token) -> FlagNode:
    """Render the content if a boolean flag is on: ``{% flag "new-checkout" %}…{% else %}…{% endflag %}``.

    The flag is evaluated for ``request``, if the context has it.
    """
    parts = token.split_contents()
    if len(parts) != 2:
        raise template.TemplateSyntaxError(f"{parts[0]!r} takes one argument: the key of a flag.")
    key = parser.compile_filter(parts[1])
    nodelist_on = parser.parse(("else", "endflag"))
    nodelist_off = NodeList()
    if parser.next_token().contents == "else":
        nodelist_off = parser.parse(("endflag",))
        parser.delete_first_token()
    return FlagNode(key, nodelist_on, nodelist_off)


@register.simple_tag(takes_context=True)
def flag_value(context: Context, key: str, default: Any = None) -> Any:
    """Return the value of a flag: ``{% flag_value "theme" "light" as theme %}``."""
    return flags.value(key, context.get("request"), default=default)
