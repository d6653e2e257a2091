from __future__ import annotations

import inspect
import re
from pathlib import Path

from dovetail_core.transactions import Vanished
from dovetail_tenancy import checks, events, exceptions, services
from dovetail_tenancy.api import urls
from dovetail_tenancy.conf import conf

PACKAGE = Path(__file__).parents[2] / "packages/tenancy"
README = (PACKAGE / "README.md").read_text()


def test_the_table_of_settings_is_the_declaration() -> None:
    assert f"<!-- settings -->\n{conf.documentation()}\n<!-- /settings -->" in README


def test_every_check_has_a_row() -> None:
    sources = Path(str(checks.__file__)).parent.rglob("*.py")
    used = {found for path in sources for found in re.findall(r"dovetail_tenancy\.[EWI]\d{3}", path.read_text())}
    rows = re.findall(r"^\| `(dovetail_tenancy\.[EWI]\d{3})` \| \S.* \| \S.* \|$", README, flags=re.MULTILINE)
    assert rows == sorted(used | {"dovetail_tenancy.E001", "dovetail_tenancy.W001"})


def test_every_service_has_a_row_with_its_arguments() -> None:
    rows = dict(re.findall(r"^\| `(\w+)\((.*?)\)` \|", README, flags=re.MULTILINE))
    assert set(rows) == set(services.__all__)
    for name, arguments in rows.items():
        parameters = inspect.signature(getattr(services, name)).parameters.values()
        written = [re.match(r"\**(\w+)", argument.strip())[1] for argument in arguments.split(",")]  # type: ignore[index]
        assert written == [parameter.name for parameter in parameters], name


def test_the_exceptions_exist_and_every_event_is_named() -> None:
    table = README.split("| function | raises |")[1].split("\n\n")[0]
    for name in re.findall(r"`([A-Z]\w+)`", table):
        assert name == Vanished.__name__ or issubclass(getattr(exceptions, name), exceptions.TenancyError)
    names = {value for name, value in vars(events).items() if name.isupper()}
    assert names == set(re.findall(r"`((?:organization|member|invitation)\.(?:\w+ed|resent))`", README))
    assert all(f"\n{name} " in str(events.__doc__) for name in names)


def test_every_endpoint_has_a_row() -> None:
    rows = set(re.findall(r"^\| `([A-Z]+) (/\S+?)`", README, flags=re.MULTILINE))
    served = set()
    for pattern in urls.urlpatterns:
        path = "/" + re.sub(r"<str:\w+>", "{id}", str(pattern.pattern)).rstrip("/") + "/"
        methods = getattr(pattern.callback, "actions", {"post": ""})
        served |= {(method.upper(), path) for method in methods if method != "head"}
    assert rows == served


def test_the_changelog_has_the_version() -> None:
    version = re.search(r'^version = "(.+)"$', (PACKAGE / "pyproject.toml").read_text(), flags=re.MULTILINE)
    assert version is not None
    assert f"## [{version[1]}]" in (PACKAGE / "CHANGELOG.md").read_text()
