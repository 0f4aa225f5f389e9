"""GoTrue's routes: a path → its template, and what an administrator's call to it does. Pure.

Source: supabase/auth internal/api/api.go. A path that is none of them is `other`, so scanners make no new series.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

_PLAIN_PATHS: Final = (
    "/token /signup /otp /magiclink /recover /resend /verify /user /reauthenticate /logout /factors /callback "
    "/authorize /sso /sso/saml/acs /sso/saml/metadata /invite /settings /health /.well-known/jwks.json "
    "/.well-known/openid-configuration /.well-known/oauth-authorization-server /user/identities/authorize "
    "/user/oauth/grants /oauth/token /oauth/authorize /oauth/clients/register /admin/users /admin/generate_link "
    "/admin/audit /admin/sso/providers /admin/scim-providers /admin/oauth/clients"
)
PLAIN: Final = frozenset(_PLAIN_PATHS.split())
_TEMPLATE_PATHS: Final = (
    "/factors/{id} /factors/{id}/verify /factors/{id}/challenge /user/identities/{id} /admin/users/{id} "
    "/admin/users/{id}/factors /admin/users/{id}/factors/{id} /admin/sso/providers/{id} /admin/scim-providers/{id} "
    "/admin/scim-providers/{id}/rotate-token /admin/oauth/clients/{id} /admin/oauth/clients/{id}/regenerate_secret "
    "/oauth/authorizations/{id} /oauth/authorizations/{id}/consent"
)
_TEMPLATES: Final = tuple(tuple(template.split("/")) for template in _TEMPLATE_PATHS.split())
_AREAS: Final = ("/admin/", "/oauth/", "/scim/", "/passkeys/", "/sso/")

_ACTIONS: Final = {
    ("POST", "/admin/users"): "create_user",
    ("PUT", "/admin/users/{id}"): "update_user",
    ("DELETE", "/admin/users/{id}"): "delete_user",
    ("POST", "/admin/generate_link"): "generate_link",
    ("PUT", "/admin/users/{id}/factors/{id}"): "update_factor",
    ("DELETE", "/admin/users/{id}/factors/{id}"): "delete_factor",
    ("POST", "/invite"): "invite_user",
    ("POST", "/admin/sso/providers"): "create_sso_provider",
    ("PUT", "/admin/sso/providers/{id}"): "update_sso_provider",
    ("DELETE", "/admin/sso/providers/{id}"): "delete_sso_provider",
    ("POST", "/admin/oauth/clients"): "create_oauth_client",
    ("PUT", "/admin/oauth/clients/{id}"): "update_oauth_client",
    ("DELETE", "/admin/oauth/clients/{id}"): "delete_oauth_client",
    ("POST", "/admin/oauth/clients/{id}/regenerate_secret"): "regenerate_oauth_secret",
    ("POST", "/admin/scim-providers"): "create_scim_provider",
    ("DELETE", "/admin/scim-providers/{id}"): "delete_scim_provider",
    ("POST", "/admin/scim-providers/{id}/rotate-token"): "rotate_scim_token",
}


def route_of(path: str) -> str:
    """`/factors/9b7e…/verify` → `/factors/{id}/verify`."""
    return path if path in PLAIN else _template_of(path)


@lru_cache(maxsize=4096)
def _template_of(path: str) -> str:
    path = path.removeprefix("/auth/v1").rstrip("/")
    if path in PLAIN:
        return path
    parts = path.split("/")
    for template in _TEMPLATES:
        if len(parts) == len(template) and all(
            part and want in ("{id}", part) for want, part in zip(template[1:], parts[1:], strict=True)
        ):
            return "/".join(template)
    return next((f"{area}other" for area in _AREAS if path.startswith(area)), "other")


def admin_action(method: str, route: str, status: int) -> str:
    """What a successful call to the admin API changed; empty for reads, refusals and everything else."""
    if status >= 400 or method not in ("POST", "PUT", "PATCH", "DELETE"):
        return ""
    return _ACTIONS.get((method, route), "other" if route.startswith("/admin/") else "")
