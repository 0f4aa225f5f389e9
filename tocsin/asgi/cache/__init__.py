"""A cache of answers and of functions' results, in the process's memory.

    cache = Cache()
    application = protect(app, cache=cache.responses({"/campaigns": Rule(ttl=5, stale=30, tags=("campaigns",))}))

    @cache.cached(ttl=60, missing=5, tags=("prices",))
    async def price(article: int) -> Decimal | None: ...

    cache.invalidate("campaigns")        # where something changes

Per user unless said otherwise: an answer to somebody who is signed in is kept for that somebody alone, and
`shared=True` is a decision of yours about one route. A request that carries a credential which no layer of ours has
proven is never answered from the cache, nor kept.

Of equal questions at once one is worked on and the others wait for its answer (single flight). Within `stale` seconds
past `ttl` the old answer is given at once and a new one made meanwhile. `missing` keeps 404s, 410s and None, which are
not kept otherwise. `most_bytes` bounds the memory; what was not asked for longest goes first. A function's result is
handed to every caller as it is: don't change it. Each process has its own cache: `invalidate` reaches this one, and
`ttl` bounds how old the others' answers are.
"""

from __future__ import annotations

from tocsin.asgi.cache.functions import Cache
from tocsin.asgi.cache.responses import Responses, Rule

__all__ = ["Cache", "Responses", "Rule"]
