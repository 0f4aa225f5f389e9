"""Sentry: errors of any application that has a Sentry SDK, in any language, as series and alerts.

    - {kind: sentry, name: shop-errors, project: 1, key_env: SENTRY_KEY, labels: {service: shop}}

The application's DSN is then `https://KEY@tocsin.example/1`: the SDK posts its envelopes to /api/1/envelope/ of
Tocsin's port, older ones their event to /api/1/store/. A page's `tunnel` may hand its envelopes on to the same address:
the DSN in them is the proof. KEY is a secret of your making, 16 characters at least (`openssl rand -hex 16`); in a page
for browsers it is public, as with Sentry, and lets in nothing but events of this project. Only events are counted;
transactions, sessions, profiles and attachments are answered as if they were wanted, and dropped. Switch tracing off in
the SDK to save them. One event an envelope, of 1 MiB at most, as Sentry has it; gzip, deflate,
brotli or plain, and of /store/ base64 of zlib. A page can read what it was refused for.

Yields, as counters:
  tocsin_sentry_events_total{level,environment}     fatal, error, warning, info, debug
  tocsin_sentry_errors_total{category,environment}  fatal and error, by whose matter they are: see tocsin.categories
  tocsin_sentry_error_occurrences_total{category,fingerprint,type,where}   errors, and what has a fingerprint of its own
  tocsin_sentry_envelopes_total{outcome}            event, other (nothing to count), broken
and as a gauge:
  tocsin_sentry_last_event_timestamp_seconds        when the last event arrived; absent before the first

A fingerprint is the exception's type and the last frame of the application (`in_app`), as for `tocsin.asgi`: the same
across messages, lines and deployments. Where the SDK gives a `fingerprint` of its own, that is taken. `where` is
`module:function` of the frame. The first 200 fingerprints and the first 10 environments have series of their own, the
rest is `other`, whatever is sent.

The category is that of the event's tag `tocsin.category`, of its exceptions' types in whatever language, or of the
status that the request was answered with; `categories:` adds to what is known:

    categories: {com.acme.pay.DeclinedException: validation, "Acme.Quota.*": quota}

Messages, variables, users and request data are never kept: they hold personal data. The stack stays where the SDK also
writes it, the application's own log. Counts live in the daemon: a restart is an ordinary counter reset, kill -9 loses
at most what came since the last poll.
"""

from collectors.sentry.collector import SentryCollector
from collectors.sentry.declarations import METRICS
from collectors.sentry.inlet import inlet_of
from collectors.sentry.settings import SentrySettings
from tocsin.ports import CollectorSpec

SPEC = CollectorSpec(kind="sentry", settings=SentrySettings, build=SentryCollector, metrics=METRICS, inlet=inlet_of)
