-- Campaigns: applied by `python -m examples.campaigns --prepare`, any number of times.
create table if not exists campaigns (
    id          bigint generated always as identity primary key,
    name        text        not null check (name <> ''),
    subject     text        not null check (subject <> ''),
    body        text        not null,
    status      text        not null default 'draft' check (status in ('draft', 'running', 'paused', 'finished')),
    created_at  timestamptz not null default now(),
    launched_at timestamptz,
    paused_at   timestamptz,
    finished_at timestamptz
);

-- How many recipients there are is kept with the campaign: every list shows it, and counting twenty lists of thousands
-- for each page cost more than all the rest. It changes where recipients are added, in the same statement.
alter table campaigns add column if not exists recipients integer not null default 0;

-- The list is read newest first, by state; the worker looks for the running ones.
create index if not exists campaigns_by_status on campaigns (status, id desc);

create table if not exists recipients (
    id          bigint generated always as identity primary key,
    campaign_id bigint not null references campaigns on delete cascade,
    email       text   not null,
    unique (campaign_id, email)
);
update campaigns set recipients = counted.recipients
from (select campaign_id, count(*) as recipients from recipients group by campaign_id) as counted
where campaigns.id = counted.campaign_id and campaigns.recipients = 0;

create table if not exists sends (
    recipient_id bigint      primary key references recipients on delete cascade,
    campaign_id  bigint      not null references campaigns on delete cascade,
    status       text        not null default 'pending' check (status in ('pending', 'sent', 'failed')),
    queued_at    timestamptz not null default now(),
    settled_at   timestamptz,
    reason       text
);

-- What the worker asks: the pending sends of a campaign. It stays as small as the backlog.
create index if not exists sends_pending on sends (campaign_id, recipient_id) where status = 'pending';
create index if not exists sends_by_campaign on sends (campaign_id, status);
