"""Templates as promtool renders them: the real one is asked, text by text.

Each text becomes an annotation of an alert in a rule file; a unit test that expects no alert makes promtool print
what it got. The texts that fail are in the list on purpose: the message is part of what people read.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from tocsin.errors import PromQLError
from tocsin.model import Labels
from tocsin.rules.template import AlertData, TemplateSyntax, compile_template

LABELS = {"instance": "db-1.example.com:5432", "job": "postgres", "empty": "", "odd": 'a"b\\c'}
OTHERS = (("b", 2.5), ("a", 1234567.0), ("c", 0.0001))
VALUES = (0.0, 1.0, 5.0, 0.1 + 0.2, 1234567.0, 123456.5, 1e15, 1e-5, -0.5, 99999.0, 1435065584.128, float("inf"))

HERE = Path(__file__).parent
TEXTS = (HERE / "promtool_templates.txt").read_text(encoding="utf-8").splitlines()
BROKEN = (HERE / "promtool_templates_refused.txt").read_text(encoding="utf-8").splitlines()


def ours(text: str, value: float) -> str:
    others = [(Labels(__name__="other", id=name), number) for name, number in OTHERS]

    def query(expr: str) -> list[tuple[Labels, float]]:
        if expr == "other":
            return others
        chosen = re.fullmatch(r"other\{id='(.)'\}", expr)
        if chosen:
            return [pair for pair in others if pair[0]["id"] == chosen[1]]
        if expr == "nothing":
            return []
        raise PromQLError("the message is the engine's")

    data = AlertData(
        labels={"__name__": "metric", **{name: text for name, text in LABELS.items() if text}},
        value=value,
        external_labels={"region": "eu"},
        external_url="http://example.org/prom",
        at=datetime(1970, 1, 1, tzinfo=UTC),
        query=query,
    )
    return compile_template(text, "A").render(data)


def write_rules(folder: Path, texts: list[str]) -> None:
    annotations = {f"t{number:03d}": text for number, text in enumerate(texts)}
    rule = {"alert": "A", "expr": "metric", "annotations": annotations}
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": [rule]}]}))


def theirs(promtool: Path, folder: Path, texts: list[str], value: float) -> list[str]:
    """The annotations that promtool got."""
    write_rules(folder, texts)
    labels = ",".join(f"{name}={json.dumps(text)}" for name, text in LABELS.items())
    number = {float("inf"): "Inf"}.get(value, repr(value))
    series = [{"series": f"metric{{{labels}}}", "values": number}]
    series += [{"series": f'other{{id="{name}"}}', "values": repr(figure)} for name, figure in OTHERS]
    test = {
        "input_series": series,
        "external_labels": {"region": "eu"},
        "external_url": "http://example.org/prom",
        "alert_rule_test": [{"eval_time": "0s", "alertname": "A", "exp_alerts": []}],
    }
    (folder / "test.yaml").write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "tests": [test]}))
    run = subprocess.run([promtool, "test", "rules", folder / "test.yaml"], capture_output=True, text=True)
    found = re.search(r"Annotations:\{(.*)\}$", run.stderr + run.stdout, re.MULTILINE)
    assert found, run.stderr + run.stdout
    pairs = dict(re.findall(r'(t\d{3})=("(?:[^"\\]|\\.)*")', found[1]))
    return [_unquoted(pairs[f"t{number:03d}"]) if f"t{number:03d}" in pairs else "" for number in range(len(texts))]


def _unquoted(text: str) -> str:
    return json.loads(re.sub(r"\\x([0-9a-f]{2})", r"\\u00\1", text).replace("\\a", "\\u0007").replace("\\v", "\\u000b"))


def comparable(text: str) -> str:
    """Without the parts that are not ours to say: the engine's own words, addresses, and Go's struct tags."""
    text = text.replace("Value float64 }", "Value interface {} }")  # a histogram may be a value since 2.43
    return re.sub(r"error calling query: .*", "error calling query: …>", text)


@pytest.mark.peer
@pytest.mark.parametrize("value", VALUES)
def test_every_text_renders_as_promtool_renders_it(
    value: float, real_peer: Callable[[str], Path], tmp_path: Path
) -> None:
    """Same text, same alert, same sentence, and the same message where it can't be rendered."""
    want = [comparable(text) for text in theirs(real_peer("promtool"), tmp_path, TEXTS, value)]
    got = [comparable(ours(text, value)) for text in TEXTS]
    assert [*zip(TEXTS, want, strict=True)] == [*zip(TEXTS, got, strict=True)]


@pytest.mark.peer
@pytest.mark.parametrize("text", BROKEN)
def test_what_promtool_refuses_is_refused_in_its_words(
    text: str, real_peer: Callable[[str], Path], tmp_path: Path
) -> None:
    """Syntax, unknown functions and unknown variables are found when the file is read, and said as Go says them."""
    write_rules(tmp_path, [text])
    run = subprocess.run(
        [real_peer("promtool"), "check", "rules", tmp_path / "rules.yaml"], capture_output=True, text=True
    )
    said = re.search(r'annotation "t000": (template: .*)', run.stderr + run.stdout)
    try:
        compile_template(text, "A")
        got = None
    except TemplateSyntax as refused:
        got = str(refused)
    assert (said and said[1]) == got
