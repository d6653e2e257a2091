"""Flags of LaunchDarkly. Requires the extra ``launchdarkly``::

    FLAGS_PROVIDER = "dovetail_flags.contrib.launchdarkly.provider"
    FLAGS_PROVIDER_OPTIONS = {"sdk_key": env("LAUNCHDARKLY_SDK_KEY")}

The targeting key is the key of a LaunchDarkly context of the kind ``user``; attributes keep their names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ld_openfeature import LaunchDarklyProvider
from ldclient.config import Config
from ldclient.integrations import Files

from dovetail_flags.contrib.openfeature import START_SECONDS, OpenFeatureBridge
from dovetail_flags.types.details import Reason

# The provider passes these names of LaunchDarkly on.
_REASONS: Final = {"RULE_MATCH": Reason.TARGETING_MATCH, "FALLTHROUGH": Reason.DEFAULT}


def provider(*, sdk_key: str = "", files: Sequence[str] = (), **options: Any) -> OpenFeatureBridge:
    """Return the provider for ``FLAGS_PROVIDER``. ``options`` are arguments of ``ldclient.config.Config``.

    ``files`` are paths of flag data files of LaunchDarkly. They replace the service, for development and tests, and are
    read again when they change.
    """
    if files:
        return OpenFeatureBridge(lambda: _launchdarkly("from-files", {**_file_options(files), **options}), _REASONS)
    if not sdk_key:
        raise ValueError("FLAGS_PROVIDER_OPTIONS must have the 'sdk_key' of LaunchDarkly, or 'files' to use instead.")
    return OpenFeatureBridge(lambda: _launchdarkly(sdk_key, options), _REASONS)


def _file_options(files: Sequence[str]) -> dict[str, Any]:
    source = Files.new_data_source(paths=list(files), auto_update=True)
    return {"update_processor_class": source, "send_events": False, "diagnostic_opt_out": True}


def _launchdarkly(sdk_key: str, options: Mapping[str, Any]) -> LaunchDarklyProvider:
    return LaunchDarklyProvider(Config(sdk_key, **options), start_wait=START_SECONDS)
