"""Command `konnectivity manifests`: prints Kubernetes objects, which `konnectivity.tool.manifests` builds."""

from konnectivity.tool.cli.manifests_command.manifest_kinds import add_to

__all__ = ["add_to"]
