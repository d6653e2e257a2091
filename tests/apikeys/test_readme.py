from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from dovetail_apikeys import checks, events
from dovetail_apikeys.api import urls
from dovetail_apikeys.conf import conf

PACKAGE = Path(__file__).parents[2] / "packages/apikeys"
README = (PACKAGE / "README.md").read_text()


def test_settings_table_matches_the_declaration() -> None:
    assert f"<!-- settings -->\n{conf.documentation()}\n<!-- /settings -->" in README


def test_every_check_is_documented() -> None:
    used = set(re.findall(r"dovetail_apikeys\.[EWI]\d{3}", Path(str(checks.__file__)).read_text()))
    rows = re.findall(r"^\| `(dovetail_apikeys\.[EWI]\d{3})` \| \S.* \| \S.* \|$", README, flags=re.MULTILINE)
    assert rows == sorted(used | {"dovetail_apikeys.E001", "dovetail_apikeys.W001"})


def test_every_documented_name_exists() -> None:
    table = README.split("## For your own code")[1].split("## Limits")[0]
    names = re.findall(r"^\| `(dovetail_apikeys[\w.]*)\.(\w+)`(?:, `(\w+)`)?", table, flags=re.MULTILINE)
    assert len(names) > 12
    for module, name, further in names:
        optional = module.removeprefix("dovetail_apikeys.contrib.").removeprefix("spectacular")
        if module.startswith("dovetail_apikeys.contrib.") and optional and find_spec(optional) is None:
            continue  # an extra that is not installed here
        for attribute in filter(None, (name, further)):
            assert hasattr(import_module(module), attribute) or import_module(f"{module}.{attribute}")


def test_every_event_is_documented() -> None:
    names = {value for name, value in vars(events).items() if name.startswith("API_KEY_")}
    assert names == set(re.findall(r"`(api_key\.\w+)`", README))
    assert all(f"\n{name} " in str(events.__doc__) for name in names)


def test_every_endpoint_is_documented() -> None:
    rows = set(re.findall(r"^\| `([A-Z]+) (/\S+?)`", README, flags=re.MULTILINE))
    served = set()
    for pattern in urls.urlpatterns:
        path = "/" + re.sub(r"<str:\w+>", "{id}", str(pattern.pattern))
        served |= {(method.upper(), path) for method in pattern.callback.actions if method != "head"}
    assert rows == served


def block(name: str) -> str:
    match = re.search(rf"<!-- {name} -->\n```\w+\n(.*?)```", README, flags=re.DOTALL)
    assert match is not None, name
    return match[1]


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


def test_quick_start_leads_to_a_working_request(tmp_path: Path) -> None:
    """Install into a new project of ``startproject`` whose users own the keys."""
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}

    def run(*command: str) -> str:
        result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    run(sys.executable, "-m", "django", "startproject", "mysite", ".")
    site = tmp_path / "mysite"
    settings = re.sub(".*_RESOLVER.*\n", "", block("settings.py")).replace("companies.Company", "auth.User")
    append(site / "settings.py", f"{settings}\nALLOWED_HOSTS = ['*']\n")
    (site / "views.py").write_text(block("views.py"))
    view = "from mysite.views import OrdersView\nurlpatterns += [path('api/orders/', OrdersView.as_view())]\n"
    append(site / "urls.py", block("urls.py") + view)
    migrate, create, _printed, curl, response = block("commands").splitlines()
    manage = [sys.executable, "-W", "error", "manage.py"]
    run(*manage, *migrate.split()[3:])
    run(*manage, "shell", "-c", "from django.contrib.auth.models import User; User.objects.create(username='ada')")
    arguments = re.findall(r'"([^"]+)"|(\S+)', create.removeprefix("$ python manage.py "))
    raw = run(*manage, *("".join(groups) for groups in arguments)).strip()
    assert raw.startswith("dvt_live_")
    path, header = re.findall(r"localhost:8000(\S+) -H \"Authorization: (.*)\"", curl)[0]
    sent = header.replace("$KEY", raw)
    call = f"print(Client(HTTP_AUTHORIZATION={sent!r}).get({path!r}).content.decode())"
    assert run(*manage, "shell", "-v0", "-c", f"from django.test import Client; {call}").strip() == response


def test_changelog_contains_the_current_version() -> None:
    version = re.search(r'^version = "(.+)"$', (PACKAGE / "pyproject.toml").read_text(), flags=re.MULTILINE)
    assert version is not None
    assert f"## [{version[1]}]" in (PACKAGE / "CHANGELOG.md").read_text()
