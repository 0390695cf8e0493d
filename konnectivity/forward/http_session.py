"""HTTP of one client of a forward proxy: requests one after the other, each a tunnel or a proxied exchange.

Owns the connection to the destination of the last request in absolute form, which the next request to the same
destination uses again. Does not know how messages are written: `proxy_requests` and `proxied_exchange` do.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import h11

from konnectivity.client.byte_pump import CHUNK, HALF_CLOSED_S, Streams, reset
from konnectivity.errors import DialError
from konnectivity.forward import failure_answers
from konnectivity.forward.client_session import ProxyClient, SessionSettings, end_gently
from konnectivity.forward.password_guesses import TooManyGuesses
from konnectivity.forward.proxied_exchange import ProxiedExchange, ResponseError
from konnectivity.forward.proxy_requests import ProxyRequest, RequestError, parse_request, plain_connect, refused_head
from konnectivity.http1.message_heads import HeadError, HeadFault, Heads
from konnectivity.runtime import task_guard

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
MAX_LINES = 200  # lines of one head
MAX_AHEAD = 64 * 1024  # bytes of further requests that are read while one is answered


class HttpSession:
    """HTTP of one client.

    Args:
        client: the client.
        settings: what all clients share.

    """

    def __init__(self, client: ProxyClient, settings: SessionSettings) -> None:
        self._client = client
        self._reader = client.reader
        self._writer = client.writer
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._target: Streams | None = None
        self._destination = ""  # of `_target`
        self._answering = False  # whether a part of a response was sent

    async def serve(self, first: bytes) -> None:
        """Answer requests until one of both sides ends; `first` are bytes that were read before."""
        heads = Heads(self._settings.head_bytes, first, MAX_LINES)
        try:
            while await self._serve_one(heads):
                pass
        except (RequestError, ResponseError, DialError) as error:
            await self._refuse(error)
        finally:
            self._leave_target()

    async def _serve_one(self, heads: Heads) -> bool:
        """Answer one request; return whether another one may follow."""
        head = await self._next_head(heads)
        if head is None:
            return False
        parser: h11.Connection | None = None
        request = plain_connect(head)
        if request is None:
            parser = h11.Connection(h11.SERVER, max_incomplete_event_size=self._settings.head_bytes)
            request = parse_request(head, parser)
        self._check_user(request)
        if parser is None or request.is_connect:
            await self._tunnel(request.destination, heads.rest())
            return False
        exchange = ProxiedExchange(parser, request, self._settings.head_bytes)
        self._answering = False
        ahead = await self._exchange(request, exchange, heads.rest())
        self._answering = False
        if not exchange.target_stays:
            self._leave_target()
        if not exchange.client_stays or self._settings.draining:
            await end_gently(self._reader, self._writer, b"")
            return False
        heads.feed(exchange.rest() + ahead)
        return True

    async def _tunnel(self, destination: str, early: bytes) -> None:
        dial = self._settings.dialer.join(destination, self._client, ESTABLISHED, early)
        await (await self._settings.counted("connect", destination, dial))

    async def _next_head(self, heads: Heads) -> bytes | None:
        """Return the next head; None at the end of the client's data, or when no request follows in time."""
        due = self._loop.time() + self._settings.head_s  # of the head from its first byte on
        began = len(heads) > 0
        try:
            while (head := heads.take()) is None:
                data = await (self._more(due) if began else self._begin())
                if not data:
                    return None
                if not began:
                    began, due = True, self._loop.time() + self._settings.head_s
                heads.feed(data)
        except HeadError as error:
            if error.fault is HeadFault.TOO_LARGE:
                self._settings.reached["forward_head"] += 1
            raise refused_head(error) from error
        except TimeoutError:
            if began:
                self._settings.reached["forward_head_time"] += 1
                raise RequestError(408, "the request was not complete in time") from None
            return None
        return head

    async def _begin(self) -> bytes:
        """Return the first bytes of the next request; empty at the end of the client's data."""
        with self._settings.idling(self._writer):
            return await self._more(self._loop.time() + self._settings.idle_s)

    async def _more(self, due: float) -> bytes:
        async with asyncio.timeout_at(due):
            return await self._reader.read(CHUNK)

    def _check_user(self, request: ProxyRequest) -> None:
        credentials = self._settings.credentials
        if credentials is None:
            return
        try:
            user = credentials.user_of_header(request.authorization, self._client.source)
        except TooManyGuesses as error:
            self._settings.too_many_guesses(self._client)
            raise RequestError(407, str(error)) from error
        if user is None:
            raise RequestError(407, "this proxy wants a user and password")
        self._client.user = user

    # ---- requests in absolute form --------------------------------------------------------------------------------

    async def _exchange(self, request: ProxyRequest, exchange: ProxiedExchange, early: bytes) -> bytes:
        """Pass on one request and its response; return bytes of the client behind the request."""
        reused = await self._connect(request)
        data = exchange.begin(early)
        if await self._attempt(exchange, data, retry=reused and request.is_repeatable):
            return self._ahead
        self._leave_target()  # the destination had closed the connection of before
        await self._connect(request)
        await self._attempt(exchange, exchange.again(), retry=False)
        return self._ahead

    async def _attempt(self, exchange: ProxiedExchange, data: bytes, retry: bool) -> bool:
        """Send a request and pass on the response; return False if the destination closed before a response."""
        assert self._target is not None
        self._ahead = b""
        self._failure: RequestError | None = None
        upload = task_guard.start(self._settings.tasks, lambda: self._pass_request(exchange), "forward")
        try:
            self._target[1].write(data)
            await self._pass_response(exchange)
        except (ResponseError, OSError, RuntimeError) as error:
            if retry and not exchange.response_begun and not self._writer.transport.is_closing():
                return False
            if self._failure is not None:
                raise self._failure from error
            if isinstance(error, ResponseError):
                raise
            raise ResponseError("the connection to the destination broke") from error
        finally:
            upload.cancel()
            with suppress(asyncio.CancelledError):
                await upload
        return True

    async def _connect(self, request: ProxyRequest) -> bool:
        """Have a connection to the destination; return whether it was used before."""
        if self._target is not None:
            reader, writer = self._target
            if self._destination == request.destination and not reader.at_eof() and not writer.is_closing():
                return True
            self._leave_target()
        dial = self._settings.dialer.connect(request.destination, self._client)
        self._target = await self._settings.counted("http", request.destination, dial)
        self._destination = request.destination
        return False

    async def _pass_response(self, exchange: ProxiedExchange) -> None:
        assert self._target is not None
        reader = self._target[0]
        while not exchange.response_done:
            try:
                async with asyncio.timeout(self._settings.idle_s):
                    data = await reader.read(CHUNK)
            except TimeoutError:
                raise RequestError(504, "the destination sent nothing in time") from None
            found = exchange.from_target(data)
            if found:
                self._answering = exchange.response_begun
                self._writer.write(found)
                await self._writer.drain()

    async def _pass_request(self, exchange: ProxiedExchange) -> None:
        """Pass on the body; then read on, to notice that the client leaves."""
        assert self._target is not None
        target = self._target[1]
        try:
            while len(self._ahead) < MAX_AHEAD:
                data = await self._reader.read(CHUNK)
                if not data:
                    if not exchange.request_done:
                        raise RequestError(400, "the request ended too early")
                    await asyncio.sleep(HALF_CLOSED_S)  # the client may have ended one direction only
                    reset(target)
                    return
                if exchange.request_done:
                    self._ahead += data
                    continue
                target.write(exchange.from_client(data))
                await target.drain()
        except RequestError as error:
            self._failure = error
            reset(target)
        except (OSError, RuntimeError):
            reset(target)

    # ---- ends -----------------------------------------------------------------------------------------------------

    async def _refuse(self, error: RequestError | ResponseError | DialError) -> None:
        """Answer the error; after a part of a response, reset the connection instead."""
        if self._answering:
            reset(self._writer)
            return
        status = failure_answers.BAD_GATEWAY
        if isinstance(error, RequestError):
            status = error.status
        elif isinstance(error, DialError):
            status = failure_answers.status_of(error)
        await end_gently(self._reader, self._writer, failure_answers.http_answer(status, str(error)))

    def _leave_target(self) -> None:
        if self._target is not None:
            self._target[1].close()
            self._target = None
