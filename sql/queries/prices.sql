-- Statements of the worker of prices. One clock counts, the domain server's: by a worker's that is behind, prices would be
-- decided on for what is over.

-- name: due
-- Regions with quarter-hours that were not looked at yet, and from when on their loads matter. Domain database.
SELECT region, since, looked_at FROM region_prices_due(clock_timestamp());

-- name: loads
-- Their loads, as far as they are computed: what has to be computed again is not known yet. Telemetry database.
SELECT coalesce(jsonb_agg(jsonb_build_object('region', o.region, 'bucket', o.bucket, 'load_percent', o.load_percent, 'coverage', o.coverage)), '[]')::text
FROM unnest(%(regions)s::text[], %(since)s::timestamptz[]) AS r (region, since)
CROSS JOIN LATERAL (
    SELECT i.region, i.bucket, i.load_percent, i.coverage FROM regional_15m AS i
     WHERE i.region = r.region AND i.bucket >= r.since AND i.bucket < %(looked_at)s OFFSET 0) AS o
WHERE NOT EXISTS (SELECT FROM dirty_regions AS d WHERE d.region = o.region AND d.bucket = o.bucket AND d.due_at <= %(looked_at)s);

-- name: decide
-- What becomes of it. Domain database.
SELECT region, starts_at, tier, load_percent, told FROM region_prices_decide(%(regions)s, %(loads)s, %(looked_at)s, clock_timestamp());
