"""What the command was given: files, and options that must go together."""

from __future__ import annotations

import argparse
import ssl
import sys
from pathlib import Path

from konnectivity.manifests import tenant
from konnectivity.manifests.names import ManifestError, Object


class Unusable(Exception):
    """It cannot be read, or does not go together."""


def only(arguments: argparse.Namespace, because: str, *allowed: str) -> None:
    """All other options would be without effect.

    Raises:
        Unusable: one was given that is not among the allowed ones.
    """
    ours = ("run", "make", "parser", "output")
    none(arguments, because, *(name for name in vars(arguments) if name not in (*ours, *allowed)))


def none(arguments: argparse.Namespace, because: str, *names: str) -> None:
    """These options would be without effect.

    Raises:
        Unusable: one of them was given.
    """
    parser: argparse.ArgumentParser = arguments.parser
    for name in names:
        if getattr(arguments, name) != parser.get_default(name):
            raise Unusable(f"--{name.replace('_', '-')} has no effect {because}; leave it out")


def text_of(path: str) -> str:
    """A file, or for `-` standard input.

    Raises:
        Unusable: it cannot be read.
    """
    try:
        return sys.stdin.read() if path == "-" else Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise Unusable(f"cannot read {path}: {error}") from None


def manifest(path: str) -> Object:
    """The one object in a file.

    Raises:
        Unusable: there is none, or more.
    """
    import yaml  # not for every command's start

    try:
        found = [each for each in yaml.safe_load_all(text_of(path)) if each is not None]
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Unusable(f"{path} is not YAML: {error}") from None
    if len(found) != 1 or not isinstance(found[0], dict):
        raise Unusable(f"{path} must hold one object, not {len(found)} documents" if found else f"{path} is empty")
    return found[0]


def tenant_of(arguments: argparse.Namespace) -> tenant.Tenant:
    """The tenant control plane.

    Raises:
        Unusable: the file cannot be read.
        ManifestError: it holds something else, or breaks a rule.
    """
    return tenant.parse(manifest(arguments.tenant_file))


def certificates(path: str) -> str:
    """The PEM certificates in a file, and nothing else that may be in it.

    Raises:
        Unusable: there are none, or one is not whole.
    """
    from konnectivity import certificate  # not for every command's start

    try:
        found = [ssl.DER_cert_to_PEM_cert(each) for each in certificate.chain(text_of(path).encode())]
    except ValueError as error:
        raise Unusable(f"{path}: {error}") from None
    if not found:
        raise Unusable(f"{path} holds no certificate")
    return "".join(found)


def quantities(text: str, default: Object) -> Object:
    """`cpu=20m,memory=64Mi` over the default; an empty quantity removes one.

    Raises:
        ManifestError: something else is written.
    """
    made = dict(default)
    for item in filter(None, text.split(",")):
        resource, equals, quantity = item.partition("=")
        if not equals or not resource:
            raise ManifestError(f"{item!r}: write resource=quantity, as in memory=64Mi")
        made[resource] = quantity
    return {resource: quantity for resource, quantity in made.items() if quantity}
