"""Requests to the API: TLS from memory, the certificate's name, credentials, files that change, refusals. Linux only.

The transport under lightkube's client. Certificates never touch a disk: the root file system of a container is often
read-only, and OpenSSL takes client certificates from files alone.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from contextlib import ExitStack, suppress

import httpx2
import msgspec
from lightkube.models.meta_v1 import Status

from konnectivity import __version__
from konnectivity.kube import credentials
from konnectivity.kube.api_error import KubeError
from konnectivity.kube.kubeconfig import Access, Material
from konnectivity.net.error_texts import words_of
from konnectivity.runtime import logs
from konnectivity.tls.contexts import notice_truncation
from konnectivity.tls.memory_file import memory_file
from konnectivity.untrusted.numbers import parse_decimal

log = logs.get(__name__)
logging.getLogger("httpx2").setLevel(logging.WARNING)  # it has a line for each request

USER_AGENT = f"konnectivity-python/{__version__}"
CHECK_INTERVAL_S = 5.0
_LIMITS = httpx2.Limits(max_connections=100, max_keepalive_connections=10, keepalive_expiry=30.0)

_Signature = tuple[tuple[int, int, int], ...]


class Transport(httpx2.AsyncBaseTransport):
    """One connection pool, replaced when the files it was made from change.

    Raises:
        KubeError: from the start, and from requests: a file or a credential cannot be used. From requests: the API says
            no. (What lightkube makes of a refusal that is no `Status` is an error without its code.)

    """

    def __init__(self, access: Access) -> None:
        self._access = access
        self._credentials = credentials.of(access)
        self._files = [part.path for part in (access.ca, access.certificate, access.key) if part and part.path]
        self._signature = self._look()
        self._pool = _pool(access)
        self._retired: httpx2.AsyncHTTPTransport | None = None  # requests may still be under way in it
        self._check_due = 0.0

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        request.headers["User-Agent"] = USER_AGENT
        if self._access.server_name:
            request.extensions = {**request.extensions, "sni_hostname": self._access.server_name}
        response = await self._send(request)
        if response.status_code == httpx2.codes.UNAUTHORIZED and self._credentials.rejected(
            request.headers.get("Authorization", "")
        ):
            await response.aclose()
            response = await self._send(request)
        if not response.is_success:
            raise await _refusal(self._access.server, response)
        return response

    async def aclose(self) -> None:
        await self._pool.aclose()
        if self._retired is not None:
            await self._retired.aclose()

    async def _send(self, request: httpx2.Request) -> httpx2.Response:
        header = await self._credentials.header()
        if header:
            request.headers["Authorization"] = header
        await self._reload()
        return await self._pool.handle_async_request(request)

    async def _reload(self) -> None:
        now = asyncio.get_running_loop().time()
        if not self._files or now < self._check_due:
            return
        self._check_due = now + CHECK_INTERVAL_S
        signature = self._look()
        if signature == self._signature:
            return
        self._signature = signature
        try:
            pool = _pool(self._access)
        except KubeError as error:
            log.warning("Changed files for the Kubernetes API cannot be used, keeping the old ones", reason=str(error))
            return
        old, self._retired, self._pool = self._retired, self._pool, pool
        log.info("Changed files for the Kubernetes API are in use", source=self._access.source)
        if old is not None:
            await old.aclose()

    def _look(self) -> _Signature:
        found = []
        for path in self._files:
            with suppress(OSError):
                status = os.stat(path)
                found.append((status.st_ino, status.st_mtime_ns, status.st_size))
        return tuple(found)


async def _refusal(server: str, response: httpx2.Response) -> KubeError:
    reason, said = response.reason_phrase, ""
    with suppress(msgspec.MsgspecError, UnicodeDecodeError):
        status = msgspec.json.decode(await response.aread(), type=Status)
        reason, said = status.reason or reason, status.message or ""
    await response.aclose()
    wait = response.headers.get("Retry-After", "")
    text = f"{server}: {response.status_code} {reason}" + (f": {said}" if said else "")
    return KubeError(text, response.status_code, reason, float(parse_decimal(wait, most=10**9) or 0))


def _pool(access: Access) -> httpx2.AsyncHTTPTransport:
    try:
        return httpx2.AsyncHTTPTransport(
            verify=tls_context(access), trust_env=False, limits=_LIMITS, proxy=access.proxy or None
        )
    except (ValueError, ImportError, httpx2.InvalidURL) as error:
        raise KubeError(f"{access.source}: proxy-url {access.proxy!r}: {error}") from error


def tls_context(access: Access) -> ssl.SSLContext:
    """Raises:
    KubeError: a certificate, a key or a CA bundle is none.

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
