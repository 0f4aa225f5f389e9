"""The way into the console: /login and what belongs to it.

    GET  /login                  the page: password, code by e-mail, the OAuth providers; or how to get a one-time link
    POST /login/password         email, password
    POST /login/code             email: sends a code; email and code: signs in with it
    GET  /login/oauth?provider=  off to the provider (PKCE)
    GET  /login/callback?code=   back from it
    GET, POST /login/mfa         the second factor (TOTP), of who has one
    GET, POST /login/link        a one-time link, on loopback, where no Supabase is configured
    POST /logout                 the end, here and of this session at Supabase

Modules: routes and oauth (the above), reception (forms, pages and sign-in, for all of them), tries and throttle (who
tries too often waits), pages (the templates login*.j2), sessions (one's own, listed and ended).
"""
