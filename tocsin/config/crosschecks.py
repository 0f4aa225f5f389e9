"""What no single key can be wrong about: names that must exist, loops, things that work and are not meant.

A check is a function of (the tree as it was written, the configuration) that yields problems; `CHECKS` is all of them.
The configuration is None while parts of it can't be read; names are therefore looked up in the tree, so that an entry
with a finding of its own isn't also reported as missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from tocsin.config.document import KeyPath
from tocsin.config.routing import BROADCASTS
from tocsin.config.schema import Config
from tocsin.config.wording import nearest

CANARY: Final = "tocsin-canary"
"""As in tocsin.runtime.canary, which a check should not have to import."""
_SET_BY_RUNTIME: Final = ("job",)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something about the key at `path`."""

    path: KeyPath
    what: str
    mend: str = ""
    is_warning: bool = False


Check = Callable[[dict[str, Any], Config | None], Iterator[Problem]]


def names_are_unique(tree: dict[str, Any], config: Config | None) -> Iterator[Problem]:
    """A name is the `job` label, how routes call a notifier, or a window's in a reason: two can't share it."""
    for section in ("collectors", "notifiers", "windows"):
        seen: dict[str, int] = {}
        for index, entry in _entries(tree, section):
            name = entry.get("name")
            if not isinstance(name, str):
                continue
            if name in seen:
                what = f"two {section} are called '{name}' ({section}[{seen[name]}] and {section}[{index}])"
                yield Problem(path=(section, index, "name"), what=what, mend="give one of them another name")
            seen.setdefault(name, index)


def routes_name_notifiers(tree: dict[str, Any], config: Config | None) -> Iterator[Problem]:
    """Whom a route notifies must exist."""
    known = _notifier_names(tree)
    for path, route in _routes(tree):
        for at, name in _names(route.get("notify"), (*path, "notify")):
            if name not in known:
                what = f"{_route_title(path)} notifies '{name}', which is no notifier"
                yield Problem(path=at, what=what, mend=nearest(name, known, "notifiers"))


def escalations_name_somebody(tree: dict[str, Any], config: Config | None) -> Iterator[Problem]:
    """Whom a route escalates to, or mentions, is a notifier or a name in a notifier's `mentions`."""
    contacts = contact_names(tree)
    for path, route in _routes(tree):
        steps = route.get("escalate")
        for step_path, step in _items(steps, (*path, "escalate")):
            known = (*_notifier_names(tree), *contacts)
            for at, name in _names(step.get("to") if isinstance(step, dict) else None, (*step_path, "to")):
                if name not in known:
                    what = f"{_route_title(path)} escalates to '{name}', who is neither a notifier nor a contact"
                    mend = nearest(name, known, "names") + "; contacts are the names in a notifier's `mentions`"
                    yield Problem(path=at, what=what, mend=mend)
        for at, name in _names(route.get("mentions"), (*path, "mentions")):
            if name not in (*contacts, *BROADCASTS):
                mend = nearest(name, (*contacts, *BROADCASTS), "names")
                yield Problem(
                    path=at, what=f"{_route_title(path)} mentions '{name}', whom no notifier knows", mend=mend
                )


def routes_tell_somebody(tree: dict[str, Any], config: Config | None) -> Iterator[Problem]:
    """A route that names nobody hides its alerts; nobody on purpose is `notify: []`."""
    for path, route in _routes(tree):
        is_top = len(path) == 2
        if is_top and "notify" not in route and not _all_nested_notify(route):
            what = f"{_route_title(path)} tells nobody"
            yield Problem(path=path, what=what, mend="add `notify: [NOTIFIER]`, or `notify: []` if that is meant")


def routes_are_reached(tree: dict[str, Any], config: Config | None) -> Iterator[Problem]:
    """A route below one that takes everything is never tried."""
    catch_all: int | None = None
    for index, route in _entries(tree, "routes"):
        if catch_all is not None:
            what = f"is never tried: routes[{catch_all}] takes every alert"
            mend = f"move routes[{catch_all}] to the end, or give it `continue: true`"
            yield Problem(path=("routes", index), what=f"routes[{index}] {what}", mend=mend, is_warning=True)
        elif not route.get("match") and not route.get("continue"):
            catch_all = index


def heartbeat_asks_notifiers(tree: dict[str, Any], config: Config | None) -> Iterator[Problem]:
    """Whom the heartbeat goes through must exist, and the canary's name is its own."""
    heartbeat, known = tree.get("heartbeat"), _notifier_names(tree)
    through = heartbeat.get("through") if isinstance(heartbeat, dict) else None
    for at, name in _names(through, ("heartbeat", "through")):
        if name not in known:
            what = f"heartbeat goes through '{name}', which is no notifier"
            yield Problem(path=at, what=what, mend=nearest(name, known, "notifiers"))
    for section in ("collectors", "notifiers"):
        for index, entry in _entries(tree, section):
            if entry.get("name") == CANARY:
                what = f"'{CANARY}' is the name of the heartbeat's canary"
                yield Problem(path=(section, index, "name"), what=what, mend="give it another name")


def failovers_end(tree: dict[str, Any], config: Config | None) -> Iterator[Problem]:
    """A fail-over is another notifier, and following them comes to an end."""
    to = {entry["name"]: entry.get("failover") for _, entry in _entries(tree, "notifiers") if _is_named(entry)}
    for index, entry in _entries(tree, "notifiers"):
        name, failover = entry.get("name"), entry.get("failover")
        path: KeyPath = ("notifiers", index, "failover")
        if not isinstance(failover, str) or not isinstance(name, str):
            continue
        if failover not in to:
            others = tuple(other for other in to if other != name)
            what = f"notifiers[{name}] fails over to '{failover}', which is no notifier"
            yield Problem(path=path, what=what, mend=nearest(failover, others, "notifiers"))
        elif failover == name:
            yield Problem(path=path, what=f"notifiers[{name}] fails over to itself", mend="name another, or remove it")
        elif (loop := _loop(name, to)) and name == min(loop):
            way = " → ".join([*loop, loop[0]])
            yield Problem(path=path, what=f"fail-over goes in a circle: {way}", mend="let the last one have none")


def labels_are_usable(tree: dict[str, Any], config: Config | None) -> Iterator[Problem]:
    """What a collector adds to its series must be label names, and not those that the daemon sets."""
    for index, entry in _entries(tree, "collectors"):
        labels = entry.get("labels")
        for name in labels if isinstance(labels, dict) else ():
            path: KeyPath = ("collectors", index, "labels", name)
            if name in _SET_BY_RUNTIME:
                mend = "remove it, or give the collector that name"
                yield Problem(path=path, what=f"the label '{name}' is the collector's name, set by Tocsin", mend=mend)
            elif not str(name).isidentifier() or not str(name).isascii() or str(name).startswith("__"):
                mend = "use letters, digits and _, not beginning with a digit or __"
                yield Problem(path=path, what=f"'{name}' is not a label name", mend=mend)


def something_to_do(tree: dict[str, Any], config: Config | None) -> Iterator[Problem]:
    """A daemon that watches nothing, or tells nobody, is probably not finished."""
    for section, lack in (("collectors", "nothing is watched"), ("notifiers", "nobody is told")):
        if not tree.get(section):
            mend = "see `tocsin check --example`"
            yield Problem(path=(section,), what=f"no {section}: {lack}", mend=mend, is_warning=True)
    if tree.get("notifiers") and not tree.get("routes"):
        names = _notifier_names(tree)
        what = f"no routes: every alert goes to the first notifier{f', {names[0]}' if names else ''}"
        yield Problem(path=("routes",), what=what, mend="add routes by severity", is_warning=True)


def notifiers_are_used(tree: dict[str, Any], config: Config | None) -> Iterator[Problem]:
    """A notifier that no route, escalation or fail-over names gets nothing."""
    if not tree.get("routes"):
        return
    used = {name for path, route in _routes(tree) for _, name in _names(route.get("notify"), path)}
    for path, route in _routes(tree):
        for _, step in _items(route.get("escalate"), path):
            used |= {name for _, name in _names(step.get("to") if isinstance(step, dict) else None, path)}
    used |= {str(entry.get("failover")) for _, entry in _entries(tree, "notifiers")}
    for index, entry in _entries(tree, "notifiers"):
        if _is_named(entry) and entry["name"] not in used:
            what = f"no route, escalation or fail-over names the notifier '{entry['name']}'"
            yield Problem(path=("notifiers", index), what=what, mend="name it in a route's `notify`", is_warning=True)


def listening_is_meant(tree: dict[str, Any], config: Config | None) -> Iterator[Problem]:
    """The port speaks plain HTTP, and without Supabase the console opens on loopback only."""
    if config is None or config.web.is_loopback:
        return
    path: KeyPath = ("web", "listen")
    what = f"web.listen {config.web.listen} is reached from other machines, in plain HTTP"
    mend = "listen on 127.0.0.1 behind a proxy that does TLS"
    yield Problem(path=path, what=what, mend=mend, is_warning=True)
    if config.web.supabase is None:
        what = "without web.supabase the console opens by a one-time link, which works from this machine only"
        yield Problem(path=path, what=what, mend="set web.supabase.url to sign in from elsewhere", is_warning=True)


def people_can_sign_in(tree: dict[str, Any], config: Config | None) -> Iterator[Problem]:
    """What of the console's sign-in does not work, or less well than it might."""
    if config is None:
        return
    supabase = config.web.supabase
    if supabase is None:
        return
    path: KeyPath = ("web", "supabase")
    if supabase.api_key is None:
        what = "without an API key nobody signs in to the console, and ended sessions and bans are not noticed"
        yield Problem(path=path, what=what, mend="set web.supabase.api_key_env", is_warning=True)
    elif supabase.api_key.get_secret_value().startswith("sb_publishable_"):
        what = "with a publishable key all sign-ins count as this host's at Supabase, its limits included"
        mend = "use a secret key (sb_secret_…), so that the browser's address is passed on"
        yield Problem(path=path, what=what, mend=mend, is_warning=True)
    if not config.web.is_loopback and not (config.external_url or "").startswith("https:"):
        what = "browsers keep the console's cookies on https only, so nobody can sign in from another machine"
        mend = "put a proxy with TLS in front, and its address as external_url: https://…"
        yield Problem(path=("web", "listen"), what=what, mend=mend, is_warning=True)


CHECKS: Final[tuple[Check, ...]] = (
    names_are_unique,
    routes_name_notifiers,
    escalations_name_somebody,
    routes_tell_somebody,
    routes_are_reached,
    heartbeat_asks_notifiers,
    failovers_end,
    labels_are_usable,
    something_to_do,
    notifiers_are_used,
    listening_is_meant,
    people_can_sign_in,
)


def contact_names(tree: dict[str, Any]) -> tuple[str, ...]:
    """The names that some notifier's `mentions` knows."""
    names: dict[str, None] = {}
    for _, entry in _entries(tree, "notifiers"):
        if isinstance(entry.get("mentions"), dict):
            names.update(dict.fromkeys(entry["mentions"]))
    return tuple(names)


def _entries(tree: dict[str, Any], section: str) -> Iterator[tuple[int, dict[str, Any]]]:
    entries = tree.get(section)
    for index, entry in enumerate(entries if isinstance(entries, list) else ()):
        if isinstance(entry, dict):
            yield index, entry


def _routes(tree: dict[str, Any], around: KeyPath = ()) -> Iterator[tuple[KeyPath, dict[str, Any]]]:
    for index, route in _entries(tree, "routes"):
        path = (*around, "routes", index)
        yield path, route
        yield from _routes(route, path)


def _items(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    """One, or a list of them."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield (*path, index), item
    elif value is not None:
        yield path, value


def _names(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    for at, item in _items(value, path):
        if isinstance(item, str):
            yield at, item


def _notifier_names(tree: dict[str, Any]) -> tuple[str, ...]:
    return tuple(entry["name"] for _, entry in _entries(tree, "notifiers") if _is_named(entry))


def _is_named(entry: dict[str, Any]) -> bool:
    return isinstance(entry.get("name"), str)


def _route_title(path: KeyPath) -> str:
    return ".".join(f"routes[{index}]" for index in path[1::2])


def _all_nested_notify(route: dict[str, Any]) -> bool:
    """Never true for a route that may take an alert itself: the parent takes what no nested route matches."""
    nested = route.get("routes")
    return isinstance(nested, list) and any(
        isinstance(inner, dict) and not inner.get("match") and "notify" in inner for inner in nested
    )


def _loop(start: str, to: dict[str, Any]) -> list[str]:
    """The circle that `start` is part of, from it on; empty when its way ends or joins another circle."""
    way = [start]
    while isinstance(following := to.get(way[-1]), str) and following in to:
        if following == start:
            return way
        if following in way:
            return []
        way.append(following)
    return []
