-- The state now, held until the transaction ends: whoever changes it waits for us.
select status from campaigns where id = %(id)s for update
