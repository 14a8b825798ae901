-- Statements about the audit log. Domain database.

-- name: page
-- Newest first; what is NULL does not narrow. Of a page, the last audit_id is where the next one goes on.
SELECT audit_id, occurred_at, actor, database_role, request_id, action, table_name, row_key,
    audit_told(old) AS old, audit_told(new) AS new, subjects, meters
FROM audit_logs
WHERE (%(before)s::bigint IS NULL OR audit_id < %(before)s)
    AND (%(actor)s::text IS NULL OR actor = %(actor)s)
    AND (%(action)s::text IS NULL OR action = %(action)s)
    AND (%(table)s::text IS NULL OR table_name = %(table)s)
    AND (%(row)s::text IS NULL OR row_key = %(row)s)
    AND (%(request)s::text IS NULL OR request_id = %(request)s)
    AND (%(subject)s::integer IS NULL OR (subjects @> ARRAY[%(subject)s::integer] AND action = 'READ'))
    AND (%(meter)s::integer IS NULL OR (meters @> ARRAY[%(meter)s::integer] AND action = 'READ'))
    AND (%(from)s::timestamptz IS NULL OR occurred_at >= %(from)s)
    AND (%(to)s::timestamptz IS NULL OR occurred_at < %(to)s)
ORDER BY audit_id DESC LIMIT %(limit)s + 1;

-- name: look
-- Before a look at somebody else's data: at one meter, by its code, or at whatever details say; of a span, or of now.
SELECT audit_access(%(what)s, CASE WHEN %(code)s::text IS NOT NULL THEN array_remove(ARRAY[meter_number(%(code)s)], NULL) END,
                    NULL, %(details)s::jsonb,
                    CASE WHEN %(from)s::timestamptz IS NOT NULL THEN tstzrange(%(from)s, %(to)s) END);

-- name: found
-- After a look at whatever there was: which meters these were.
SELECT audit_access(%(what)s, %(meters)s::integer[], NULL, %(details)s::jsonb);

-- name: snapshot
-- Rows, links and heads as they were at one instant.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;

-- name: rows
-- Fields of all rows as their hash covers them, form 1, in the order of their ids.
SELECT audit_id, block, position, hash, array[form::text, audit_id::text,
    (extract(epoch FROM occurred_at) * 1000000)::bigint::text, actor, database_role, request_id, action, table_name, row_key,
    old::text, new::text, subjects::text, meters::text, transaction_id::text, block::text, position::text] AS fields
FROM audit_logs ORDER BY audit_id;

-- name: rows_near
-- The same of the rows of one block, and of those beside one row.
SELECT audit_id, block, position, hash, array[form::text, audit_id::text,
    (extract(epoch FROM occurred_at) * 1000000)::bigint::text, actor, database_role, request_id, action, table_name, row_key,
    old::text, new::text, subjects::text, meters::text, transaction_id::text, block::text, position::text] AS fields
FROM audit_logs WHERE block = %(block)s OR audit_id BETWEEN %(audit_id)s - 100 AND %(audit_id)s + 100 ORDER BY audit_id;

-- name: links
-- Links in the order of their blocks, which is that of their first rows.
SELECT lane, link_id, linked_us, block, transaction_id, rows, rows_digest, previous_digest, hash
FROM (SELECT *, (extract(epoch FROM linked_at) * 1000000)::bigint AS linked_us FROM audit_links) AS l ORDER BY block;

-- name: chain
-- Links in the order of the chain.
SELECT lane, link_id, linked_us, block, transaction_id, rows, rows_digest, previous_digest, hash
FROM (SELECT *, (extract(epoch FROM linked_at) * 1000000)::bigint AS linked_us FROM audit_links) AS l ORDER BY lane, link_id;

-- name: heads
-- Ends of the lanes.
SELECT lane, link_id, hash FROM audit_heads ORDER BY lane;

-- name: personal
-- What rows have digests of.
SELECT user_id, value, salt, digest FROM audit_personal ORDER BY user_id, value;

-- name: personal_gone
-- The first row with a digest of nothing, though the log does not say that its user has left.
SELECT a.audit_id, a.row_key
FROM audit_logs AS a
CROSS JOIN LATERAL (SELECT value FROM jsonb_each(a.old) UNION ALL SELECT value FROM jsonb_each(a.new)) AS e
WHERE a.table_name = 'users' AND jsonb_typeof(e.value) = 'object'
    AND NOT EXISTS (SELECT FROM audit_personal AS p WHERE p.digest = e.value ->> 'digest' AND p.user_id::text = a.row_key)
    AND NOT EXISTS (SELECT FROM audit_logs AS l
                     WHERE l.table_name = 'users' AND l.row_key = a.row_key
                       AND (l.action = 'DELETE' OR l.new ->> 'deleted_at' IS NOT NULL))
ORDER BY a.audit_id LIMIT 1;
