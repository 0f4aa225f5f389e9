"""Generated days of sign-ins as GoTrue logs them, attacks among them, and what the shipped rules make of it.

`lines` writes log lines, `days` ordinary traffic, `attacks` what is injected, `replay` counts the lines as the daemon
does and evaluates the rules on a virtual clock.
"""
