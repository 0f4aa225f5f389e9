"""Scrape: read the metrics that a target exposes, as Prometheus would.

    - kind: scrape
      name: app
      interval: 5s
      targets:
        - {url: "http://127.0.0.1:8000/metrics"}
        - {url: "https://api.internal/metrics", name: api-1, bearer_token_env: METRICS_TOKEN, sample_limit: 20000}

Reads OpenMetrics 1.0 and the Prometheus text format 0.0.4, gzip included. Every series gets `instance` (the target's
name, or host:port). Yields what the target exposes, and per target, as Prometheus does:
  up                       1 when the scrape was read whole, else 0
  scrape_duration_seconds  how long it took
  scrape_samples_scraped   samples that were read; 0 when the scrape failed
and tocsin_scrape_samples_dropped, samples with a timestamp more than 10 minutes in the future, which nothing after
them could follow.

One broken line fails the whole scrape, as it does in Prometheus: half of a histogram would be a wrong figure. The
reason names the line. So do a body over `body_limit` and more samples than `sample_limit`. A target that failed is
`up 0`, and what it showed before is unknown (blind), not gone; the names it showed are remembered across a restart.

Counters that appear. Prometheus' increase() misses the first value of a new series, so the first burst of a new label
set is never seen. Here a counter's label set that is new since the last good scrape began at zero then, when its
metric was announced in that scrape already (a sample or its TYPE line). It is not assumed on the first scrape (the
counts may be old), nor for a metric that is new as a whole: an exporter whose own source was away comes back with
totals of years. Where the target says when a counter began (`_created`), that is used instead. Off:
`new_series_from_zero: false`.

`_created` lines become the creation time of their counter and are not stored as series. Exemplars are read over.
An exposed `instance` is kept as `exported_instance`, unless `honor_labels: true` lets it win; an exposed `job` is
always kept as `exported_job`, for `job` names the collector.
"""

from collectors.scrape.collector import ScrapeCollector
from collectors.scrape.declarations import METRICS
from collectors.scrape.settings import ScrapeSettings
from tocsin.ports import CollectorSpec

SPEC = CollectorSpec(kind="scrape", settings=ScrapeSettings, build=ScrapeCollector, metrics=METRICS, open_ended=True)
