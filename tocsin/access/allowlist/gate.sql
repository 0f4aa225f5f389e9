-- Tocsin's sign-up gate: Supabase Auth asks these functions, and they ask Tocsin's allowlist, in the same database.
-- What is not listed is refused; so are phone and anonymous sign-ups, which have no address to look for.
-- Nothing here is SECURITY DEFINER: supabase_auth_admin reads the list by a grant and a policy of its own.
-- {{gate}} is the schema of the functions, {{state}} the one of the tables. Run it again to bring it up to date.

create schema if not exists {{gate}};
comment on schema {{gate}} is 'Tocsin: who may sign up';

-- A label outside ASCII in its xn-- form (RFC 3492 §6.3). Whether IDNA allows it is not asked: only a whole domain that
-- is on the list can equal it, and those were checked when they were listed.
create or replace function {{gate}}.a_label(label text) returns text
language plpgsql immutable strict set search_path = '' as $gate$
declare
    digits constant text := 'abcdefghijklmnopqrstuvwxyz0123456789';
    points int[];
    point int;
    basic text := '';
    coded text := '';
    n int := 128;
    delta bigint := 0;
    bias int := 72;
    handled int;
    least int;
    rest bigint;
    threshold int;
    k int;
begin
    if octet_length(label) = char_length(label) then
        return label;
    end if;
    if char_length(label) > 63 then
        return null;
    end if;
    points := array(select ascii(letter) from string_to_table(label, null) with ordinality as t (letter, place) order by place);
    foreach point in array points loop
        if point < 128 then
            basic := basic || chr(point);
        end if;
    end loop;
    handled := char_length(basic);
    coded := case when handled > 0 then basic || '-' else '' end;
    while handled < cardinality(points) loop
        select min(p) into least from unnest(points) as p where p >= n;
        delta := delta + (least - n)::bigint * (handled + 1);
        n := least;
        foreach point in array points loop
            if point < n then
                delta := delta + 1;
            elsif point = n then
                rest := delta;
                k := 36;
                loop
                    threshold := case when k <= bias then 1 when k >= bias + 26 then 26 else k - bias end;
                    exit when rest < threshold;
                    coded := coded || substr(digits, (threshold + (rest - threshold) % (36 - threshold))::int + 1, 1);
                    rest := (rest - threshold) / (36 - threshold);
                    k := k + 36;
                end loop;
                coded := coded || substr(digits, rest::int + 1, 1);
                -- Bias adaptation, RFC 3492 §6.1.
                delta := case when handled = char_length(basic) then delta / 700 else delta / 2 end;
                delta := delta + delta / (handled + 1);
                k := 0;
                while delta > 455 loop
                    delta := delta / 35;
                    k := k + 36;
                end loop;
                bias := k + (36 * delta / (delta + 38))::int;
                delta := 0;
                handled := handled + 1;
            end if;
        end loop;
        delta := delta + 1;
        n := n + 1;
    end loop;
    return 'xn--' || coded;
end
$gate$;

-- An address in the one spelling that is compared; null for what is none. tocsin/access/allowlist/address.py does the
-- same, and both are held to the same vectors.
create or replace function {{gate}}.normalised(address text) returns text
language plpgsql immutable set search_path = '' as $gate$
declare
    found text := translate(btrim(address, E' \t\r\n'), 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', 'abcdefghijklmnopqrstuvwxyz');
    name text;
    domain text;
    labels text[];
begin
    if found is null or char_length(found) > 254 or char_length(found) - char_length(replace(found, '@', '')) <> 1 then
        return null;
    end if;
    name := split_part(found, '@', 1);
    domain := split_part(found, '@', 2);
    if name !~ '^[a-z0-9.!#$%&''*+/=?^_`{|}~-]{1,64}$' or name ~ E'[\n]' then
        return null;
    end if;
    if domain ~ '[\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2064\u2066-\u206f\ufeff]' then
        return null;
    end if;
    labels := array(
        select {{gate}}.a_label(label) from string_to_table(domain, '.') with ordinality as t (label, place) order by place
    );
    if cardinality(labels) < 2 or labels[cardinality(labels)] ~ '^[0-9]+$' then
        return null;
    end if;
    if exists (
        select from unnest(labels) as label where label is null or label !~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'
    ) then
        return null;
    end if;
    domain := array_to_string(labels, '.');
    return case when char_length(domain) <= 253 then name || '@' || domain end;
end
$gate$;

-- What addresses are compared by, where the list ignores plus tags or Gmail's dots.
create or replace function {{gate}}.folded(address text, folding text) returns text
language sql immutable set search_path = '' as $gate$
    with parts as (
        select split_part(address, '@', 1) as name, split_part(address, '@', 2) as domain
    ), untagged as (
        select domain, case when folding like '%plus%' then coalesce(nullif(split_part(name, '+', 1), ''), name) else name end
            as name
        from parts
    )
    select case when folding like '%dots%' and domain in ('gmail.com', 'googlemail.com')
        then coalesce(nullif(replace(name, '.', ''), ''), name) else name end || '@' || domain
    from untagged
$gate$;

-- True for who is on the list: allowed by an entry that has not expired, denied by none. Never null.
create or replace function {{gate}}.is_allowed(address text) returns boolean
language plpgsql stable set search_path = '' as $gate$
declare
    found text := {{gate}}.normalised(address);
    -- The domain was written with letters outside ASCII: a wildcard does not let it in.
    spelled boolean := octet_length(address) <> char_length(address);
    domain text := split_part(found, '@', 2);
    folding text := coalesce((select s.value from {{state}}.allowlist_settings s where s.name = 'folding'), '');
    at bigint := floor(extract(epoch from statement_timestamp()) * 1000000);
    key text := {{gate}}.folded(found, folding);
begin
    if found is null then
        return false;
    end if;
    return coalesce((
        select bool_and(e.effect = 'allow') and bool_or(not (e.kind = 'wildcard' and spelled))
        from {{state}}.allowlist e
        where (e.expires_at is null or at < e.expires_at) and case e.kind
            when 'email' then case folding when '' then e.value = found else {{gate}}.folded(e.value, folding) = key end
            when 'domain' then e.value = domain
            when 'wildcard' then right(domain, char_length(e.value) - 1) = substr(e.value, 2)
            else false
        end
    ), false);
end
$gate$;

-- The before-user-created hook. A message that is empty would let everybody in, and one without http_code becomes a 500:
-- https://supabase.com/docs/guides/auth/auth-hooks/before-user-created-hook
create or replace function {{gate}}.before_user_created(event jsonb) returns jsonb
language plpgsql stable set search_path = '' as $gate$
begin
    if {{gate}}.is_allowed(event #>> '{user,email}') then
        return '{}'::jsonb;
    end if;
    return jsonb_build_object(
        'error', jsonb_build_object('http_code', 403, 'message', 'This address is not on the access list.')
    );
end
$gate$;
