"""Files that the command reads, and checks of options that must be given together."""

from __future__ import annotations

import argparse
import re
import ssl
import sys
from dataclasses import replace

from konnectivity.net.error_texts import words_of
from konnectivity.tool.manifests import tenant_control_plane
from konnectivity.tool.manifests.object_names import ManifestError, Object
from konnectivity.untrusted.file_content import read_any

MOST_VALUES = 100_000
_QUANTITY = re.compile(r"[0-9]+(?:\.[0-9]*)?(?:[kMGTPEmun]|[KMGTPE]i|e[0-9]+)?", re.ASCII)


class Unusable(Exception):
    """Input that cannot be read, or options that contradict each other."""


def only(arguments: argparse.Namespace, because: str, *allowed: str) -> None:
    """Refuse every option outside of the allowed ones, since it would have no effect.

    Raises:
        Unusable: an option outside of the allowed ones was given.

    """
    ours = ("run", "make", "parser", "output")
    none(arguments, because, *(name for name in vars(arguments) if name not in (*ours, *allowed)))


def none(arguments: argparse.Namespace, because: str, *names: str) -> None:
    """Refuse the named options, since they would have no effect.

    Raises:
        Unusable: one of the named options was given.

    """
    parser: argparse.ArgumentParser = arguments.parser
    for name in names:
        if getattr(arguments, name) != parser.get_default(name):
            raise Unusable(f"--{name.replace('_', '-')} has no effect {because}; leave it out")


def text_of(path: str) -> str:
    """Return the text of a file, or of standard input for `-`.

    Raises:
        Unusable: the file cannot be read.

    """
    try:
        return sys.stdin.read() if path == "-" else read_any(path).decode()
    except OSError as error:
        raise Unusable(f"cannot read {path}: {words_of(error)}") from None
    except UnicodeDecodeError:
        raise Unusable(f"cannot read {path}: it is not text in UTF-8") from None


def manifest(path: str) -> Object:
    """Return the one Kubernetes object in a file.

    Raises:
        Unusable: the file has no object, several, or values that Kubernetes does not know.

    """
    import yaml  # imported late: other commands start faster without it

    class Loader(yaml.SafeLoader):
        """YAML loader that reads timestamps as strings, as Kubernetes does."""

        yaml_implicit_resolvers = {  # noqa: RUF012, its base has it there
            first: [each for each in found if each[0] != "tag:yaml.org,2002:timestamp"]
            for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

    try:
        found = [each for each in yaml.load_all(text_of(path), Loader) if each is not None]
        _check_plain(found, path)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Unusable(f"{path} is not YAML: {error}") from None
    if len(found) != 1 or not isinstance(found[0], dict):
        raise Unusable(f"{path} must hold one object, not {len(found)} documents" if found else f"{path} is empty")
    return found[0]


def _check_plain(top: object, path: str) -> None:
    """Check that a YAML document has JSON's types only, and that its anchors do not expand beyond the size bound."""
    waiting, seen = [top], 0
    while waiting:
        value = waiting.pop()
        seen += 1
        if seen > MOST_VALUES:
            raise Unusable(f"{path} holds more than {MOST_VALUES} values, or itself")
        if isinstance(value, dict | list):
            waiting += [*value, *value.values()] if isinstance(value, dict) else value
        elif not isinstance(value, str | int | float | None):
            raise Unusable(f"{path} holds a {type(value).__name__}, which Kubernetes does not know")


def tenant_of(arguments: argparse.Namespace) -> tenant_control_plane.Tenant:
    """Return the tenant control plane; with --without-addon and no addon in it, with the addon's defaults.

    Raises:
        Unusable: the file cannot be read.
        ManifestError: the file holds another object, or breaks one of Kamaji's rules.

    """
    found = tenant_control_plane.parse(manifest(arguments.tenant_file))
    if found.addon is None and getattr(arguments, "without_addon", False):
        return replace(found, addon=tenant_control_plane.Addon())
    return found


def certificates(path: str) -> str:
    """Return the PEM certificates of a file, without anything else in the file.

    Raises:
        Unusable: the file has no certificate, or an incomplete one.

    """
    from konnectivity.tls import x509_fields  # imported late: other commands start faster without it

    try:
        found = [ssl.DER_cert_to_PEM_cert(each) for each in x509_fields.chain(text_of(path).encode())]
    except ValueError as error:
        raise Unusable(f"{path}: {error}") from None
    if not found:
        raise Unusable(f"{path} holds no certificate")
    return "".join(found)


def quantities(text: str, default: Object) -> Object:
    """Return the default quantities updated by `cpu=20m,memory=64Mi`; an empty quantity removes the key.

    Raises:
        ManifestError: the text has another form.

    """
    made = dict(default)
    for item in filter(None, text.split(",")):
        resource, equals, quantity = item.partition("=")
        if not equals or not resource:
            raise ManifestError(f"{item!r}: write resource=quantity, as in memory=64Mi")
        if quantity and not _QUANTITY.fullmatch(quantity):
            raise ManifestError(f"{item!r}: {quantity!r} is not a quantity of Kubernetes, such as 64Mi, 0.5 or 100m")
        made[resource] = quantity
    return {resource: quantity for resource, quantity in made.items() if quantity}
