-- What the API asks of the telemetry database, within what segs.grants lets its caller see. Of a span the parts that are the
-- caller's are told; where a meter may not be read at any time, SG060.

-- name: readings
-- Readings of a meter as they came.
SELECT %(meter_id)s::integer AS meter_id, r.*
FROM readable_spans(%(meter_id)s, %(from)s, %(to)s) AS s
CROSS JOIN LATERAL meter_readings(%(meter_id)s, s.start_time, s.end_time, %(limit)s) AS r
ORDER BY r.time LIMIT %(limit)s;

-- name: resolution
-- The resolution of a chart.
SELECT resolution_for(%(from)s, %(to)s, %(pixels)s, %(now)s, %(interval_ms)s) AS resolution;

-- name: history
-- Intervals of a meter.
SELECT h.*
FROM readable_spans(%(meter_id)s, %(from)s, %(to)s) AS s
CROSS JOIN LATERAL meter_history(%(meter_id)s, s.start_time, s.end_time, %(resolution)s, %(zone)s, %(limit)s) AS h
ORDER BY h.start_time LIMIT %(limit)s;

-- name: channels
-- Voltages, currents, frequency and power factor of a meter by the same intervals.
SELECT c.*
FROM readable_spans(%(meter_id)s, %(from)s, %(to)s) AS s
CROSS JOIN LATERAL meter_channels(%(meter_id)s, s.start_time, s.end_time, %(resolution)s, %(zone)s, %(limit)s) AS c
ORDER BY c.start_time LIMIT %(limit)s;

-- name: statistics
-- What a span of a meter amounts to, a row for each part that is the caller's.
SELECT t.*
FROM readable_spans(%(meter_id)s, %(from)s, %(to)s) AS s
CROSS JOIN LATERAL meter_statistics(%(meter_id)s, s.start_time, s.end_time, %(now)s) AS t
ORDER BY t.start_time;

-- name: energy
-- Local days or months of a meter, from a date to before another. One that nothing was registered for has no days yet.
SELECT e.*
FROM (SELECT * FROM local_bounds(%(meter_id)s, %(first)s, %(end)s, %(zone)s) WHERE start_time IS NOT NULL) AS b
CROSS JOIN LATERAL readable_spans(%(meter_id)s, b.start_time, b.end_time) AS s
CROSS JOIN LATERAL meter_energy(%(meter_id)s, s.start_time, s.end_time, %(resolution)s, %(zone)s) AS e
ORDER BY e.start_time;

-- name: compare
-- Two spans of a meter side by side: of each the latest part that is the caller's.
SELECT c.*
FROM (SELECT s.* FROM readable_spans(%(meter_id)s, %(before_from)s, %(before_to)s) AS s ORDER BY s.start_time DESC LIMIT 1) AS b
CROSS JOIN (SELECT s.* FROM readable_spans(%(meter_id)s, %(after_from)s, %(after_to)s) AS s ORDER BY s.start_time DESC LIMIT 1) AS a
CROSS JOIN LATERAL compare_periods(%(meter_id)s, b.start_time, b.end_time, a.start_time, a.end_time, %(now)s) AS c;

-- name: completeness
-- How complete the readings of a meter are.
SELECT c.*
FROM readable_spans(%(meter_id)s, %(from)s, %(to)s) AS s
CROSS JOIN LATERAL completeness_summary(%(meter_id)s, s.start_time, s.end_time, %(now)s, %(stretches)s) AS c
ORDER BY c.start_time, c.first_time;

-- name: regions
-- Regions now, by the hour and by the day.
SELECT * FROM region_statistics(%(regions)s, %(now)s);

-- name: region_history
-- Quarter-hours of a region.
SELECT * FROM region_history(%(region)s, %(from)s, %(to)s, %(limit)s);

-- name: top_consumers
-- Who takes the most in a region.
SELECT * FROM top_consumers(%(region)s, %(from)s, %(to)s, %(limit)s);

-- name: gateways
-- What gateways delivered, and how they said that they are doing.
SELECT * FROM gateways_heard(%(gateways)s);
