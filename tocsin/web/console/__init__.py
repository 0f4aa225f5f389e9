"""The console: pages for people, rendered here, usable without a script; htmx makes them quicker (render.py).

    /                    what fires, which incidents are open, what can't be seen, what was not delivered
    /incidents           open ones or all; /incidents/ID its story, to take or close it
    /silences            those in force, to be ended; /silences/new shows first what one would hide
    /allowlist           who may come in: list, add, change, remove, test an address, import, export, audit
    /runbooks            one page per alert, where the links in messages lead
    /account             who you are, and the way out

Every form carries the session's CSRF token, which the door checks (tocsin.web.gate); what may be seen or done is the
route's scope. After a change the browser is sent on with 303, so that a reload repeats nothing.
"""

from tocsin.web.console.routes import console_routes

__all__ = ["console_routes"]
