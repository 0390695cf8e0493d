"""Parser of tolerations: `key` or `key=value`, either with `:effect`; `*` for every taint."""

from __future__ import annotations

from konnectivity.tool.manifests.object_names import ManifestError, Object

EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def parse(text: str) -> Object:
    """Return one toleration.

    Raises:
        ManifestError: the effect does not exist.

    """
    if text == "*":
        return {"operator": "Exists"}
    rest, colon, effect = text.partition(":")
    key, equals, value = rest.partition("=")
    if not key or (colon and effect not in EFFECTS):
        raise ManifestError(f"toleration {text!r}: write key, key=value, or * ; with :effect ({', '.join(EFFECTS)})")
    made: Object = {"key": key, "operator": "Equal", "value": value} if equals else {"key": key, "operator": "Exists"}
    return {**made, "effect": effect} if effect else made
