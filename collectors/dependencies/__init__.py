"""Dependencies: which installed or locked packages have a known vulnerability, how bad, and mended by what?

    - kind: dependencies
      name: dependencies
      every: 6h
      sources:
        - {name: api, lock: /srv/api/requirements.lock}
        - {name: worker, environment: /srv/worker/.venv}
        - {name: site, npm: /srv/site/package-lock.json}
      osv_url: https://osv.example   # a mirror; default: OSV's own

A `lock` is a requirements file (hashes or `==` for all: nothing is resolved or installed), an `environment` a virtual
environment that runs, `npm` a package-lock.json of any version. The first two are read by pip-audit (`--strict`: a
package that can't be looked up fails the scan), which is the extra `scan`; of the last OSV is asked directly, without
Node.js, or with `ask: npm` npm's own registry by `npm audit`.

Yields, per source, at every poll, from the last scan (`every`; the poll itself does nothing but repeat it):
  tocsin_dependency_scan_up                  1 when the last try to scan succeeded, else 0
  tocsin_dependency_scan_timestamp_seconds   "as of": when the last scan that succeeded began; absent before the first
  tocsin_dependency_packages                 packages that it looked up
  tocsin_dependency_findings{severity}       vulnerabilities: critical, high, moderate, low, unknown; 0 is said too
  tocsin_dependency_finding{package,version,id,severity,fixed_in}   1 for each, the worst `max_findings` of a source

Severity is the advisory database's own word or CVSS 3 vector, or that of an alias (GHSA has a word for every advisory).
When it can't be asked for, the scan has failed: what was high does not become unknown. One that nobody
rated is `unknown`, which is not `low`; a package that is itself an attack (OSV's MAL-…) is `critical`.

A scan that fails (advisories out of reach, a package that they do not know, a lock that can't be read) changes no
finding: the last scan's stand with their date, and `scan_up` is 0. A source that was never scanned is blind. "0
findings" is only ever said of a scan that looked up every package. A failed scan is tried again after `retry`. The
last scans are kept across restarts. With `sbom`, each scan (but by `ask: npm`) also writes what it found as CycloneDX
JSON.
"""

from collectors.dependencies.collector import DependenciesCollector
from collectors.dependencies.declarations import METRICS
from collectors.dependencies.examine import examine
from collectors.dependencies.settings import DependenciesSettings
from tocsin.ports import CollectorSpec

SPEC = CollectorSpec(
    kind="dependencies", settings=DependenciesSettings, build=DependenciesCollector, metrics=METRICS, examine=examine
)
