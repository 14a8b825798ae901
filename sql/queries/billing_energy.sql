-- Energy of spans that are billed. Telemetry database. Bills are told apart by their place in the arrays.

-- name: unfinished
-- Spans of meters of which anything is still to be computed, or could not be.
SELECT u.n::integer AS n, u.waiting, u.failed
FROM (SELECT s.n, EXISTS (SELECT FROM dirty_meters AS d
                           WHERE d.meters @> ARRAY[s.meter_id] AND d.first_time < s.until AND d.last_time >= s.since - INTERVAL '15 minutes')
                  OR EXISTS (SELECT FROM dirty_intervals AS d
                              WHERE d.meter_id = s.meter_id AND d.first_bucket < s.until AND d.last_bucket >= s.since AND d.error IS NULL AND d.not_before <= %(now)s)
             AS waiting,
             EXISTS (SELECT FROM failed_marks AS f WHERE f.meter_id = s.meter_id AND f.first_time < s.until AND f.last_time >= s.since) AS failed
      FROM unnest(%(meters)s::integer[], %(since)s::timestamptz[], %(until)s::timestamptz[]) WITH ORDINALITY AS s (meter_id, since, until, n)) AS u
WHERE u.waiting OR u.failed ORDER BY u.n;

-- name: energy
-- Of each bill how many quarter-hours are missing or failed, and what the others add up to in its segments and days, which follow
-- one another (whole quarter-hours, by their begin). Of how many quarter-hours
-- reactive energy is not known. Where a segment has a generator: what was used and generated, how many
-- quarter-hours are known of which both meters tell all that matters, and in how many more went out than there was.
WITH bill AS MATERIALIZED (
    SELECT b.n, b.meter_id, b.segments::timestamptz[] AS segments, b.days::timestamptz[] AS days, b.generators::integer[] AS generators, b.since, b.until,
           ARRAY(SELECT c FROM unnest(b.segments::timestamptz[]) AS c UNION SELECT c FROM unnest(b.days::timestamptz[]) AS c ORDER BY 1) AS cuts
    FROM unnest(%(meters)s::integer[], %(segments)s::text[], %(days)s::text[], %(generators)s::text[], %(since)s::timestamptz[], %(until)s::timestamptz[])
         WITH ORDINALITY AS b (meter_id, segments, days, generators, since, until, n)
), cell AS MATERIALIZED (
    -- In a cell neither segment nor day changes.
    SELECT c.n, width_bucket(b.cuts[c.place], b.segments) AS segment, width_bucket(b.cuts[c.place], b.days) AS day, quality_rank(c.quality) AS quality_rank,
           c.quality IN (8, 9) AS estimated, CASE WHEN c.quality = 10 THEN c.first_at END AS failed_at, c.known, c.import_wh, c.export_wh, c.import_varh, c.peak_wh,
           c.version, c.unreactive
    FROM (SELECT b.n, width_bucket(e.bucket, b.cuts) AS place, e.quality, count(*) AS known, min(e.bucket) AS first_at, sum(e.energy_import_wh) AS import_wh,
                 sum(e.energy_export_wh) AS export_wh, sum(e.reactive_energy_import_varh) AS import_varh, max(e.energy_import_wh) AS peak_wh, sum(e.version) AS version,
                 count(*) - count(e.reactive_energy_import_varh) AS unreactive
          -- Of all meters at once. Spans of a meter are disjoint.
          FROM effective_quarters(%(meters)s::integer[], %(since)s::timestamptz[], %(until)s::timestamptz[]) AS e
          JOIN bill AS b ON b.meter_id = e.meter_id AND e.bucket >= b.since AND e.bucket < b.until
          WHERE e.energy_import_wh IS NOT NULL GROUP BY 1, 2, 3) AS c
    JOIN bill AS b USING (n)
), generator AS MATERIALIZED (
    SELECT DISTINCT b.n, g.generator_id FROM bill AS b CROSS JOIN LATERAL unnest(b.generators) AS g (generator_id) WHERE g.generator_id IS NOT NULL
), own AS MATERIALIZED (
    SELECT b.n, width_bucket(e.bucket, b.segments) AS segment, b.generators[width_bucket(e.bucket, b.segments)] AS generator_id, e.*
    FROM bill AS b CROSS JOIN LATERAL effective_quarters(ARRAY[b.meter_id], ARRAY[b.since], ARRAY[b.until]) AS e
    WHERE EXISTS (SELECT FROM generator AS g WHERE g.n = b.n)
), output AS MATERIALIZED (
    SELECT g.n, g.generator_id, e.*
    FROM generator AS g JOIN bill AS b USING (n) CROSS JOIN LATERAL effective_quarters(ARRAY[g.generator_id], ARRAY[b.since], ARRAY[b.until]) AS e
), generated AS (
    -- Both are materialized: a function beside another one in the FROM list is asked again for each row of that.
    SELECT o.n, o.segment, g.energy_export_wh AS generated_wh, o.energy_import_wh - o.energy_export_wh + g.energy_export_wh AS used_wh,
           o.quality AS own_quality, g.quality, o.version + g.version AS version, o.bucket
    FROM own AS o JOIN output AS g USING (n, generator_id, bucket)
    WHERE num_nulls(o.energy_import_wh, o.energy_export_wh, g.energy_export_wh) = 0
), gross AS (
    SELECT g.n, g.segment, count(*) AS known, count(*) FILTER (WHERE g.used_wh < 0) AS contradicted, count(*) FILTER (WHERE g.quality = 10) AS failed,
           min(g.bucket) FILTER (WHERE g.quality = 10) AS failed_at, sum(g.used_wh) AS gross_load_wh, sum(g.generated_wh) AS pv_gen_wh,
           max(g.used_wh) AS peak_wh, max(greatest(quality_rank(g.own_quality), quality_rank(g.quality))) AS quality_rank, sum(g.version) AS version,
           bool_or(g.own_quality IN (8, 9) OR g.quality IN (8, 9)) AS estimated
    FROM generated AS g GROUP BY g.n, g.segment
), segment AS (
    SELECT b.n, s.place, s.starts_at, lead(s.starts_at, 1, b.until) OVER (PARTITION BY b.n ORDER BY s.place) AS ends_at, b.generators[s.place] AS generator_id, c.*,
           g.known, g.contradicted, g.failed, g.failed_at, g.gross_load_wh, g.pv_gen_wh, g.peak_wh AS gross_peak_wh, g.quality_rank AS gross_quality_rank,
           g.version AS gross_version, g.estimated AS gross_estimated
    FROM bill AS b
    CROSS JOIN LATERAL unnest(b.segments) WITH ORDINALITY AS s (starts_at, place)
    LEFT JOIN (SELECT c.n AS of_bill, c.segment, sum(c.import_wh) AS import_wh, sum(c.export_wh) AS export_wh, sum(c.import_varh) AS import_varh, max(c.peak_wh) AS peak_wh,
                      max(c.quality_rank) AS quality_rank, sum(c.version) AS version, bool_or(c.estimated) AS estimated
               FROM cell AS c GROUP BY c.n, c.segment) AS c ON c.of_bill = b.n AND c.segment = s.place
    LEFT JOIN gross AS g ON g.n = b.n AND g.segment = s.place
), segments AS (
    SELECT s.n, array_agg(coalesce(s.import_wh, 0) ORDER BY s.place)::text AS import_wh, array_agg(coalesce(s.export_wh, 0) ORDER BY s.place)::text AS export_wh,
           array_agg(s.import_varh ORDER BY s.place)::text AS import_varh,
           array_agg(CASE WHEN s.generator_id IS NULL THEN s.peak_wh ELSE s.gross_peak_wh END ORDER BY s.place)::text AS peak_wh,
           array_agg(quality_of_rank(CASE WHEN s.generator_id IS NULL THEN s.quality_rank ELSE s.gross_quality_rank END) ORDER BY s.place)::text AS quality,
           array_agg(CASE WHEN s.generator_id IS NULL THEN coalesce(s.version, 0) ELSE s.gross_version END ORDER BY s.place)::text AS version,
           array_agg(coalesce(CASE WHEN s.generator_id IS NULL THEN s.estimated ELSE s.gross_estimated END, false) ORDER BY s.place)::text AS estimated,
           array_agg(s.gross_load_wh ORDER BY s.place)::text AS gross_load_wh, array_agg(s.pv_gen_wh ORDER BY s.place)::text AS pv_gen_wh,
           jsonb_agg(jsonb_build_object('generator_id', s.generator_id, 'starts_at', s.starts_at, 'ends_at', s.ends_at, 'failed_at', s.failed_at,
                         'doubtful', s.known IS DISTINCT FROM EXTRACT(epoch FROM s.ends_at - s.starts_at) / 900 OR s.contradicted > 0) ORDER BY s.place)
               FILTER (WHERE s.generator_id IS NOT NULL) AS gross
    FROM segment AS s GROUP BY s.n
), day AS (
    SELECT b.n, d.place, coalesce(sum(c.import_wh), 0) AS import_wh, coalesce(sum(c.export_wh), 0) AS export_wh, coalesce(bool_or(c.estimated), false) AS estimated
    FROM bill AS b
    CROSS JOIN LATERAL generate_subscripts(b.days, 1) AS d (place)
    LEFT JOIN cell AS c ON c.n = b.n AND c.day = d.place
    GROUP BY b.n, d.place
), days AS (
    SELECT d.n, array_agg(d.import_wh ORDER BY d.place)::text AS day_import_wh, array_agg(d.export_wh ORDER BY d.place)::text AS day_export_wh,
           array_agg(d.estimated ORDER BY d.place)::text AS day_estimated
    FROM day AS d GROUP BY d.n
), whole AS (
    SELECT c.n, sum(c.known) AS known, sum(c.unreactive) AS unreactive, min(c.failed_at) AS failed_at FROM cell AS c GROUP BY c.n
)
SELECT (EXTRACT(epoch FROM b.until - b.since) / 900 - coalesce(w.known, 0))::integer AS missing, w.failed_at, coalesce(w.unreactive, 0) AS unreactive, s.*, d.day_import_wh, d.day_export_wh, d.day_estimated
FROM bill AS b JOIN segments AS s USING (n) JOIN days AS d USING (n) LEFT JOIN whole AS w USING (n) ORDER BY b.n;

-- name: version
-- Of each span the sum of its quarter-hours' versions, and of their energy, and how many are missing.
SELECT (EXTRACT(epoch FROM s.until - s.since) / 900)::integer - e.known::integer AS missing, e.version::bigint, e.import_wh::bigint, e.export_wh::bigint
FROM unnest(%(meters)s::integer[], %(since)s::timestamptz[], %(until)s::timestamptz[]) WITH ORDINALITY AS s (meter_id, since, until, n)
CROSS JOIN LATERAL (
    SELECT count(*) AS known, coalesce(sum(e.version), 0) AS version, coalesce(sum(e.energy_import_wh), 0) AS import_wh, coalesce(sum(e.energy_export_wh), 0) AS export_wh
    FROM effective_quarters(ARRAY[s.meter_id], ARRAY[s.since], ARRAY[s.until]) AS e WHERE e.energy_import_wh IS NOT NULL) AS e
ORDER BY s.n;

-- name: touched
-- Spans in which something may have changed after an instant. What came by then of whoever sets another clock is allowed an hour.
-- Readings change what is younger than they are kept; but for months of which no run looks at the bill again, one did after that.
SELECT s.n::integer - 1 AS place
FROM unnest(%(meters)s::integer[], %(since)s::timestamptz[], %(until)s::timestamptz[], %(after)s::timestamptz[]) WITH ORDINALITY AS s (meter_id, since, until, after, n)
WHERE EXISTS (SELECT FROM interval_versions AS v
               WHERE v.meter_id = s.meter_id AND v.bucket >= s.since AND v.bucket < s.until AND greatest(v.created_at, v.ended_at) > s.after - INTERVAL '1 hour')
   OR %(readings)s AND EXISTS (SELECT FROM aggregates_15m AS a
                                WHERE a.meter_id = s.meter_id AND a.bucket >= greatest(s.since, retention_horizon('raw_readings', s.after)) AND a.bucket < s.until
                                  AND a.computed_at > s.after - INTERVAL '1 hour')
ORDER BY 1;

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

-- name: unreactive
-- The runs of quarter-hours of which reactive energy alone is not known, in these spans.
WITH lacking AS (
    SELECT e.bucket AS at, e.bucket - row_number() OVER (ORDER BY e.bucket) * INTERVAL '15 minutes' AS island
    FROM effective_quarters(ARRAY[%(meter)s::integer], ARRAY[%(from)s::timestamptz], ARRAY[%(to)s::timestamptz]) AS e
    WHERE e.energy_import_wh IS NOT NULL AND e.reactive_energy_import_varh IS NULL AND %(spans)s::tstzmultirange @> e.bucket
)
SELECT min(l.at) AS "from", max(l.at) + INTERVAL '15 minutes' AS "to", count(*)::integer AS quarters FROM lacking AS l GROUP BY l.island ORDER BY 1;

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

-- name: measured
-- Meters that have quarter-hours in their spans.
SELECT s.meter_id FROM unnest(%(meter_id)s::integer[], %(since)s::timestamptz[], %(until)s::timestamptz[]) AS s (meter_id, since, until)
WHERE EXISTS (SELECT FROM aggregates_15m AS a WHERE a.meter_id = s.meter_id AND a.bucket >= s.since AND a.bucket < s.until);
