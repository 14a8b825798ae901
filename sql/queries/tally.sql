-- Statements of the worker that adds up what gateways have delivered.

-- name: add_up
-- One row a gateway of the many that have come; how many went into it. Whoever is second finds nothing left.
WITH taken AS (
    DELETE FROM delivery_tallies
    WHERE gateway_id IN (SELECT gateway_id FROM delivery_tallies GROUP BY gateway_id HAVING count(*) > 1)
    RETURNING *
), added AS (
    INSERT INTO delivery_tallies (gateway_id, batches, readings, last_received_at, last_stream, last_seq)
    SELECT gateway_id, sum(batches), sum(readings), max(last_received_at),
        (array_agg(last_stream ORDER BY last_received_at DESC, tally_id DESC))[1],
        (array_agg(last_seq ORDER BY last_received_at DESC, tally_id DESC))[1]
    FROM taken GROUP BY gateway_id
)
SELECT count(*) FROM taken;
