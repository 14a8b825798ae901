-- Energy of spans that are billed. Telemetry database.

-- name: unfinished
-- Whether anything of the meter's span is still to be computed, or could not be.
SELECT EXISTS (SELECT FROM dirty_meters AS d
                WHERE d.meters @> ARRAY[%(meter)s::integer] AND d.first_time < %(to)s::timestamptz AND d.last_time >= %(from)s::timestamptz - INTERVAL '15 minutes')
       OR EXISTS (SELECT FROM dirty_intervals AS d
                   WHERE d.meter_id = %(meter)s AND d.first_bucket < %(to)s AND d.last_bucket >= %(from)s AND d.error IS NULL AND d.not_before <= %(now)s)
       AS waiting,
       EXISTS (SELECT FROM failed_marks AS f WHERE f.meter_id = %(meter)s AND f.first_time < %(to)s AND f.last_time >= %(from)s) AS failed;

-- name: spans
-- Of each span (whole quarter-hours, disjoint, in order) how many quarter-hours are known, and what they add up to.
WITH span AS (
    SELECT s.starts_at, s.ends_at, s.n FROM unnest(%(starts)s::timestamptz[], %(ends)s::timestamptz[]) WITH ORDINALITY AS s (starts_at, ends_at, n)
), quarter AS MATERIALIZED (
    SELECT e.bucket, e.energy_import_wh, e.energy_export_wh, e.reactive_energy_import_varh, e.quality, e.version,
           width_bucket(e.bucket, (SELECT array_agg(s.starts_at ORDER BY s.n) FROM span AS s)) AS n
    FROM effective_quarters(ARRAY[%(meter)s::integer], ARRAY[(SELECT min(s.starts_at) FROM span AS s)], ARRAY[(SELECT max(s.ends_at) FROM span AS s)]) AS e
    WHERE e.energy_import_wh IS NOT NULL
)
SELECT s.starts_at, s.ends_at, (EXTRACT(epoch FROM s.ends_at - s.starts_at) / 900)::integer - count(q.bucket)::integer AS missing,
       count(*) FILTER (WHERE q.quality = 10)::integer AS failed, min(q.bucket) FILTER (WHERE q.quality = 10) AS failed_at,
       coalesce(sum(q.energy_import_wh), 0)::bigint AS import_wh, coalesce(sum(q.energy_export_wh), 0)::bigint AS export_wh,
       sum(q.reactive_energy_import_varh)::bigint AS import_varh, max(q.energy_import_wh) AS peak_wh,
       quality_of_rank(max(quality_rank(q.quality))) AS quality, coalesce(sum(q.version), 0)::bigint AS version,
       coalesce(bool_or(q.quality IN (8, 9)), false) AS estimated
FROM span AS s LEFT JOIN quarter AS q ON q.n = s.n AND q.bucket < s.ends_at
GROUP BY s.n, s.starts_at, s.ends_at ORDER BY s.n;

-- name: missing
-- The runs of quarter-hours of which nothing is known.
WITH there AS MATERIALIZED (
    SELECT e.bucket FROM effective_quarters(ARRAY[%(meter)s::integer], ARRAY[%(from)s::timestamptz], ARRAY[%(to)s::timestamptz]) AS e WHERE e.energy_import_wh IS NOT NULL
), lacking AS (
    SELECT g.at, g.at - row_number() OVER (ORDER BY g.at) * INTERVAL '15 minutes' AS island
    FROM generate_series(%(from)s::timestamptz, %(to)s::timestamptz - INTERVAL '1 microsecond', INTERVAL '15 minutes') AS g (at)
    WHERE NOT EXISTS (SELECT FROM there AS t WHERE t.bucket = g.at)
)
SELECT min(l.at) AS "from", max(l.at) + INTERVAL '15 minutes' AS "to", count(*)::integer AS quarters FROM lacking AS l GROUP BY l.island ORDER BY 1;

-- name: generation
-- The same spans, each with the meter of what was generated in it: what was used, and what was generated. known counts
-- quarter-hours of which both meters tell all that matters, contradicted those in which more went out than there was.
WITH span AS (
    SELECT s.starts_at, s.ends_at, s.generator_id, s.n
    FROM unnest(%(starts)s::timestamptz[], %(ends)s::timestamptz[], %(generators)s::integer[]) WITH ORDINALITY AS s (starts_at, ends_at, generator_id, n)
), own AS MATERIALIZED (
    SELECT e.*, width_bucket(e.bucket, (SELECT array_agg(s.starts_at ORDER BY s.n) FROM span AS s)) AS n
    FROM effective_quarters(ARRAY[%(meter)s::integer], ARRAY[(SELECT min(s.starts_at) FROM span AS s)], ARRAY[(SELECT max(s.ends_at) FROM span AS s)]) AS e
), generated AS MATERIALIZED (
    SELECT e.* FROM (SELECT s.generator_id, min(s.starts_at) AS lo, max(s.ends_at) AS hi FROM span AS s GROUP BY s.generator_id) AS g
    CROSS JOIN LATERAL effective_quarters(ARRAY[g.generator_id], ARRAY[g.lo], ARRAY[g.hi]) AS e
), quarter AS (
    SELECT s.n, o.bucket, g.energy_export_wh AS generated_wh, o.energy_import_wh - o.energy_export_wh + g.energy_export_wh AS used_wh,
           o.quality AS own_quality, g.quality, o.version + g.version AS version
    FROM span AS s
    JOIN own AS o ON o.n = s.n AND o.bucket < s.ends_at
    JOIN generated AS g ON g.meter_id = s.generator_id AND g.bucket = o.bucket
    WHERE num_nulls(o.energy_import_wh, o.energy_export_wh, g.energy_export_wh) = 0
)
SELECT s.starts_at, s.ends_at, count(q.bucket)::integer AS known, count(*) FILTER (WHERE q.used_wh < 0)::integer AS contradicted, count(*) FILTER (WHERE q.quality = 10)::integer AS failed,
       min(q.bucket) FILTER (WHERE q.quality = 10) AS failed_at, sum(q.used_wh)::bigint AS gross_load_wh, sum(q.generated_wh)::bigint AS pv_gen_wh,
       max(q.used_wh) AS peak_wh, quality_of_rank(max(greatest(quality_rank(q.own_quality), quality_rank(q.quality)))) AS quality,
       sum(q.version)::bigint AS version, coalesce(bool_or(q.own_quality IN (8, 9) OR q.quality IN (8, 9)), false) AS estimated
FROM span AS s LEFT JOIN quarter AS q ON q.n = s.n
GROUP BY s.n, s.starts_at, s.ends_at ORDER BY s.n;

-- name: ungenerated
-- The runs of quarter-hours of which it is not known what was generated, or less than what went out.
WITH own AS MATERIALIZED (
    SELECT e.* FROM effective_quarters(ARRAY[%(meter)s::integer], ARRAY[%(from)s::timestamptz], ARRAY[%(to)s::timestamptz]) AS e
), generated AS MATERIALIZED (
    SELECT e.* FROM effective_quarters(ARRAY[%(generator)s::integer], ARRAY[%(from)s::timestamptz], ARRAY[%(to)s::timestamptz]) AS e
), lacking AS (
    SELECT t.at, t.at - row_number() OVER (ORDER BY t.at) * INTERVAL '15 minutes' AS island
    FROM generate_series(%(from)s::timestamptz, %(to)s::timestamptz - INTERVAL '1 microsecond', INTERVAL '15 minutes') AS t (at)
    LEFT JOIN own AS o ON o.bucket = t.at
    LEFT JOIN generated AS g ON g.bucket = t.at
    WHERE (o.energy_import_wh - o.energy_export_wh + g.energy_export_wh >= 0) IS NOT TRUE
)
SELECT min(l.at) AS "from", max(l.at) + INTERVAL '15 minutes' AS "to" FROM lacking AS l GROUP BY l.island ORDER BY 1;
