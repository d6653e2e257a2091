from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rest_framework import serializers

from dovetail_audit.entries.canonical import rfc3339
from dovetail_audit.models import Checkpoint, Entry
from dovetail_audit.reading.representation import represent
from dovetail_core.rest.fields import TextField

# Declared fields are no attributes of the class, so the ignored names clash for mypy only.


class ActorSerializer(serializers.Serializer[Any]):
    kind = serializers.ChoiceField(choices=Entry.ActorKind.values)
    id = serializers.CharField(allow_null=True, help_text="The primary key of the person or API key.")
    label = serializers.CharField(allow_null=True, help_text="The name at the event.")  # type: ignore[assignment]
    auth = serializers.CharField(allow_null=True, help_text="The kind of credential, such as session, jwt or api_key.")
    impersonator = serializers.CharField(allow_null=True, help_text="The person who acted in the name of the actor.")


class TargetSerializer(serializers.Serializer[Any]):
    kind = serializers.CharField(allow_null=True, help_text="The model, such as shop.Order.")
    id = serializers.CharField(allow_null=True)
    label = serializers.CharField(allow_null=True)  # type: ignore[assignment]


class EntrySerializer(serializers.Serializer[Any]):
    """One event. Personal values are null after an erasure, and the proof of the entry stays valid."""

    id = serializers.UUIDField()
    at = serializers.DateTimeField()
    organization_id = serializers.CharField(allow_null=True)
    actor = ActorSerializer()
    action = serializers.CharField()
    # Not choice fields: drf-spectacular would warn of a collision with a project's own enums of these names.
    outcome = serializers.CharField(help_text="intent, success, denied or failed")
    status = serializers.IntegerField(allow_null=True, help_text="The HTTP status.")
    code = serializers.CharField(allow_null=True, help_text="The error code of a refusal.")
    target = TargetSerializer()
    parameters = serializers.DictField(allow_null=True)
    changes = serializers.DictField(allow_null=True, help_text="Each changed field with its value before and after.")
    extra = serializers.DictField(allow_null=True)
    personal = serializers.DictField(allow_null=True)
    ip = serializers.CharField(allow_null=True)
    user_agent = serializers.CharField(allow_null=True)
    origin = serializers.CharField(allow_null=True, help_text="api, admin_api, admin_site, command or task")
    request_id = serializers.CharField(allow_null=True)
    erased_at = serializers.DateTimeField(allow_null=True)
    sealed = serializers.BooleanField(help_text="Whether the Merkle tree holds the entry, so that it has a proof.")

    def to_representation(self, instance: Entry) -> dict[str, Any]:
        return represent(instance)


class ProofSerializer(serializers.Serializer[Any]):
    """A proof of inclusion (RFC 6962). `dovetail_audit.proofs` verifies it without this server and without its keys."""

    leaf_index = serializers.IntegerField(min_value=0)
    tree_size = serializers.IntegerField(min_value=1)
    canonical = serializers.CharField(help_text="The hashed bytes of the entry, a JSON text.")
    mac = serializers.CharField(help_text="Base64.")
    proof = serializers.ListField(child=serializers.CharField(), help_text="The hashes from the leaf to the root.")
    checkpoint = serializers.CharField(help_text="The signed note (C2SP) with the size and root of the tree.")

    def to_representation(self, instance: Mapping[str, Any]) -> dict[str, Any]:
        return dict(instance)


class CheckpointSerializer(serializers.Serializer[Any]):
    size = serializers.IntegerField(min_value=0, help_text="The number of leaves.")
    root = serializers.CharField(help_text="The root of the tree, in hex digits.")  # type: ignore[assignment]
    at = serializers.DateTimeField()
    note = serializers.CharField(help_text="The signed note (C2SP).")
    anchored_at = serializers.DateTimeField(allow_null=True, help_text="When it was stored outside the database.")

    def to_representation(self, instance: Checkpoint) -> dict[str, Any]:
        anchored_at = instance.anchored_at
        return {
            "size": instance.size,
            "root": bytes(instance.root).hex(),
            "at": rfc3339(instance.at),
            "note": instance.signature,
            "anchored_at": None if anchored_at is None else rfc3339(anchored_at),
        }


class NewVerificationSerializer(serializers.Serializer[Any]):
    """A verification has no fields: it covers the whole log."""


class NewErasureSerializer(serializers.Serializer[Any]):
    """The person whose personal data is erased, by primary key or e-mail address."""

    user_id = TextField(max_length=64, required=False)
    email = TextField(max_length=254, required=False)
    reason = TextField(max_length=500, help_text="Why, such as the number of the person's request.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("user_id" in attrs) == ("email" in attrs):
            raise serializers.ValidationError("Name the person either by user_id or by email.", "ambiguous")
        return attrs


class ErasureSerializer(serializers.Serializer[Any]):
    erased = serializers.IntegerField(min_value=0, help_text="The number of entries whose personal data was erased.")
