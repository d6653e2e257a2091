from __future__ import annotations

from typing import Any

import pytest

from dovetail_flags import Declared, declare, flags
from dovetail_flags.evaluation.declared import declared_flags
from dovetail_flags.testing import assert_flags_used, override_flags
from dovetail_flags.types import declaration
from tests import asynchronous

# Without a database: an override makes no query.


def test_override_of_an_object_is_not_shared() -> None:
    with override_flags(colors={"items": []}):
        for _ in range(2):
            value = flags.value("colors")
            assert value == {"items": []}
            value["items"].append(1)


def test_override_sets_both_spellings_until_the_end() -> None:
    with override_flags({"billing.limit": 3}, new_checkout=True):
        assert flags.enabled("new-checkout")
        assert flags.enabled("new_checkout")
        assert flags.value("billing.limit", default=1) == 3
        with override_flags(new_checkout=False):
            assert not flags.enabled("new-checkout")
        assert flags.enabled("new-checkout")
    assert flags.overrides == {}


@override_flags(new_checkout=True)
def test_override_decorates_a_function() -> None:
    assert flags.details("new-checkout").variant == "override"


@override_flags(new_checkout=True)
async def decorated() -> bool:
    return flags.enabled("new-checkout")


def test_override_decorates_an_async_function() -> None:
    assert asynchronous.run(decorated())


def test_fixture_overrides_until_the_end_of_the_test(pytestconfig: pytest.Config, request: Any) -> None:
    if not pytestconfig.pluginmanager.has_plugin("dovetail_flags"):
        pytest.skip("the plugin of dovetail-flags is not installed")
    request.getfixturevalue("flags")(new_checkout=True)
    assert flags.enabled("new-checkout")


def test_override_of_another_type_than_declared_is_refused(settings: Any) -> None:
    settings.FLAGS_DECLARED = {"new-checkout": Declared(bool, default=False)}
    with pytest.raises(ValueError, match="new-checkout"), override_flags(new_checkout="yes"):
        pass


def test_assertion_names_flags_that_were_not_used() -> None:
    with override_flags(a=True, b=False), assert_flags_used("a") as used:
        flags.enabled("a")
        flags.enabled("b")
    assert {key: details.value for key, details in used.items()} == {"a": True, "b": False}
    with pytest.raises(AssertionError, match=r"not evaluated: c\. Evaluated: a"), override_flags(a=True):  # noqa: SIM117
        with assert_flags_used("a", "c"):
            flags.enabled("a")
    assert flags.observers == ()


@pytest.fixture
def _declarations() -> Any:
    before = dict(declaration._declared)
    yield
    declaration._declared.clear()
    declaration._declared.update(before)


@pytest.mark.usefixtures("_declarations")
def test_declared_default_replaces_a_missing_flag(settings: Any) -> None:
    settings.FLAGS_DECLARED = {"theme": Declared(str, default="light")}
    assert declare("new-checkout", bool, default=True) == "new-checkout"
    assert flags.value("theme") == "light"
    assert flags.enabled("new-checkout")
    assert not flags.enabled("new-checkout", default=False)
    assert set(declared_flags()) == {"theme", "new-checkout"}


@pytest.mark.usefixtures("_declarations")
def test_second_declaration_must_be_the_same() -> None:
    declare("new-checkout", bool, default=True)
    declare("new-checkout", bool, default=True)
    with pytest.raises(ValueError, match="declared twice"):
        declare("new-checkout", bool, default=False)


@pytest.mark.parametrize(
    ("key", "type_", "default"),
    [("A", bool, False), ("a", list, []), ("a", bool, 1), ("a", int, True), ("a", int, 1.5), ("a", str, None)],
)
def test_invalid_declaration_is_refused(key: str, type_: type, default: Any) -> None:
    with pytest.raises(ValueError, match=r"key|type|default"):
        declare(key, type_, default=default)


@pytest.mark.parametrize(("type_", "default"), [(float, 1), (float, 1.5), (dict, {}), (dict, []), (str, "")])
@pytest.mark.usefixtures("_declarations")
def test_valid_declaration_is_accepted(type_: type, default: Any) -> None:
    declare("a", type_, default=default)
