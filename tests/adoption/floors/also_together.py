"""The documents describe the packages too, under names that are not the project's."""

from __future__ import annotations

import drf_spectacular
import rest_framework
from callers import client
from drf_yasg.utils import get_serializer_ref_name

from dovetail_core.optional import SPECTACULAR
from dovetail_notify.api.serializers import DeviceSerializer

assert drf_spectacular.__version__ == f"{SPECTACULAR}.0"
assert rest_framework.VERSION.startswith("3.16.")
components = client().get("/api/openapi.json").json()["components"]["schemas"]
assert {"IdentityUser", "NotifyDevice", "MagicRequest", "TenancyMember", "APIKey"} <= components.keys()
assert "required" not in components["PatchedTenancyOrganization"]
definitions = client().get("/api/swagger/", headers={"accept": "application/json"}).json()["definitions"]
assert {"IdentityUser", "NotifyDevice", "MagicRequest", "TenancyMember", "APIKey"} <= definitions.keys()


class PhoneSerializer(DeviceSerializer):
    class Meta(DeviceSerializer.Meta):
        pass


assert get_serializer_ref_name(PhoneSerializer()) == "Phone"
