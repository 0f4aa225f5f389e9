"""The allowlist on /api/tocsin/v1: what `tocsin allowlist` does on the host, for programs.

    GET  allowlist?q=&effect=&role=&kind=&holds=     the entries that the search leaves
    POST allowlist            {"entries": [{"value": "ana@example.com", "role": "admin"}]}     all are added, or none
    POST allowlist/change     {"value": "ana@example.com", "note": "on call"}     what is not named stays as it is
    POST allowlist/expire     {"values": ["agency.example"], "at": "2026-12-31T00:00:00Z"}     without `at`: now
    POST allowlist/remove     {"values": ["ana@example.com"]}
    POST allowlist/test       {"address": "ana@example.com"}     may it come in, and why
    POST allowlist/import     {"csv": "value,role\\n…", "prune": false, "apply": false}     a dry run until `apply`
    GET  allowlist/export     the list as CSV, which import reads
    GET  allowlist/audit?value=&limit=&before=     the newest first; `before` is the `seq` of the last one seen
    POST allowlist/folding    {"plus": true}     which differences between addresses are ignored; {} only tells

What is asked about an address comes in a body, since query strings end up in the logs of proxies. 400: what was sent is
no entry. 409: the list stays as it is (there already, not there, the last admin, your own access). In the audit a
service token goes by its id: its note could be anybody's address. Modules: bodies (what is sent), routes.
"""

from tocsin.web.allowlist.bodies import SCHEMAS
from tocsin.web.allowlist.routes import allowlist_routes

__all__ = ["SCHEMAS", "allowlist_routes"]
