"""`konnectivity manifests`: Kubernetes objects for server and agent. What is in them: konnectivity/manifests."""

from konnectivity.tool.cli.manifests_command.manifest_kinds import add_to

__all__ = ["add_to"]
