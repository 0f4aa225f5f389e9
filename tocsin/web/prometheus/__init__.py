"""Prometheus' HTTP API on /api/v1, over the embedded store: what Grafana's data source, promtool and scripts ask.

Parameters, answers and errors are Prometheus': times as RFC 3339 or Unix seconds, durations as `5m` or seconds, GET or
form-encoded POST, `{"status": …, "data": …}` byte for byte as it writes them (parameters, encoding), the same wording
and HTTP codes for what is wrong (answers).

    query, query_range, query_exemplars (none are kept: always empty), format of results         queries
    series, labels, label/NAME/values, metadata, status/buildinfo                                catalogue
    rules, alerts                                                                                rules
    all but rules and alerts, where `series.engine` names a server that answers them             forwarding

A query has `reading.TIME_LIMIT` seconds at most; `timeout` lowers it.
"""
