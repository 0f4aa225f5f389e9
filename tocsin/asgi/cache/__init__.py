"""A cache of answers and of functions' results, in the process's memory or in a Redis that processes share.

    cache = Cache()                                     # or Cache(store=Redis("redis://cache:6379/0"))
    application = protect(app, cache=cache.responses({"/campaigns": Rule(ttl=5, stale=30, tags=("campaigns",))}))

    @cache.cached(ttl=60, missing=5, tags=("prices",))
    async def price(article: int) -> Decimal | None: ...

    @cache.cached(ttl=60)
    def rate(currency: str) -> Decimal: ...             # called by threads

    await cache.invalidate("campaigns")  # where something changes

Per user unless said otherwise: an answer to somebody who is signed in is kept for that somebody alone, and
`shared=True` is a decision of yours about one route. A request that carries a credential which no layer of ours has
proven is never answered from the cache, nor kept.

Of equal questions at once one is worked on and the others wait for its answer (single flight; with Redis, of all
processes), `patience` seconds at most and only while there may be something to share. Within `stale` seconds past `ttl`
the old answer is given at once and a new one made meanwhile. `missing` keeps 404s, 410s and None, which are not kept
otherwise. A function's result is handed to every caller as it is: don't change it.

In memory `most_bytes` bounds what is kept; what was not asked for longest goes first. Each process has its own:
`invalidate` reaches this one, and `ttl` bounds how old the others' answers are. In Redis `invalidate`, once awaited,
holds for all; what bounds it there is Redis' own `maxmemory`. What becomes of a Redis that is dead or slow: see shared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tocsin.asgi.cache.functions import Cache
from tocsin.asgi.cache.question import JSON
from tocsin.asgi.cache.responses import Responses
from tocsin.asgi.cache.rules import Rule
from tocsin.asgi.cache.store import Codec, Memory, Store

if TYPE_CHECKING:
    from tocsin.asgi.cache.shared import Redis

__all__ = ["JSON", "Cache", "Codec", "Memory", "Redis", "Responses", "Rule", "Store"]


def __getattr__(name: str) -> Any:
    if name == "Redis":  # for whoever uses it: the memory's users load nothing of it
        from tocsin.asgi.cache.shared import Redis

        return Redis
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
