from __future__ import annotations

import math
from typing import Any

import pytest
from django.utils import translation
from hypothesis import given, settings
from hypothesis import strategies as st

from dovetail_flags.rules.compile import CompiledFlag
from dovetail_flags.rules.grammar import mistakes_in
from dovetail_flags.types.context import Context
from tests.flags.conftest import rule

HALF = [["on", 50_000], ["off", 50_000]]
# A pointer, a code, and rules that have this mistake alone.
MALFORMED: list[tuple[str, str, Any]] = [
    ("/rules", "invalid_rules", None),
    ("/rules", "invalid_rules", {}),
    ("/rules", "invalid_rules", "on"),
    ("/rules", "invalid_rules", [rule() | {"id": str(number)} for number in range(51)]),
    ("/rules/0", "not_an_object", [None]),
    ("/rules/0", "not_an_object", ["on"]),
    ("/rules/0", "not_an_object", [[]]),
    ("/rules/0/then", "unknown_member", [rule() | {"then": "on"}]),
    ("/rules/0/a~1b~0", "unknown_member", [rule() | {"a/b~": 1}]),
    ("/rules/0/\\ud800", "unknown_member", [rule() | {"\ud800": 1}]),
    ("/rules/0/id", "invalid_id", [rule() | {"id": 1}]),
    ("/rules/0/id", "invalid_id", [rule() | {"id": ""}]),
    ("/rules/0/id", "invalid_id", [rule() | {"id": "a\x00"}]),
    ("/rules/0/id", "invalid_id", [rule() | {"id": "a" * 101}]),
    ("/rules/1/id", "duplicate_id", [rule(), rule()]),
    ("/rules/0/serve", "unknown_variant", [{"id": "r"}]),
    ("/rules/0/serve", "unknown_variant", [rule(serve="maybe")]),
    ("/rules/0/serve", "unknown_variant", [rule(serve=True)]),
    ("/rules/0/serve", "unknown_variant", [rule(serve=["on"])]),
    ("/rules/0/serve/split", "invalid_split", [rule(serve={})]),
    ("/rules/0/serve/split", "invalid_split", [rule(serve={"split": []})]),
    ("/rules/0/serve/split", "invalid_split", [rule(serve={"split": {"on": 100_000}})]),
    ("/rules/0/serve/split/0", "invalid_split", [rule(serve={"split": ["on"]})]),
    ("/rules/0/serve/split/0", "invalid_split", [rule(serve={"split": [["on"]]})]),
    ("/rules/0/serve/split/0/0", "unknown_variant", [rule(serve={"split": [[None, 100_000]]})]),
    ("/rules/0/serve/split/0/1", "invalid_weight", [rule(serve={"split": [["on", "100000"]]})]),
    ("/rules/0/serve/split/0/1", "invalid_weight", [rule(serve={"split": [["on", 100_000.0]]})]),
    ("/rules/0/serve/split/0/1", "invalid_weight", [rule(serve={"split": [["on", True]]})]),
    ("/rules/0/serve/split/1/1", "invalid_weight", [rule(serve={"split": [["on", 100_000], ["off", -1]]})]),
    ("/rules/0/serve/split", "invalid_sum", [rule(serve={"split": [["on", 30_000], ["off", 60_000]]})]),
    ("/rules/0/serve/split", "invalid_sum", [rule(serve={"split": [["on", 0]]})]),
    ("/rules/0/serve/by", "unknown_key", [rule(serve={"split": HALF, "by": "plan"})]),
    ("/rules/0/serve/by", "unknown_key", [rule(serve={"split": HALF, "by": None})]),
    ("/rules/0/serve/by", "unknown_key", [rule(serve={"split": HALF, "by": ["user"]})]),
    ("/rules/0/serve/percent", "unknown_member", [rule(serve={"split": HALF, "percent": 1})]),
    ("/rules/0/when", "invalid_conditions", [rule() | {"when": None}]),
    ("/rules/0/when", "invalid_conditions", [rule() | {"when": {"plan": "pro"}}]),
    ("/rules/0/when", "invalid_conditions", [rule(*[("plan", "exists", [])] * 21)]),
    ("/rules/0/when/0", "not_an_object", [rule() | {"when": ["plan"]}]),
    ("/rules/0/when/0/attribute", "invalid_attribute", [rule() | {"when": [{"op": "exists"}]}]),
    ("/rules/0/when/0/attribute", "invalid_attribute", [rule((1, "exists", []))]),  # type: ignore[arg-type]
    ("/rules/0/when/0/op", "unknown_operator", [rule(("plan", "matches", ["a+"]))]),
    ("/rules/0/when/0/op", "unknown_operator", [rule(("plan", ["in"], ["a"]))]),  # type: ignore[arg-type]
    ("/rules/0/when/0/values", "invalid_values", [rule(("plan", "in", "pro"))]),
    ("/rules/0/when/0/values", "invalid_values", [rule(("plan", "in", []))]),
    ("/rules/0/when/0/values", "invalid_values", [rule(("plan", "in", ["x"] * 1001))]),
    ("/rules/0/when/0/values", "invalid_values", [rule(("plan", "eq", ["a", "b"]))]),
    ("/rules/0/when/0/values", "invalid_values", [rule(("plan", "exists", ["yes"]))]),
    ("/rules/0/when/0/values/0", "invalid_value", [rule(("plan", "in", [None]))]),
    ("/rules/0/when/0/values/1", "invalid_value", [rule(("plan", "in", ["a", ["b"]]))]),
    ("/rules/0/when/0/values/0", "invalid_value", [rule(("plan", "in", [""]))]),
    ("/rules/0/when/0/values/0", "invalid_value", [rule(("plan", "in", ["x" * 501]))]),
    ("/rules/0/when/0/values/0", "invalid_value", [rule(("plan", "in", ["a\x00"]))]),
    ("/rules/0/when/0/values/0", "invalid_value", [rule(("plan", "in", ["\ud800"]))]),
    ("/rules/0/when/0/values/0", "invalid_value", [rule(("plan", "in", [float("nan")]))]),
    ("/rules/0/when/0/values/0", "invalid_value", [rule(("plan", "in", [2**53]))]),
    ("/rules/0/when/0/values/0", "invalid_value", [rule(("age", "gt", ["ten"]))]),
    ("/rules/0/when/0/values/0", "invalid_value", [rule(("age", "gt", ["2026-11-30T12:00:00"]))]),
    ("/rules/0/when/0/values/0", "invalid_value", [rule(("app", "semver_gte", ["2.1"]))]),
    ("/rules/0/from", "invalid_time", [rule(**{"from": "tomorrow"})]),
    ("/rules/0/from", "invalid_time", [rule(**{"from": "2026-11-30T12:00:00"})]),
    ("/rules/0/until", "invalid_time", [rule(until=1)]),
    ("/rules/0/from", "invalid_time", [rule(**{"from": "0001-01-01T00:00:00+14:00"})]),
    ("/rules/0/until", "invalid_time", [rule(until="9999-12-31T23:59:59-10:00")]),
    ("/rules/0/when/0/values/0", "invalid_value", [rule(("at", "lt", ["0001-01-01T00:00:00+14:00"]))]),
    ("/rules/0/until", "invalid_time", [rule(**{"from": "2026-12-02T00:00:00Z", "until": "2026-12-01T00:00:00Z"})]),
]


def document(**fields: Any) -> dict[str, Any]:
    boolean = {"key": "a", "type": "boolean", "variants": {"on": True, "off": False}, "rules": [], "tags": []}
    return {**boolean, "off_variant": "off", "default_variant": "on", **fields}


def pointers(**fields: Any) -> list[tuple[str, str]]:
    return [(mistake.pointer, mistake.code) for mistake in mistakes_in(document(**fields))]


@pytest.mark.parametrize(("pointer", "code", "rules"), MALFORMED)
def test_malformed_rule_has_pointer_and_code(pointer: str, code: str, rules: Any) -> None:
    assert pointers(rules=rules) == [(pointer, code)]


def test_all_mistakes_are_reported_at_once() -> None:
    rules = [
        rule(serve="x"),
        {"id": "s", "when": [{"attribute": "", "op": "regex"}], "serve": {"split": [["y", 1]], "by": "z"}},
    ]
    assert pointers(key="A", off_variant="none", rules=rules) == [
        ("/key", "invalid_key"),
        ("/off_variant", "unknown_variant"),
        ("/rules/0/serve", "unknown_variant"),
        ("/rules/1/when/0/attribute", "invalid_attribute"),
        ("/rules/1/when/0/op", "unknown_operator"),
        ("/rules/1/serve/by", "unknown_key"),
        ("/rules/1/serve/split/0/0", "unknown_variant"),
        ("/rules/1/serve/split", "invalid_sum"),
    ]


@pytest.mark.parametrize(
    "key", ["", "A", "1a", "a b", "a/b", "a:b", "a-", "-a", "a--b", "a._b", "é", "a" * 101, None, 1, "a\n"]
)
def test_key_outside_the_grammar_is_a_mistake(key: Any) -> None:
    assert pointers(key=key) == [("/key", "invalid_key")]


@pytest.mark.parametrize("key", ["a", "new-checkout", "billing.retry_limit", "a1-2.b3", "a" * 100])
def test_key_within_the_grammar_is_accepted(key: str) -> None:
    assert pointers(key=key) == []


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("boolean", 1),
        ("boolean", "true"),
        ("integer", True),
        ("integer", 1.0),
        ("integer", 2**53),
        ("number", True),
        ("number", float("inf")),
        ("string", 1),
        ("string", None),
        ("object", "x"),
        ("object", None),
    ],
)
def test_variant_of_another_type_is_a_mistake(kind: str, value: Any) -> None:
    found = pointers(type=kind, variants={"a": value}, off_variant="a", default_variant="a")
    assert found[0] == ("/variants/a", "wrong_type")


@pytest.mark.parametrize(
    ("variants", "pointer", "code"),
    [
        (None, "/variants", "invalid_variants"),
        ({}, "/variants", "invalid_variants"),
        ([], "/variants", "invalid_variants"),
        ({str(number): {} for number in range(21)}, "/variants", "invalid_variants"),
        ({"on": {}, "": {}}, "/variants/", "invalid_name"),
        ({"on": {"text": "x" * 8200}}, "/variants", "too_large"),
        ({"on": {"text": "\x00"}}, "/variants/on", "invalid_value"),
        ({"on": {"\ud800": 1}}, "/variants/on", "invalid_value"),
        ({"on": {"nan": [float("nan")]}}, "/variants/on", "invalid_value"),
    ],
)
def test_malformed_variants_are_a_mistake(variants: Any, pointer: str, code: str) -> None:
    assert (pointer, code) in pointers(type="object", variants=variants, off_variant="on", default_variant="on")


def test_deeply_nested_variant_is_a_mistake() -> None:
    value: Any = []
    for _ in range(100_000):
        value = [value]
    assert ("/variants/on", "invalid_value") in pointers(
        type="object", variants={"on": value}, off_variant="on", default_variant="on"
    )


@pytest.mark.parametrize("tags", [None, "a", [1], [""], ["x"] * 21, ["a\x00"]])
def test_malformed_tags_are_a_mistake(tags: Any) -> None:
    assert pointers(tags=tags) == [("/tags", "invalid_tags")]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("kind", "value", "rules"),
    [
        ("integer", True, []),
        ("integer", 2**53, []),
        ("number", math.inf, []),
        ("boolean", True, [rule(("app", "semver_gte", ["2.1"]))]),
        ("boolean", True, [rule(("at", "lt", ["tomorrow"]))]),
        ("boolean", True, [rule(("at", "lt", [2**53]))]),
    ],
)
def test_mistakes_are_translated_whole(kind: str, value: Any, rules: list[Any]) -> None:
    flag = {"key": "a", "type": kind, "variants": {"on": value}, "off_variant": "on", "default_variant": "on"}
    with translation.override("de"):
        mistake = mistakes_in({**flag, "rules": rules})[0]
    assert mistake.message.startswith("Muss ")
    assert "ust be" not in mistake.message


operators = st.sampled_from(["in", "not_in", "eq", "lt", "gte", "contains", "semver_gte", "exists", "regex"])
conditions = st.fixed_dictionaries(
    {},
    optional={
        "attribute": st.sampled_from(["plan", "targeting_key", ""]) | json_values,
        "op": operators | json_values,
        "values": st.lists(st.sampled_from(["a", 1, True, "1.0.0", "2026-01-01T00:00:00Z"]), max_size=2) | json_values,
    },
)
splits = st.fixed_dictionaries(
    {},
    optional={"split": st.sampled_from([HALF, [["on", 100_000]]]) | json_values, "by": json_values},
)
rules = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from(["a", "b"]) | json_values,
        "when": st.lists(conditions, max_size=2) | json_values,
        "serve": st.sampled_from(["on", "off"]) | splits | json_values,
        "from": st.just("2020-01-01T00:00:00Z") | json_values,
        "until": st.just("2040-01-01T00:00:00Z") | json_values,
    },
)


@settings(max_examples=80, deadline=None)
@given(st.lists(rules, max_size=2) | json_values, st.dictionaries(st.text(max_size=4), json_values, max_size=2))
def test_any_document_is_a_mistake_or_can_be_evaluated(rules: Any, attributes: dict[str, Any]) -> None:
    flag = document(rules=rules)
    if mistakes_in(flag):
        return
    del flag["tags"]
    compiled = CompiledFlag(**flag, enabled=True, salt="s", version=1)
    for context in (Context(), Context("7", {"plan": "a", **attributes}), Context(7, attributes)):
        assert compiled.details(False, context).value in {True, False}
