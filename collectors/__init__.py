"""Tocsin's own collectors: one kind is one module or package here, and names its SPEC."""

OWNER = "tocsin"
"""Checked at start: another distribution that installs a package of this name would shadow ours."""
