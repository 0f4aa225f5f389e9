"""What there is to ask for, as Grafana's pickers list it."""

from datetime import timedelta

from tocsin.access.tokens import Scope

from .conftest import NOW, Port

EPOCH = int(NOW.timestamp())


async def filled(port: Port) -> Port:
    port.holds("up", [1], job="a", zone="eu")
    port.holds("up", [1], job="b")
    port.holds("down", [0], job="b")
    port.clock.pass_(3600)
    port.holds("late", [0], job="c")
    return port


async def test_series_of_several_selectors_come_once_and_sorted(port: Port) -> None:
    """A series that two selectors match is one series."""
    await filled(port)
    found = await port.get('/api/v1/series?match[]=up&match[]={job="b"}')
    assert found["data"] == [
        {"__name__": "down", "job": "b"}, {"__name__": "up", "job": "a", "zone": "eu"}, {"__name__": "up", "job": "b"},
    ]  # fmt: skip


async def test_a_span_of_time_leaves_out_what_had_no_sample_in_it(port: Port) -> None:
    """Both ends included."""
    await filled(port)
    at = (NOW + timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    late = await port.get(f'/api/v1/series?match[]={{job!=""}}&start={at}&end={at}')
    early = await port.get(f"/api/v1/label/__name__/values?end={EPOCH}")
    assert (late["data"], early["data"]) == ([{"__name__": "late", "job": "c"}], ["down", "up"])


async def test_labels_and_values_of_what_matches(port: Port) -> None:
    """By POST, too, for selectors that are too long for a URL."""
    await filled(port)
    every = await port.get("/api/v1/labels")
    some = (await port.ask("POST", "/api/v1/labels", Scope.QUERY_READ, form=[("match[]", "down")])).json()
    values = await port.get("/api/v1/label/job/values?match[]=up&match[]=late")
    assert (every["data"], some["data"], values["data"]) == (
        ["__name__", "job", "zone"], ["__name__", "job"], ["a", "b", "c"],
    )  # fmt: skip


async def test_a_limit_cuts_lists_and_says_so(port: Port) -> None:
    """Of series, names and values alike."""
    await filled(port)
    for target in ("series?match[]=up&limit=1", "labels?limit=1", "label/job/values?limit=1"):
        found = await port.get(f"/api/v1/{target}")
        assert (len(found["data"]), found["warnings"]) == (1, ["results truncated due to limit"])


async def test_a_label_that_a_path_cannot_hold_is_written_escaped(port: Port) -> None:
    """Prometheus 3's clients write `U__` and the code points."""
    port.holds("up", [1], **{"a.b_c": "x"})
    plain, coded = await port.get("/api/v1/label/a.b_c/values"), await port.get("/api/v1/label/U__a_2e_b__c/values")
    assert (plain["data"], coded["data"]) == (["x"], ["x"])


async def test_of_nothing_there_is_nothing(port: Port) -> None:
    """An unknown label or metric is an empty list, not an error."""
    assert [
        (await port.get(f"/api/v1/{target}"))["data"]
        for target in ("label/nope/values", "series?match[]=nope", "labels?match[]=nope", "metadata?metric=nope")
    ] == [[], [], [], {}]


async def test_metadata_is_what_is_declared(port: Port) -> None:
    """In Prometheus' words: a type that nobody knows is `unknown`."""
    found = await port.ask("GET", "/api/v1/metadata?metric=temperature")
    assert found.content == (
        b'{"status":"success","data":{"temperature":[{"type":"unknown","help":"Degrees","unit":"celsius"}]}}'
    )
    assert list((await port.get("/api/v1/metadata?limit=1"))["data"]) == ["http_requests_total"]


async def test_buildinfo_names_no_features(port: Port) -> None:
    """By which Grafana knows a plain Prometheus."""
    found = (await port.get("/api/v1/status/buildinfo"))["data"]
    assert (found["features"], found["version"].split(".")[0]) == ({}, "3")
