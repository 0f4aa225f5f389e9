"""The configuration as the incidents' policy takes it: routes, destinations, contacts."""

from __future__ import annotations

from tocsin.config.routing import mention
from tocsin.config.schema import Config
from tocsin.incidents.book import Plan
from tocsin.incidents.routes import Route, Router
from tocsin.incidents.told import Budget, Destination
from tocsin.model import Mention
from tocsin.ports import NotifierSpec
from tocsin.runtime import plugins
from tocsin.runtime.plugins import Catalogue


def router_of(config: Config) -> Router:
    """The routes in force. What none of them takes goes to the first notifier, so that nothing is told to nobody."""
    first = tuple(notifier.name for notifier in config.notifiers[:1])
    routes = [route.route(config.daily_digest, config.timezone) for route in config.routes]
    return Router(routes, fallback=Route(notify=first))


def plan_of(config: Config, notifiers: Catalogue[NotifierSpec] | None = None) -> Plan:
    """All that policy needs of `config`."""
    catalogue = plugins.notifiers() if notifiers is None else notifiers
    destinations = {
        settings.name: Destination(
            name=settings.name,
            edits=catalogue.find(settings.kind).edits,
            failover=settings.failover,
            budget=Budget(**settings.budget.model_dump()),
        )
        for settings in config.notifiers
    }
    return Plan(
        router=router_of(config),
        destinations=destinations,
        contacts=contacts_of(config),
        windows=tuple(window.window(config.timezone) for window in config.windows),
        dependencies=tuple(each.dependency() for each in config.dependencies),
    )


def contacts_of(config: Config) -> dict[str, tuple[Mention, ...]]:
    """Every name that some notifier's `mentions` knows; which person that is, each notifier says for itself."""
    names: dict[str, None] = {}
    for settings in config.notifiers:
        known = getattr(settings, "mentions", None)
        if isinstance(known, dict):
            names.update(dict.fromkeys(known))
    return {name: (mention(name),) for name in names}
