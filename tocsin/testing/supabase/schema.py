"""The tables of Supabase Auth that the stand-in writes, as the real one's migrations leave them: names, types,
defaults, the indexes that a reader may lean on, row security without a policy.

Source: supabase/auth v2.196, migrations.
"""

from __future__ import annotations

from typing import Final

SECURED: Final = (
    "users", "identities", "sessions", "refresh_tokens", "mfa_factors", "mfa_challenges", "mfa_amr_claims",
    "audit_log_entries", "one_time_tokens", "flow_state",
)  # fmt: skip

_TYPES: Final = {
    "factor_type": ("totp", "webauthn", "phone"),
    "factor_status": ("unverified", "verified"),
    "aal_level": ("aal1", "aal2", "aal3"),
    "code_challenge_method": ("s256", "plain"),
    "one_time_token_type": (
        "confirmation_token", "reauthentication_token", "recovery_token", "email_change_token_new",
        "email_change_token_current", "phone_change_token",
    ),
}  # fmt: skip

_TABLES: Final = (
    """create table auth.users (
         instance_id uuid, id uuid primary key, aud varchar(255), role varchar(255), email varchar(255),
         encrypted_password varchar(255), email_confirmed_at timestamptz, invited_at timestamptz,
         confirmation_token varchar(255), confirmation_sent_at timestamptz, recovery_token varchar(255),
         recovery_sent_at timestamptz, email_change_token_new varchar(255), email_change varchar(255),
         email_change_sent_at timestamptz, last_sign_in_at timestamptz, raw_app_meta_data jsonb,
         raw_user_meta_data jsonb, is_super_admin boolean, created_at timestamptz, updated_at timestamptz,
         phone text default null::varchar unique, phone_confirmed_at timestamptz,
         phone_change text default ''::varchar, phone_change_token varchar(255) default '',
         phone_change_sent_at timestamptz,
         confirmed_at timestamptz generated always as (least(email_confirmed_at, phone_confirmed_at)) stored,
         email_change_token_current varchar(255) default '', email_change_confirm_status smallint default 0,
         banned_until timestamptz, reauthentication_token varchar(255) default '',
         reauthentication_sent_at timestamptz, is_sso_user boolean not null default false, deleted_at timestamptz,
         is_anonymous boolean not null default false)""",
    "create unique index users_email_partial_key on auth.users (email) where is_sso_user = false",
    """create table auth.identities (
         provider_id text not null, user_id uuid not null references auth.users on delete cascade,
         identity_data jsonb not null, provider text not null, last_sign_in_at timestamptz, created_at timestamptz,
         updated_at timestamptz, email text generated always as (lower(identity_data ->> 'email')) stored,
         id uuid primary key default gen_random_uuid(), unique (provider_id, provider))""",
    "create index identities_user_id_idx on auth.identities (user_id)",
    """create table auth.sessions (
         id uuid primary key, user_id uuid not null references auth.users on delete cascade, created_at timestamptz,
         updated_at timestamptz, factor_id uuid, aal auth.aal_level, not_after timestamptz,
         refreshed_at timestamp without time zone, user_agent text, ip inet, tag text, oauth_client_id uuid,
         refresh_token_hmac_key text, refresh_token_counter bigint, scopes text)""",
    "create index sessions_user_id_idx on auth.sessions (user_id)",
    """create table auth.refresh_tokens (
         instance_id uuid, id bigserial primary key, token varchar(255) unique, user_id varchar(255), revoked boolean,
         created_at timestamptz, updated_at timestamptz, parent varchar(255),
         session_id uuid references auth.sessions on delete cascade)""",
    "create index refresh_tokens_session_id_revoked_idx on auth.refresh_tokens (session_id, revoked)",
    "create index refresh_tokens_updated_at_idx on auth.refresh_tokens (updated_at desc)",
    """create table auth.mfa_factors (
         id uuid primary key, user_id uuid not null references auth.users on delete cascade, friendly_name text,
         factor_type auth.factor_type not null, status auth.factor_status not null, created_at timestamptz not null,
         updated_at timestamptz not null, secret text, phone text, last_challenged_at timestamptz unique,
         web_authn_credential jsonb, web_authn_aaguid uuid, last_webauthn_challenge_data jsonb)""",
    "create index mfa_factors_user_id_idx on auth.mfa_factors (user_id)",
    """create table auth.mfa_challenges (
         id uuid primary key, factor_id uuid not null references auth.mfa_factors on delete cascade,
         created_at timestamptz not null, verified_at timestamptz, ip_address inet not null, otp_code text,
         web_authn_session_data jsonb)""",
    "create index mfa_challenge_created_at_idx on auth.mfa_challenges (created_at desc)",
    """create table auth.mfa_amr_claims (
         session_id uuid not null references auth.sessions on delete cascade, created_at timestamptz not null,
         updated_at timestamptz not null, authentication_method text not null, id uuid primary key,
         unique (session_id, authentication_method))""",
    """create table auth.audit_log_entries (
         instance_id uuid, id uuid primary key, payload json, created_at timestamptz,
         ip_address varchar(64) not null default '')""",
    "create index audit_logs_instance_id_idx on auth.audit_log_entries (instance_id)",
    """create table auth.one_time_tokens (
         id uuid primary key, user_id uuid not null references auth.users on delete cascade,
         token_type auth.one_time_token_type not null, token_hash text not null check (char_length(token_hash) > 0),
         relates_to text not null, created_at timestamp without time zone not null default now(),
         updated_at timestamp without time zone not null default now(), unique (user_id, token_type))""",
    """create table auth.flow_state (
         id uuid primary key, user_id uuid, auth_code text, code_challenge_method auth.code_challenge_method,
         code_challenge text, provider_type text not null, provider_access_token text, provider_refresh_token text,
         created_at timestamptz, updated_at timestamptz, authentication_method text not null,
         auth_code_issued_at timestamptz, invite_token text, referrer text, oauth_client_state_id uuid,
         linking_target_id uuid, email_optional boolean not null default false)""",
    "create index flow_state_created_at_idx on auth.flow_state (created_at desc)",
)

SCHEMA: Final = (
    "create schema if not exists auth",
    *(f"create type auth.{name} as enum {values}" for name, values in _TYPES.items()),
    *_TABLES,
    *(f"alter table auth.{table} enable row level security" for table in SECURED),
)
"""What makes them, in a database that has none of them."""
