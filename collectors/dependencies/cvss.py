"""The base score of a CVSS 3.0 or 3.1 vector (https://www.first.org/cvss/v3.1/specification-document, section 7.1)."""

from __future__ import annotations

from typing import Final

_WEIGHTS: Final = {
    "AV": {"N": 0.85, "A": 0.62, "L": 0.55, "P": 0.2},
    "AC": {"L": 0.77, "H": 0.44},
    "UI": {"N": 0.85, "R": 0.62},
    "S": {"U": 0.0, "C": 0.0},
    "PR": {"N": 0.85, "L": 0.62, "H": 0.27},
    **{loss: {"H": 0.56, "L": 0.22, "N": 0.0} for loss in ("C", "I", "A")},
}
_PRIVILEGES_CHANGED: Final = {"N": 0.85, "L": 0.68, "H": 0.5}


def base_score(vector: str) -> float | None:
    """0 to 10; None for another version's vector, or one that is not whole."""
    version, *metrics = vector.split("/")
    if version not in ("CVSS:3.0", "CVSS:3.1"):
        return None
    given = dict(metric.split(":", 1) for metric in metrics if ":" in metric)
    try:
        weight = {name: weights[given[name]] for name, weights in _WEIGHTS.items()}
    except KeyError:
        return None
    changed = given["S"] == "C"
    if changed:
        weight["PR"] = _PRIVILEGES_CHANGED[given["PR"]]
    lost = 1 - (1 - weight["C"]) * (1 - weight["I"]) * (1 - weight["A"])
    impact = 7.52 * (lost - 0.029) - 3.25 * (lost - 0.02) ** 15 if changed else 6.42 * lost
    if impact <= 0:
        return 0.0
    exploitability = 8.22 * weight["AV"] * weight["AC"] * weight["PR"] * weight["UI"]
    return _rounded_up(min(10.0, (1.08 if changed else 1.0) * (impact + exploitability)))


def _rounded_up(score: float) -> float:
    """To one decimal, as its appendix A does: in whole numbers, so that 4.02 is 4.1 and 4.000001 is 4.0."""
    whole = round(score * 100_000)
    return whole / 100_000 if whole % 10_000 == 0 else (whole // 10_000 + 1) / 10
