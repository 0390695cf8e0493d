"""TLS context for the Kubernetes API, made from a kubeconfig's certificates. Linux only.

Certificates stay in memory: the root file system of a container is often read-only, and OpenSSL takes client
certificates from files alone.
"""

from __future__ import annotations

import ssl
from contextlib import ExitStack

from konnectivity.kube.api_access import Access, Material
from konnectivity.kube.api_error import KubeError
from konnectivity.net.error_texts import words_of
from konnectivity.tls.contexts import notice_truncation
from konnectivity.tls.memory_file import memory_file


def tls_context(access: Access) -> ssl.SSLContext:
    """Return the client context that trusts and shows what an access says.

    Raises:
        KubeError: a certificate, a key or a CA bundle cannot be used.

    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False
    notice_truncation(context)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if access.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif access.ca is not None:
        _load_ca(context, access.ca)
    else:
        context.load_default_certs()
    if access.certificate is not None and access.key is not None:
        _load_pair(context, access.certificate, access.key)
    return context


def proxy_context() -> ssl.SSLContext:
    """Return the context for a proxy that is reached by TLS: it trusts the system's authorities."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    notice_truncation(context)
    return context


def _load_ca(context: ssl.SSLContext, ca: Material) -> None:
    try:
        context.load_verify_locations(cadata=ca.read().decode("ascii", errors="ignore"))
    except (ssl.SSLError, ValueError) as error:
        raise KubeError(f"cannot use {_name(ca)}: {_text(error)}") from error


def _load_pair(context: ssl.SSLContext, certificate: Material, key: Material) -> None:
    with ExitStack() as stack:
        contents = (certificate.read(), key.read())
        try:
            certificate_path, key_path = (stack.enter_context(memory_file(content)) for content in contents)
        except OSError as error:
            text = "a client certificate for the Kubernetes API needs /proc, which is not mounted here"
            raise KubeError(text) from error
        try:
            context.load_cert_chain(certificate_path, key_path, password=lambda: b"")
        except (ssl.SSLError, ValueError) as error:
            raise KubeError(f"cannot use {_name(certificate)} with {_name(key)}: {_text(error)}") from error


def _name(material: Material) -> str:
    return f"{material.what} {material.path}".rstrip()


def _text(error: Exception) -> str:
    return getattr(error, "reason", None) or words_of(error)
