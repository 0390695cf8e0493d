"""`konnectivity manifests`: Kubernetes objects for server and agent. What is in them: konnectivity/manifests."""

from konnectivity.cli.manifests.command import add_to

__all__ = ["add_to"]
