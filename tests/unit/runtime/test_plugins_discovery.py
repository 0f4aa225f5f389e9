"""Plug-ins are found by being there, and a bad one is told without taking the others down."""

from __future__ import annotations

import importlib.metadata
import itertools
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tocsin.ports import CollectorSpec
from tocsin.runtime import plugins
from tocsin.runtime.plugins import BrokenPlugin, Catalogue, DuplicateKind, ShadowedPackage, UnknownKind

MODULE = '''"""Manual of {kind}."""
from tocsin.ports import CollectorSettings, CollectorSpec

SPEC = CollectorSpec(kind="{kind}", settings=CollectorSettings, build=lambda settings, context: None, metrics=())
'''

_numbers = itertools.count()

MakePackage = Callable[..., str]


@pytest.fixture
def make_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakePackage:
    """Writes a package of plug-ins and makes it importable; its name is new each time."""

    def make(owner: str = "tocsin", **modules: str) -> str:
        name = f"plugins_under_test_{next(_numbers)}"
        folder = tmp_path / name
        folder.mkdir()
        (folder / "__init__.py").write_text(f'OWNER = "{owner}"\n')
        for module, source in modules.items():
            (folder / f"{module}.py").write_text(source)
        monkeypatch.syspath_prepend(tmp_path)
        return name

    return make


def catalogue(package: str, *points: importlib.metadata.EntryPoint) -> Catalogue[CollectorSpec]:
    return Catalogue(package, CollectorSpec, entry_points=lambda group: points)


def test_a_module_with_a_spec_is_a_plugin(make_package: MakePackage) -> None:
    """Nothing else registers it."""
    package = make_package(redis=MODULE.format(kind="redis"))
    assert catalogue(package).find("redis").kind == "redis"


def test_a_module_may_name_several_specs(make_package: MakePackage) -> None:
    """SPECS is a list of them; the kinds need not be called like the module."""
    source = MODULE.format(kind="one") + "\nimport dataclasses\nSPECS = [dataclasses.replace(SPEC, kind='two')]\n"
    assert list(catalogue(make_package(several=source)).load_all()) == ["one", "two"]


def test_a_module_without_a_spec_is_no_plugin(make_package: MakePackage) -> None:
    """A shared module beside the plug-ins is neither a kind nor broken."""
    found = catalogue(make_package(wording="x = 1\n"))
    assert (found.load_all(), found.broken()) == ({}, {})


def test_finding_a_kind_imports_no_other_module(make_package: MakePackage) -> None:
    """The daemon pays for what it is configured to use."""
    package = make_package(redis=MODULE.format(kind="redis"), heavy=MODULE.format(kind="heavy"))
    catalogue(package).find("redis")
    assert f"{package}.heavy" not in sys.modules


def test_a_dash_in_a_kind_finds_the_module_with_an_underscore(make_package: MakePackage) -> None:
    """Kinds may be written with a dash, modules can't."""
    package = make_package(edge_logs=MODULE.format(kind="edge-logs"), heavy=MODULE.format(kind="heavy"))
    assert catalogue(package).find("edge-logs").kind == "edge-logs"
    assert f"{package}.heavy" not in sys.modules


def test_a_broken_plugin_does_not_take_others_down(make_package: MakePackage) -> None:
    """One that can't be imported is listed with its reason; the rest works."""
    found = catalogue(make_package(good=MODULE.format(kind="good"), bad="import no_such_module_anywhere\n"))
    assert list(found.load_all()) == ["good"]
    (why,) = found.broken().values()
    assert "No module named 'no_such_module_anywhere'" in str(why)


def test_a_plugin_that_exits_on_import_is_broken(make_package: MakePackage) -> None:
    """A stranger's module may not end the daemon."""
    found = catalogue(make_package(rude="raise SystemExit(3)\n"))
    found.load_all()
    assert "SystemExit" in str(*found.broken().values())


def test_a_broken_plugin_that_is_configured_raises_its_reason(make_package: MakePackage) -> None:
    """Not "unknown kind": it is there."""
    with pytest.raises(BrokenPlugin, match="no_such_module_anywhere"):
        catalogue(make_package(bad="import no_such_module_anywhere\n")).find("bad")


def test_a_spec_of_the_wrong_sort_is_broken(make_package: MakePackage) -> None:
    """A notifier's module in the collectors' folder is told, not used."""
    with pytest.raises(BrokenPlugin, match="its spec is a str, not a CollectorSpec"):
        catalogue(make_package(odd="SPEC = 'redis'\n")).find("odd")


def test_two_plugins_of_one_kind_are_refused_by_name(make_package: MakePackage) -> None:
    """Neither wins by chance, and both are named."""
    package = make_package(first=MODULE.format(kind="redis"), second=MODULE.format(kind="redis"))
    found = catalogue(package)
    for _ in range(2):
        with pytest.raises(DuplicateKind, match=f"{package}.first and by {package}.second"):
            found.find("redis")


def test_an_unknown_kind_names_the_nearest(make_package: MakePackage) -> None:
    """A typing error is mended by reading the message."""
    with pytest.raises(UnknownKind) as caught:
        catalogue(make_package(redis=MODULE.format(kind="redis"))).find("reddis")
    assert caught.value.mend == "did you mean 'redis'?"


def test_an_unknown_kind_without_a_near_one_lists_all(make_package: MakePackage) -> None:
    """What there is, is shown."""
    with pytest.raises(UnknownKind) as caught:
        catalogue(make_package(redis=MODULE.format(kind="redis"), kafka=MODULE.format(kind="kafka"))).find("x")
    assert caught.value.mend == "known kinds: kafka, redis"


def test_an_entry_point_brings_a_kind_from_outside(make_package: MakePackage) -> None:
    """Another distribution adds a collector without touching this one."""
    outside = make_package(plugin=MODULE.format(kind="redis"))
    point = importlib.metadata.EntryPoint("redis", f"{outside}.plugin:SPEC", "tocsin.collectors")
    found = catalogue(make_package(), point)
    assert (found.find("redis").kind, found.describe("redis")) == ("redis", "Manual of redis.")


def test_an_entry_point_may_name_a_module(make_package: MakePackage) -> None:
    """The module's SPEC is taken then."""
    outside = make_package(plugin=MODULE.format(kind="redis"))
    point = importlib.metadata.EntryPoint("anything", f"{outside}.plugin", "tocsin.collectors")
    assert catalogue(make_package(), point).find("redis").kind == "redis"


def test_an_entry_point_that_names_no_spec_is_broken(make_package: MakePackage) -> None:
    """An entry point promises a plug-in, unlike a module that merely lies in the folder."""
    outside = make_package(plugin="x = 1\n")
    point = importlib.metadata.EntryPoint("redis", f"{outside}.plugin", "tocsin.collectors")
    with pytest.raises(BrokenPlugin, match="names no CollectorSpec"):
        catalogue(make_package(), point).find("redis")


def test_an_entry_point_cannot_replace_a_shipped_kind(make_package: MakePackage) -> None:
    """Even when only that kind is looked for."""
    package, outside = make_package(redis=MODULE.format(kind="redis")), make_package(x=MODULE.format(kind="redis"))
    point = importlib.metadata.EntryPoint("redis", f"{outside}.x:SPEC", "tocsin.collectors")
    with pytest.raises(DuplicateKind, match="entry point 'redis'"):
        catalogue(package, point).find("redis")


def test_an_entry_point_that_names_a_shipped_spec_is_no_clash(make_package: MakePackage) -> None:
    """The same spec by two ways is one plug-in."""
    package = make_package(redis=MODULE.format(kind="redis"))
    point = importlib.metadata.EntryPoint("redis", f"{package}.redis:SPEC", "tocsin.collectors")
    assert list(catalogue(package, point).load_all()) == ["redis"]


def test_describe_gives_the_manual(make_package: MakePackage) -> None:
    """A module's docstring is what the console and doctor show."""
    assert catalogue(make_package(redis=MODULE.format(kind="redis"))).describe("redis") == "Manual of redis."


def test_a_package_that_hides_ours_is_refused(make_package: MakePackage) -> None:
    """Another distribution's `collectors` would be used instead without a word."""
    package = make_package(owner="somebody", redis=MODULE.format(kind="redis"))
    with pytest.raises(ShadowedPackage, match=f"the package '{package}' at .*hides Tocsin's own"):
        catalogue(package).find("redis")


def test_a_package_that_is_not_there_says_how_to_get_it() -> None:
    """A broken installation is told as such."""
    with pytest.raises(ShadowedPackage) as caught:
        catalogue("no_such_package_anywhere").find("redis")
    assert caught.value.mend == "pip install --force-reinstall tocsin"


@pytest.mark.parametrize("found", [plugins.collectors, plugins.notifiers])
def test_every_shipped_plugin_loads_and_has_a_manual(found: Callable[[], Catalogue[CollectorSpec]]) -> None:
    """What Tocsin brings is importable, of one kind each, and documented."""
    kinds = found().load_all()
    assert found().broken() == {}
    assert [kind for kind in kinds if not found().describe(kind)] == []
