"""Plug-ins: which kinds of collectors and notifiers there are, found without a registry to edit.

A plug-in is a module (or package) directly in `collectors` or `notifiers` that names a `SPEC` or several (`SPECS`), or
an entry point of the group `tocsin.collectors` or `tocsin.notifiers` whose value is a spec or a module with one:

    [project.entry-points."tocsin.collectors"]
    redis = "acme_tocsin.redis:SPEC"

A kind is looked for where its name says (module `redis`, entry point `redis`) before everything else is imported, so
a daemon pays only for what it is configured to use. One that fails to import is told with its reason and takes no
other one down. Two that claim one kind are an error that names both: neither may win by chance.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from types import ModuleType
from typing import Final, Generic, TypeVar

from tocsin.errors import TocsinError
from tocsin.ports import CollectorSpec, NotifierSpec

OWNER: Final = "tocsin"

SpecT = TypeVar("SpecT", bound=CollectorSpec | NotifierSpec)


class PluginError(TocsinError):
    """The plug-in can't be used."""

    def __init__(self, message: str, *, mend: str = "") -> None:
        super().__init__(message)
        self.mend = mend


class UnknownKind(PluginError):
    """No plug-in is of this kind."""


class BrokenPlugin(PluginError):
    """The plug-in is there, but importing it failed or it names no usable spec."""


class DuplicateKind(PluginError):
    """Two plug-ins claim one kind."""


class ShadowedPackage(PluginError):
    """Another distribution's package hides Tocsin's own."""


@dataclass(frozen=True, kw_only=True)
class Plugin(Generic[SpecT]):
    """A spec and where it came from."""

    spec: SpecT
    module: str
    origin: str
    """For people: `collectors.redis`, or `entry point redis of acme-tocsin 1.2`."""


@dataclass(frozen=True, kw_only=True)
class _Place(Generic[SpecT]):
    """Where plug-ins may be: its name suggests the kind; `load` finds out."""

    name: str
    origin: str
    load: Callable[[], tuple[Plugin[SpecT], ...]]


def _entry_points(group: str) -> Iterable[importlib.metadata.EntryPoint]:
    return importlib.metadata.entry_points(group=group)


class Catalogue(Generic[SpecT]):
    """The plug-ins of one sort. Loading is lazy and remembered."""

    def __init__(
        self,
        package: str,
        spec_type: type[SpecT],
        *,
        entry_points: Callable[[str], Iterable[importlib.metadata.EntryPoint]] = _entry_points,
    ) -> None:
        self.package = package
        self.noun = package.removesuffix("s")
        self._spec_type = spec_type
        self._entry_points = entry_points
        self._plugins: dict[str, Plugin[SpecT]] = {}
        self._broken: dict[str, BrokenPlugin] = {}
        self._duplicates: dict[str, DuplicateKind] = {}
        self._loaded: set[str] = set()

    def find(self, kind: str) -> SpecT:
        """The spec of `kind`. Raises UnknownKind, BrokenPlugin, DuplicateKind or ShadowedPackage."""
        return self._find(kind).spec

    def describe(self, kind: str) -> str:
        """The manual of `kind`: its module's docstring. Raises as `find` does."""
        return inspect.getdoc(importlib.import_module(self._find(kind).module)) or ""

    def load_all(self) -> dict[str, SpecT]:
        """Every usable spec by kind; what is broken is in `broken()`. Raises DuplicateKind, ShadowedPackage."""
        for place in self._places:
            self._load(place)
        for duplicate in self._duplicates.values():
            raise duplicate
        return {kind: plugin.spec for kind, plugin in sorted(self._plugins.items())}

    def broken(self) -> dict[str, BrokenPlugin]:
        """By origin, why each plug-in that could not be loaded could not; complete after `load_all`."""
        return dict(self._broken)

    def _find(self, kind: str) -> Plugin[SpecT]:
        wanted = kind.replace("-", "_")
        namesakes = [place for place in self._places if place.name.replace("-", "_") == wanted]
        for place in namesakes:
            self._load(place)
        if kind not in self._plugins:
            for place in namesakes:
                if place.origin in self._broken:
                    raise self._broken[place.origin]
            self.load_all()
        if kind in self._duplicates:
            raise self._duplicates[kind]
        if kind in self._plugins:
            return self._plugins[kind]
        raise self._unknown(kind)

    def _unknown(self, kind: str) -> UnknownKind:
        near = get_close_matches(kind, self._plugins, n=1)
        mend = f"did you mean '{near[0]}'?" if near else f"known kinds: {', '.join(sorted(self._plugins)) or 'none'}"
        if self._broken:
            mend += "; not usable: " + "; ".join(f"{error}" for error in self._broken.values())
        return UnknownKind(f"no {self.noun} of kind '{kind}'", mend=mend)

    @functools.cached_property
    def _places(self) -> tuple[_Place[SpecT], ...]:
        return (*self._modules(), *self._installed())

    def _modules(self) -> Iterator[_Place[SpecT]]:
        package = owned_package(self.package)
        for info in pkgutil.iter_modules(package.__path__):
            if not info.name.startswith("_"):
                name = f"{self.package}.{info.name}"
                yield _Place(name=info.name, origin=name, load=functools.partial(self._from_module, name, name))

    def _installed(self) -> Iterator[_Place[SpecT]]:
        for point in self._entry_points(f"tocsin.{self.package}"):
            owner = f" of {point.dist.name} {point.dist.version}" if point.dist is not None else ""
            origin = f"entry point '{point.name}'{owner} ({point.value})"
            yield _Place(name=point.name, origin=origin, load=functools.partial(self._from_point, point, origin))

    def _load(self, place: _Place[SpecT]) -> None:
        if place.origin in self._loaded:
            return
        self._loaded.add(place.origin)
        try:
            plugins = place.load()
        except (Exception, SystemExit) as error:  # noqa: BLE001 (a stranger's module may raise anything when imported)
            self._broken[place.origin] = BrokenPlugin(
                f"{self.noun} plug-in {place.origin} can't be loaded: {_reason(error)}",
                mend="install what it needs, or remove it",
            )
            return
        for plugin in plugins:
            self._add(plugin)

    def _add(self, plugin: Plugin[SpecT]) -> None:
        there = self._plugins.setdefault(plugin.spec.kind, plugin)
        # One spec reached by two ways (a module here, and an entry point that names it) is no clash.
        if there.spec is not plugin.spec:
            self._duplicates[plugin.spec.kind] = DuplicateKind(
                f"{self.noun} kind '{plugin.spec.kind}' is claimed by {there.origin} and by {plugin.origin}",
                mend="uninstall one of them, or rename its kind",
            )

    def _from_module(self, name: str, origin: str) -> tuple[Plugin[SpecT], ...]:
        return self._specs_of(importlib.import_module(name), name, origin)

    def _from_point(self, point: importlib.metadata.EntryPoint, origin: str) -> tuple[Plugin[SpecT], ...]:
        plugins = self._specs_of(point.load(), point.module, origin)
        if not plugins:
            raise TypeError(f"it names no {self._spec_type.__name__}")
        return plugins

    def _specs_of(self, found: object, module: str, origin: str) -> tuple[Plugin[SpecT], ...]:
        plugins = []
        for spec in _named_specs(found):
            if not isinstance(spec, self._spec_type):
                raise TypeError(f"its spec is a {type(spec).__name__}, not a {self._spec_type.__name__}")
            plugins.append(Plugin(spec=spec, module=module, origin=origin))
        return tuple(plugins)


def _named_specs(found: object) -> tuple[object, ...]:
    if isinstance(found, ModuleType):
        one = (found.SPEC,) if hasattr(found, "SPEC") else ()
        return (*one, *getattr(found, "SPECS", ()))
    return tuple(found) if isinstance(found, (tuple, list)) else (found,)


def owned_package(name: str) -> ModuleType:
    """Tocsin's own package `name`. Raises ShadowedPackage when the import finds somebody else's."""
    try:
        package = importlib.import_module(name)
    except ImportError as error:
        raise ShadowedPackage(
            f"Tocsin's package '{name}' is not installed: {error}",
            mend="pip install --force-reinstall tocsin",
        ) from error
    if getattr(package, "OWNER", None) == OWNER:
        return package
    where = package.__file__ or ", ".join(getattr(package, "__path__", ())) or "an unknown place"
    others = sorted(set(importlib.metadata.packages_distributions().get(name, ())) - {OWNER})
    whose = f" of {', '.join(others)}" if others else ""
    mend = f"uninstall {others[0]} from this environment" if others else f"start Tocsin from a folder without {name}/"
    raise ShadowedPackage(f"the package '{name}' at {where}{whose} hides Tocsin's own", mend=mend)


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


@functools.cache
def collectors() -> Catalogue[CollectorSpec]:
    """Every kind of collector installed here."""
    return Catalogue("collectors", CollectorSpec)


@functools.cache
def notifiers() -> Catalogue[NotifierSpec]:
    """Every kind of notifier installed here."""
    return Catalogue("notifiers", NotifierSpec)
