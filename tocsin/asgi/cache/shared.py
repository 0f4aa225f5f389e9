"""A cache that processes share: Redis (or Valkey), by redis-py, which is imported here alone: `tocsin[redis]`.

    cache = Cache(store=Redis("redis://cache:6379/0"))

What holds, whatever becomes of Redis:

    never an error      dead or slow is a miss: every question ends after `within` seconds, and after one that failed
                        nobody asks for `rest` seconds; counted as outcome `unreachable`
    never another's     an entry says what it is the answer to, and is compared; its name in Redis is a hash
    never too old       ages are Redis' own expiry, not the clocks of machines. A tag has a random token, and an entry
                        the tokens of when its work began: where one has changed or is gone (evicted), it is void
    one at work         who leads has a key with a token of its own and an end; the others wait for the entry, at most
                        as long as the lease lasts, then do the work themselves

A change that can't be told to Redis is owed: this process tells it before it asks anything again. Others that still
reach Redis may give the old answer meanwhile, until its ttl.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import Awaitable, Callable, Hashable, Iterable
from typing import Any, Final, TypeVar

import orjson

from tocsin.asgi.cache.keys import canonical
from tocsin.asgi.cache.store import Away, Codec, Done, Entry, Found, Generations, Lease
from tocsin.model import Seconds

T = TypeVar("T")
_TOKENS: Final = 7 * 86400
"""Seconds a tag's token is kept: longer than an entry, and no harm when it goes."""
_RELEASE: Final = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end"
_AT_ONCE: Final = 500
_FIRST_LOOK: Final = 0.01
_LONGEST_LOOK: Final = 0.1


class Redis:
    """See above. `now` is a monotonic clock."""

    def __init__(
        self,
        url: str,
        *,
        namespace: str = "tocsin:cache",
        within: Seconds = 0.1,
        rest: Seconds = 1.0,
        lease: Seconds = 5.0,
        connections: int = 16,
        most_of_one: int = 1 << 20,
        now: Callable[[], Seconds] = time.monotonic,
    ) -> None:
        """`namespace` tells applications that share a Redis apart, and releases whose answers differ. `lease`: how long
        one process may be at work before others begin. `most_of_one`: bytes of an entry; a larger one is not kept, as
        it would not be there in time. Raises ValueError where redis-py is not installed."""
        try:
            from redis.asyncio import BlockingConnectionPool
            from redis.asyncio import Redis as Client
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff
            from redis.exceptions import RedisError, ResponseError
        except ImportError:
            raise ValueError("a cache in Redis needs redis-py: pip install 'tocsin[redis]'") from None

        def client() -> Any:
            pool = BlockingConnectionPool.from_url(
                url, max_connections=connections, timeout=within, socket_timeout=within,
                socket_connect_timeout=within, retry=Retry(NoBackoff(), 0), protocol=2,
            )  # fmt: skip
            return Client.from_pool(pool)

        client()  # a URL that is none is an error here
        self._make_client = client
        self._clients: dict[asyncio.AbstractEventLoop, Any] = {}
        self._errors: tuple[type[Exception], ...] = (RedisError, OSError, TimeoutError)
        self._answered: type[Exception] = ResponseError
        self._namespace, self._within, self._rest, self._lease, self._now = namespace, within, rest, lease, now
        self._most_of_one = most_of_one
        self._rests_until: Seconds = 0.0
        self._owed: dict[str, int] = {}
        self._telling: set[asyncio.Task[None]] = set()

    @property
    def _client(self) -> Any:
        """Of the running event loop: connections are its own. Those of one that was closed are gone."""
        loop = asyncio.get_running_loop()
        found = self._clients.get(loop)
        if found is None:
            for closed in [one for one in tuple(self._clients) if one.is_closed()]:
                self._clients.pop(closed, None)
            found = self._clients[loop] = self._make_client()
        return found

    async def find(self, key: Hashable, tags: tuple[str, ...], codec: Codec) -> Found:
        """See Store."""
        name = self._entry_name(key)

        async def ask() -> tuple[list[bytes | None], int]:
            async with self._client.pipeline(transaction=False) as pipe:
                pipe.mget([name, *map(self._tag_name, tags)])
                pipe.pttl(name)
                values, lasts = await pipe.execute()
            return values, lasts

        (packed, *tokens), lasts = await self._within_time(ask)
        generations = tuple(zip(tags, tokens, strict=True))
        return Found(entry=self._unpacked(name, packed, lasts / 1000, generations, codec), generations=generations)

    async def lead(
        self, key: Hashable, tags: tuple[str, ...], codec: Codec, *, patience: Seconds | None = None
    ) -> Entry | Lease | None:
        """See Store."""
        ends = self._now() + (self._lease if patience is None else patience)
        token, look = secrets.token_hex(8), _FIRST_LOOK
        try:
            while True:
                lease, entry = await self._taken(key, tags, codec, token)
                if entry is not None and self._now() < entry.until:
                    await self.end(key, lease)  # it was made since we looked
                    return entry
                if lease.token is not None:
                    return lease
                if self._now() >= ends:
                    return None if patience == 0 else lease
                await asyncio.sleep(look)
                look = min(look * 1.5, _LONGEST_LOOK)
        except Away:
            return Lease(generations=tuple((tag, None) for tag in tags))

    async def keep(self, key: Hashable, entry: Entry, codec: Codec) -> bool:
        """See Store."""
        packed = codec.pack(entry.value)
        if packed is None or len(packed) > self._most_of_one or any(token is None for _, token in entry.tags):
            return True  # nobody else gets it; who waited in this process may have it
        try:
            name = self._entry_name(key)
        except Away:
            return True
        fresh, lasts = entry.until - entry.made, entry.stale_until - entry.made
        head = orjson.dumps([name, [token.decode("latin-1") for _, token in entry.tags], fresh, lasts])

        async def write() -> list[bytes | None]:
            async with self._client.pipeline(transaction=False) as pipe:
                pipe.set(name, head + b"\n" + packed, px=max(1, int(lasts * 1000)))
                if entry.tags:
                    pipe.mget([self._tag_name(tag) for tag, _ in entry.tags])
                _, *tokens = await pipe.execute()
            return tokens[0] if tokens else []

        try:
            return await self._within_time(write) == [token for _, token in entry.tags]
        except Away:
            return True

    async def end(self, key: Hashable, lease: Lease) -> None:
        """See Store."""
        if lease.token is None:
            return
        try:
            lock = f"{self._entry_name(key)}:lock"
            await self._within_time(lambda: self._client.eval(_RELEASE, 1, lock, lease.token))
        except Away:
            return  # it ends by itself

    def invalidate(self, tags: Iterable[str]) -> Awaitable[None]:
        """See Store."""
        for tag in tags:
            self._owed[tag] = self._owed.get(tag, 0) + 1
        try:
            task = asyncio.get_running_loop().create_task(self._told(), name="tocsin.cache.invalidate")
        except RuntimeError:
            return Done()  # from a thread without a loop: told with the next question
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)
        return asyncio.shield(task)

    async def close(self) -> None:
        """See Store."""
        await asyncio.gather(*self._telling, return_exceptions=True)
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose(close_connection_pool=True)

    async def _told(self) -> None:
        try:
            await self._within_time(_nothing)
        except Away:
            return  # owed

    async def _within_time(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What `ask` gives. Raises Away."""
        if self._now() < self._rests_until:
            raise Away("Redis failed a moment ago")
        try:
            async with asyncio.timeout(self._within):
                if self._owed:
                    await self._pay()
                return await ask()
        except self._answered as error:
            raise Away(str(error)) from error  # it is there, and refused this one: full, or read-only
        except self._errors as error:
            self._rests_until = self._now() + self._rest
            raise Away(str(error)) from error

    async def _pay(self) -> None:
        """A token that is gone voids what bore it as a new one would, and a Redis that is full forgets it too. Some at
        a time: after a long outage each is paid for good, also where the time is not enough for all."""
        while self._owed:
            owed = dict(list(self._owed.items())[:_AT_ONCE])
            await self._client.delete(*map(self._tag_name, owed))
            for tag, times in owed.items():
                if self._owed.get(tag) == times:  # not once more meanwhile
                    del self._owed[tag]

    async def _taken(
        self, key: Hashable, tags: tuple[str, ...], codec: Codec, token: str
    ) -> tuple[Lease, Entry | None]:
        """The lease, its token None where another has it, with the tags' tokens, which are there from now on; and what
        is kept now."""
        name = self._entry_name(key)

        async def take() -> list[Any]:
            async with self._client.pipeline(transaction=False) as pipe:
                pipe.set(f"{name}:lock", token, nx=True, px=int(self._lease * 1000))
                for tag in tags:
                    pipe.set(self._tag_name(tag), secrets.token_hex(8), nx=True, ex=_TOKENS)
                pipe.mget([name, *map(self._tag_name, tags)])
                pipe.pttl(name)
                return list(await pipe.execute())

        got, *_, (packed, *tokens), lasts = await self._within_time(take)
        generations = tuple(zip(tags, tokens, strict=True))
        entry = self._unpacked(name, packed, lasts / 1000, generations, codec)
        return Lease(generations=generations, token=token if got else None), entry

    def _unpacked(
        self, name: str, packed: bytes | None, lasts: Seconds, generations: Generations, codec: Codec
    ) -> Entry | None:
        if packed is None or lasts <= 0:
            return None
        head, _, body = packed.partition(b"\n")
        try:
            whose, tokens, fresh, whole = orjson.loads(head)
            if whose != name or [token and token.decode("latin-1") for _, token in generations] != tokens:
                return None
            made, fresh, whole = self._now() - (float(whole) - lasts), float(fresh), float(whole)
            value = codec.unpack(body)
        except Exception:  # noqa: BLE001 (another version's, or anybody's, read by whatever codec)
            return None
        return Entry(
            value=value, size=len(packed), made=made, until=made + fresh, stale_until=made + whole, tags=generations
        )

    def _entry_name(self, key: Hashable) -> str:
        return f"{self._namespace}:1:{hashlib.sha256(canonical(key)).hexdigest()}"

    def _tag_name(self, tag: str) -> bytes:
        return f"{self._namespace}:tag:{tag}".encode("utf-8", "surrogatepass")  # a client's bytes may be in it


async def _nothing() -> None:
    """What is asked where only what is owed is to be told."""
