
-- The custom-access-token hook: asked at each sign-in and refresh, so a removal bites within a token's life, and users
-- made by an admin or with a changed address are seen too. It lets in nobody without an address.
create or replace function {{gate}}.custom_access_token(event jsonb) returns jsonb
language plpgsql stable set search_path = '' as $gate$
begin
    if {{gate}}.is_allowed(event #>> '{claims,email}') then
        return jsonb_build_object('claims', event -> 'claims');
    end if;
    return jsonb_build_object(
        'error', jsonb_build_object('http_code', 403, 'message', 'This address is not on the access list.')
    );
end
$gate$;
