"""Alertmanager's API v2 on /api/v2: a Prometheus sends its alerts here, amtool and Grafana read and silence.

    GET  status, receivers, alerts, alerts/groups, silences, silence/ID
    POST alerts        what a Prometheus sends: see runtime/external.py
    POST silences, DELETE silence/ID

A receiver is what Tocsin calls a notifier. Listed are the alerts that fire, those of Tocsin's own rules included.
Silences are Tocsin's: with a reason (the comment), and 30 days at most.
"""
