from __future__ import annotations

import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import dovetail_notify
from dovetail_notify import checks, events, transports
from dovetail_notify.conf import conf
from dovetail_notify.realtime import protocol
from dovetail_notify.transports import push, webhook
from dovetail_notify.transports.push import apns, fcm, web_push

PACKAGE = Path(__file__).parents[2] / "packages/notify"
README = (PACKAGE / "README.md").read_text()


def test_settings_table_matches_the_declaration() -> None:
    assert f"<!-- settings -->\n{conf.documentation()}\n<!-- /settings -->" in README


def test_every_check_has_a_row() -> None:
    assert checks.__file__ is not None
    modules = (checks, transports, push, web_push, fcm, apns, webhook)
    texts = [Path(str(module.__file__)).read_text() for module in modules]
    used = set(re.findall(r"dovetail_notify\.[EWI]\d{3}", "".join(texts)))
    rows = re.findall(r"^\| `(dovetail_notify\.[EWI]\d{3})` \| \S.* \| \S.* \|$", README, flags=re.MULTILINE)
    assert sorted(rows) == sorted(used | {"dovetail_notify.E001", "dovetail_notify.W001"})


def test_every_documented_name_exists() -> None:
    table = README.split("## Public API")[1].split("## Security")[0]
    rows = re.findall(r"^\| (`dovetail_notify\..+?) \|", table, flags=re.MULTILINE)
    assert len(rows) > 10
    for row in rows:
        module = ""
        for name in re.findall(r"`([\w.]+)`", row):
            module, _, attribute = name.rpartition(".") if "." in name else (module, "", name)
            optional = module.removeprefix("dovetail_notify.contrib.")
            if optional != module and find_spec({"tasks": "django.tasks"}.get(optional, optional)) is None:
                continue
            assert hasattr(import_module(module), attribute), f"{module}.{attribute}"


def test_every_event_is_documented() -> None:
    names = {value for name, value in vars(events).items() if name.startswith("DEVICE_")}
    assert names == set(re.findall(r"`(notification_device\.\w+)`", README))
    assert all(name in str(events.__doc__) for name in names)


def test_documented_close_codes_match_the_protocol() -> None:
    names = {name: value for name, value in vars(protocol).items() if name.isupper() and name != "FRAME_BYTES"}
    codes = {value for value in names.values() if isinstance(value, int) and value > 4000}
    assert codes == {
        int(code) for code in re.findall(r"\b(4[0-9]{3})\b", README.split("Close codes")[-1].split("\n\n")[0])
    }


def test_first_example_is_a_valid_type() -> None:
    (code,) = re.findall(r"```python\n(from dovetail_notify import NotificationType.*?)```", README, flags=re.DOTALL)
    from dovetail_notify.types import registry

    before = registry.get("orders.shipped")
    namespace: dict[str, object] = {"__name__": __name__}
    try:
        exec(code, namespace)
        made = namespace["OrderShipped"]
        assert isinstance(made, type)
        assert issubclass(made, dovetail_notify.NotificationType)
        assert made.from_example().render().title == "Order A-1 was shipped"
    finally:
        registry.duplicates.clear()
    assert registry.get("orders.shipped") is before


def test_changelog_has_the_version() -> None:
    version = re.search(r'^version = "(.+)"$', (PACKAGE / "pyproject.toml").read_text(), flags=re.MULTILINE)
    assert version is not None
    assert f"## [{version[1]}]" in (PACKAGE / "CHANGELOG.md").read_text()
    assert dovetail_notify.__doc__
