-- Statements of the receiver.

-- name: registry_version
-- The number of the registry's present state.
SELECT version FROM registry_version;

-- name: registry_keys
-- Key hashes by gateway.
SELECT gateway_id, key_hashes FROM gateway_registry;

-- name: registry_devices
-- Device to meter in order of time, with bounds in microseconds since 1970; NULL where a bound is infinite.
SELECT gateway_id, device, meter_id,
    CASE WHEN isfinite(lower(valid)) THEN (EXTRACT(epoch FROM lower(valid)) * 1000000)::bigint END,
    CASE WHEN isfinite(upper(valid)) THEN (EXTRACT(epoch FROM upper(valid)) * 1000000)::bigint END
FROM device_registry ORDER BY valid;

-- name: ledger_open
-- Claim (gateway, stream, seq). No row: the batch is known already; waits for a transaction that is storing it now.
INSERT INTO ingest_batches (gateway_id, stream, seq, sha256, received_at, readings, stored, duplicates,
    quarantined, first_time, last_time)
VALUES (%(gateway_id)s, %(stream)s, %(seq)s, %(sha256)s, %(now)s, %(readings)s, %(stored)s, %(duplicates)s,
    %(quarantined)s, to_timestamp(%(first_us)s::bigint / 1e6), to_timestamp(%(last_us)s::bigint / 1e6))
ON CONFLICT (gateway_id, stream, seq) DO NOTHING
RETURNING batch_id, (SELECT version FROM registry_version);

-- name: rows_begin
-- Where the rows are undone to if some are there already.
SAVEPOINT rows;

-- name: rows_undo
-- Take back what was copied.
ROLLBACK TO SAVEPOINT rows;

-- name: rows_end
-- The rows are written, by either path.
RELEASE SAVEPOINT rows;

-- name: late_rows
-- The chunks of late rows may be compressed. What the rows are held against is opened, each batch of it once. TimescaleDB's
-- limit on that guards against mistakes, which late readings are not; on Apache the setting is nobody's.
SELECT set_config('timescaledb.max_tuples_decompressed_per_dml_transaction', '0', true),
    decompress_readings(array_agg(span.meter_id), array_agg(to_timestamp(span.first_us / 1e6)), array_agg(to_timestamp(span.last_us / 1e6)))
FROM unnest(%(meters)s::integer[], %(first_us)s::bigint[], %(last_us)s::bigint[]) AS span (meter_id, first_us, last_us);

-- name: ledger_correct
-- What became of a batch that met rows already stored.
UPDATE ingest_batches SET stored = %(stored)s, duplicates = %(duplicates)s, quarantined = %(quarantined)s
WHERE gateway_id = %(gateway_id)s AND stream = %(stream)s AND seq = %(seq)s;

-- name: ledger_find
-- The first answer to a batch.
SELECT sha256, readings, stored, duplicates, quarantined FROM ingest_batches
WHERE gateway_id = %(gateway_id)s AND stream = %(stream)s AND seq = %(seq)s;

-- name: ledger_confirm
-- A commit record of this transaction's own: its commit then waits for the disk, and for a synchronous standby, like
-- that of the first delivery, whose wait for the standby may have been cut short.
SELECT pg_current_xact_id();

-- name: stream_ranges
-- Inclusive ranges of sequence numbers that a stream has delivered, from a number on.
SELECT min(seq), max(seq)
FROM (
    SELECT seq, seq - row_number() OVER (ORDER BY seq) AS run FROM ingest_batches
    WHERE gateway_id = %(gateway_id)s AND stream = %(stream)s AND seq >= %(from_seq)s
) AS numbered
GROUP BY run ORDER BY run;

-- name: mark_dirty
-- Spans whose buckets have to be computed again, each with the meters that share it.
SELECT mark_meters(1, span.meters::integer[], to_timestamp(span.first_us / 1e6), to_timestamp(span.last_us / 1e6), %(now)s)
FROM unnest(%(meters)s::text[], %(first_us)s::bigint[], %(last_us)s::bigint[]) AS span (meters, first_us, last_us);

-- name: quarantine
-- Keep what cannot be stored.
INSERT INTO quarantine (batch_id, gateway_id, device, reason, readings, first_time, last_time, block, created_at)
SELECT %(batch_id)s, %(gateway_id)s, q.device, q.reason, q.readings, q.first_time, q.last_time, q.block::jsonb, %(now)s
FROM unnest(%(device)s::text[], %(reason)s::text[], %(readings)s::integer[], %(first_time)s::timestamptz[],
            %(last_time)s::timestamptz[], %(block)s::text[]) AS q (device, reason, readings, first_time, last_time, block);

-- name: notes
-- What a batch says besides its readings.
INSERT INTO gateway_notes (batch_id, gateway_id, kind, device, first_time, last_time, readings, detail)
SELECT %(batch_id)s, %(gateway_id)s, n.*
FROM unnest(%(kind)s::text[], %(device)s::text[], %(first_time)s::timestamptz[], %(last_time)s::timestamptz[],
            %(readings)s::bigint[], %(detail)s::text[]) AS n;

-- name: report
-- How a gateway is doing, instead of how it did.
INSERT INTO gateway_reports (gateway_id, received_at, sent_at, clock_ahead_s, software, report)
VALUES (%(gateway_id)s, %(now)s, %(sent_at)s, %(clock_ahead_s)s, %(software)s, %(report)s)
ON CONFLICT (gateway_id) DO UPDATE SET received_at = excluded.received_at, sent_at = excluded.sent_at,
    clock_ahead_s = excluded.clock_ahead_s, software = excluded.software, report = excluded.report;

-- name: incoming_create
-- Staging for rows of which some are there already; a release may need it for several blocks in its one transaction.
CREATE TEMPORARY TABLE IF NOT EXISTS incoming (LIKE raw_readings) ON COMMIT DROP;

-- name: incoming_store
-- New rows; those that lose to an existing row stay in incoming only. In the order in which COPY writes them, so that
-- nobody waits for who waits for him.
INSERT INTO raw_readings (time, meter_id, flags, batch_id,
    power_w, power_l1_w, power_l2_w, power_l3_w, apparent_power_va, reactive_power_var, power_factor,
    voltage_l1_v, voltage_l2_v, voltage_l3_v, current_l1_a, current_l2_a, current_l3_a, frequency_hz,
    energy_import_wh, energy_export_wh, reactive_energy_import_varh, reactive_energy_export_varh)
SELECT time, meter_id, flags, batch_id,
    power_w, power_l1_w, power_l2_w, power_l3_w, apparent_power_va, reactive_power_var, power_factor,
    voltage_l1_v, voltage_l2_v, voltage_l3_v, current_l1_a, current_l2_a, current_l3_a, frequency_hz,
    energy_import_wh, energy_export_wh, reactive_energy_import_varh, reactive_energy_export_varh
FROM incoming
ORDER BY date_bin('1 day', time, 'epoch'), meter_id, time
ON CONFLICT (meter_id, time) DO NOTHING;

-- name: incoming_lacking
-- Meters with an existing row that lacks columns which have come, and between when; NULL if there is none, as a rule.
SELECT array_agg(DISTINCT r.meter_id), min(r.time), max(r.time)
FROM incoming AS i JOIN raw_readings AS r ON r.meter_id = i.meter_id AND r.time = i.time
WHERE r.time BETWEEN %(first)s AND %(last)s
  AND ((r.power_w IS NULL AND i.power_w IS NOT NULL)
       OR (r.power_l1_w IS NULL AND i.power_l1_w IS NOT NULL)
       OR (r.power_l2_w IS NULL AND i.power_l2_w IS NOT NULL)
       OR (r.power_l3_w IS NULL AND i.power_l3_w IS NOT NULL)
       OR (r.apparent_power_va IS NULL AND i.apparent_power_va IS NOT NULL)
       OR (r.reactive_power_var IS NULL AND i.reactive_power_var IS NOT NULL)
       OR (r.power_factor IS NULL AND i.power_factor IS NOT NULL)
       OR (r.voltage_l1_v IS NULL AND i.voltage_l1_v IS NOT NULL)
       OR (r.voltage_l2_v IS NULL AND i.voltage_l2_v IS NOT NULL)
       OR (r.voltage_l3_v IS NULL AND i.voltage_l3_v IS NOT NULL)
       OR (r.current_l1_a IS NULL AND i.current_l1_a IS NOT NULL)
       OR (r.current_l2_a IS NULL AND i.current_l2_a IS NOT NULL)
       OR (r.current_l3_a IS NULL AND i.current_l3_a IS NOT NULL)
       OR (r.frequency_hz IS NULL AND i.frequency_hz IS NOT NULL)
       OR (r.energy_import_wh IS NULL AND i.energy_import_wh IS NOT NULL)
       OR (r.energy_export_wh IS NULL AND i.energy_export_wh IS NOT NULL)
       OR (r.reactive_energy_import_varh IS NULL AND i.reactive_energy_import_varh IS NOT NULL)
       OR (r.reactive_energy_export_varh IS NULL AND i.reactive_energy_export_varh IS NOT NULL));

-- name: incoming_complete
-- Columns that the existing row lacks. Compressed batches are opened but for those that the meters, as constants, exclude.
UPDATE raw_readings AS r SET
    power_w = COALESCE(r.power_w, i.power_w),
    power_l1_w = COALESCE(r.power_l1_w, i.power_l1_w),
    power_l2_w = COALESCE(r.power_l2_w, i.power_l2_w),
    power_l3_w = COALESCE(r.power_l3_w, i.power_l3_w),
    apparent_power_va = COALESCE(r.apparent_power_va, i.apparent_power_va),
    reactive_power_var = COALESCE(r.reactive_power_var, i.reactive_power_var),
    power_factor = COALESCE(r.power_factor, i.power_factor),
    voltage_l1_v = COALESCE(r.voltage_l1_v, i.voltage_l1_v),
    voltage_l2_v = COALESCE(r.voltage_l2_v, i.voltage_l2_v),
    voltage_l3_v = COALESCE(r.voltage_l3_v, i.voltage_l3_v),
    current_l1_a = COALESCE(r.current_l1_a, i.current_l1_a),
    current_l2_a = COALESCE(r.current_l2_a, i.current_l2_a),
    current_l3_a = COALESCE(r.current_l3_a, i.current_l3_a),
    frequency_hz = COALESCE(r.frequency_hz, i.frequency_hz),
    energy_import_wh = COALESCE(r.energy_import_wh, i.energy_import_wh),
    energy_export_wh = COALESCE(r.energy_export_wh, i.energy_export_wh),
    reactive_energy_import_varh = COALESCE(r.reactive_energy_import_varh, i.reactive_energy_import_varh),
    reactive_energy_export_varh = COALESCE(r.reactive_energy_export_varh, i.reactive_energy_export_varh)
FROM incoming AS i
WHERE r.meter_id = i.meter_id AND r.time = i.time AND r.time BETWEEN %(first)s AND %(last)s
  AND r.meter_id = ANY (%(meters)s)
  AND ((r.power_w IS NULL AND i.power_w IS NOT NULL)
       OR (r.power_l1_w IS NULL AND i.power_l1_w IS NOT NULL)
       OR (r.power_l2_w IS NULL AND i.power_l2_w IS NOT NULL)
       OR (r.power_l3_w IS NULL AND i.power_l3_w IS NOT NULL)
       OR (r.apparent_power_va IS NULL AND i.apparent_power_va IS NOT NULL)
       OR (r.reactive_power_var IS NULL AND i.reactive_power_var IS NOT NULL)
       OR (r.power_factor IS NULL AND i.power_factor IS NOT NULL)
       OR (r.voltage_l1_v IS NULL AND i.voltage_l1_v IS NOT NULL)
       OR (r.voltage_l2_v IS NULL AND i.voltage_l2_v IS NOT NULL)
       OR (r.voltage_l3_v IS NULL AND i.voltage_l3_v IS NOT NULL)
       OR (r.current_l1_a IS NULL AND i.current_l1_a IS NOT NULL)
       OR (r.current_l2_a IS NULL AND i.current_l2_a IS NOT NULL)
       OR (r.current_l3_a IS NULL AND i.current_l3_a IS NOT NULL)
       OR (r.frequency_hz IS NULL AND i.frequency_hz IS NOT NULL)
       OR (r.energy_import_wh IS NULL AND i.energy_import_wh IS NOT NULL)
       OR (r.energy_export_wh IS NULL AND i.energy_export_wh IS NOT NULL)
       OR (r.reactive_energy_import_varh IS NULL AND i.reactive_energy_import_varh IS NOT NULL)
       OR (r.reactive_energy_export_varh IS NULL AND i.reactive_energy_export_varh IS NOT NULL));

-- name: incoming_conflicts
-- Values that differ from what is stored: the stored ones stay, these are set aside for review.
SELECT (EXTRACT(epoch FROM i.time) * 1000000)::bigint, i.meter_id, i.flags,
    jsonb_strip_nulls(jsonb_build_object(
        'power_w', CASE WHEN i.power_w <> r.power_w THEN i.power_w END,
        'power_l1_w', CASE WHEN i.power_l1_w <> r.power_l1_w THEN i.power_l1_w END,
        'power_l2_w', CASE WHEN i.power_l2_w <> r.power_l2_w THEN i.power_l2_w END,
        'power_l3_w', CASE WHEN i.power_l3_w <> r.power_l3_w THEN i.power_l3_w END,
        'apparent_power_va', CASE WHEN i.apparent_power_va <> r.apparent_power_va THEN i.apparent_power_va END,
        'reactive_power_var', CASE WHEN i.reactive_power_var <> r.reactive_power_var THEN i.reactive_power_var END,
        'power_factor', CASE WHEN i.power_factor <> r.power_factor THEN i.power_factor END,
        'voltage_l1_v', CASE WHEN i.voltage_l1_v <> r.voltage_l1_v THEN i.voltage_l1_v END,
        'voltage_l2_v', CASE WHEN i.voltage_l2_v <> r.voltage_l2_v THEN i.voltage_l2_v END,
        'voltage_l3_v', CASE WHEN i.voltage_l3_v <> r.voltage_l3_v THEN i.voltage_l3_v END,
        'current_l1_a', CASE WHEN i.current_l1_a <> r.current_l1_a THEN i.current_l1_a END,
        'current_l2_a', CASE WHEN i.current_l2_a <> r.current_l2_a THEN i.current_l2_a END,
        'current_l3_a', CASE WHEN i.current_l3_a <> r.current_l3_a THEN i.current_l3_a END,
        'frequency_hz', CASE WHEN i.frequency_hz <> r.frequency_hz THEN i.frequency_hz END,
        'energy_import_wh', CASE WHEN i.energy_import_wh <> r.energy_import_wh THEN i.energy_import_wh END,
        'energy_export_wh', CASE WHEN i.energy_export_wh <> r.energy_export_wh THEN i.energy_export_wh END,
        'reactive_energy_import_varh', CASE WHEN i.reactive_energy_import_varh <> r.reactive_energy_import_varh THEN i.reactive_energy_import_varh END,
        'reactive_energy_export_varh', CASE WHEN i.reactive_energy_export_varh <> r.reactive_energy_export_varh THEN i.reactive_energy_export_varh END))
FROM incoming AS i JOIN raw_readings AS r ON r.meter_id = i.meter_id AND r.time = i.time
WHERE r.time BETWEEN %(first)s AND %(last)s
  AND (i.power_w <> r.power_w
    OR i.power_l1_w <> r.power_l1_w
    OR i.power_l2_w <> r.power_l2_w
    OR i.power_l3_w <> r.power_l3_w
    OR i.apparent_power_va <> r.apparent_power_va
    OR i.reactive_power_var <> r.reactive_power_var
    OR i.power_factor <> r.power_factor
    OR i.voltage_l1_v <> r.voltage_l1_v
    OR i.voltage_l2_v <> r.voltage_l2_v
    OR i.voltage_l3_v <> r.voltage_l3_v
    OR i.current_l1_a <> r.current_l1_a
    OR i.current_l2_a <> r.current_l2_a
    OR i.current_l3_a <> r.current_l3_a
    OR i.frequency_hz <> r.frequency_hz
    OR i.energy_import_wh <> r.energy_import_wh
    OR i.energy_export_wh <> r.energy_export_wh
    OR i.reactive_energy_import_varh <> r.reactive_energy_import_varh
    OR i.reactive_energy_export_varh <> r.reactive_energy_export_varh);

-- name: incoming_empty
-- Make room for the next layer.
TRUNCATE incoming;

-- name: quarantine_claim
-- Blocks that wait for a registration which has come by now; each is claimed by one worker. One of the readings has to
-- fall into the registration: what lies on either side of it would be set aside again, and claimed again, for ever.
SELECT q.quarantine_id, q.batch_id, q.gateway_id, q.block
FROM quarantine AS q
WHERE q.released_at IS NULL AND q.reason = 'unknown_device' AND q.quarantine_id <> ALL (%(without)s::bigint[])
  AND EXISTS (SELECT FROM device_registry AS d
              WHERE d.gateway_id = q.gateway_id AND d.device = q.device
                AND d.valid && tstzrange(q.first_time, q.last_time, '[]')
                AND EXISTS (SELECT FROM jsonb_array_elements(q.block -> 'time_us') AS t (time_us)
                            WHERE d.valid @> to_timestamp(t.time_us::bigint / 1e6)))
ORDER BY q.quarantine_id
LIMIT %(limit)s
FOR UPDATE OF q SKIP LOCKED;

-- name: quarantine_claim_due
-- Blocks that came before their time, once it has come: when all of a block is due, or part of it for a while. What is
-- early still is set aside again, at most every quarter of an hour.
SELECT quarantine_id, batch_id, gateway_id, block
FROM quarantine
WHERE released_at IS NULL AND reason = 'future' AND quarantine_id <> ALL (%(without)s::bigint[]) AND first_time <= %(newest)s
  AND (last_time <= %(newest)s OR first_time <= %(newest)s::timestamptz - INTERVAL '15 minutes')
ORDER BY first_time
LIMIT %(limit)s
FOR UPDATE SKIP LOCKED;

-- name: quarantine_release
-- The block is stored, or set aside again for another reason.
UPDATE quarantine SET released_at = %(now)s, released_stored = %(stored)s WHERE quarantine_id = %(quarantine_id)s;
