-- Reads that a span of minutes hangs together with. Planned as part of the statement that calls it, and so without a setting: what it
-- names is qualified.

CREATE OR REPLACE FUNCTION reads_beside(p_meter_id integer, p_from timestamptz, p_to timestamptz, p_before boolean, p_after boolean)
RETURNS TABLE (
    before_at timestamptz, before_r1 bigint, before_r2 bigint, before_r3 bigint, before_r4 bigint,
    after_at timestamptz, after_r1 bigint, after_r2 bigint, after_r3 bigint, after_r4 bigint, far boolean
)
LANGUAGE sql STABLE
AS $$
    SELECT before.at, before.r1, before.r2, before.r3, before.r4, after.at, after.r1, after.r2, after.r3, after.r4,
           long_before.at IS NOT NULL OR long_after.at IS NOT NULL
    FROM (VALUES (true)) AS edge (here)
    LEFT JOIN LATERAL (
        SELECT w.time AS at, w.energy_import_wh AS r1, w.energy_export_wh AS r2, w.reactive_energy_import_varh AS r3, w.reactive_energy_export_varh AS r4
        FROM public.raw_readings AS w
        WHERE p_before AND w.meter_id = p_meter_id AND w.time < p_from AND w.time >= p_from - INTERVAL '1 minute'
          AND COALESCE(w.energy_import_wh, w.energy_export_wh, w.reactive_energy_import_varh, w.reactive_energy_export_varh) IS NOT NULL
        ORDER BY w.time DESC LIMIT 1
    ) AS before ON true
    LEFT JOIN LATERAL (
        SELECT w.time AS at, w.energy_import_wh AS r1, w.energy_export_wh AS r2, w.reactive_energy_import_varh AS r3, w.reactive_energy_export_varh AS r4
        FROM public.raw_readings AS w
        WHERE p_after AND w.meter_id = p_meter_id AND w.time >= p_to AND w.time < p_to + INTERVAL '1 minute'
          AND COALESCE(w.energy_import_wh, w.energy_export_wh, w.reactive_energy_import_varh, w.reactive_energy_export_varh) IS NOT NULL
        ORDER BY w.time LIMIT 1
    ) AS after ON true
    LEFT JOIN LATERAL (
        SELECT w.time AS at FROM public.raw_readings AS w
        WHERE p_before AND before.at IS NULL AND w.meter_id = p_meter_id AND w.time < p_from - INTERVAL '1 minute' AND w.time >= p_from - public.longest_gap()
          AND COALESCE(w.energy_import_wh, w.energy_export_wh, w.reactive_energy_import_varh, w.reactive_energy_export_varh) IS NOT NULL
        LIMIT 1
    ) AS long_before ON true
    LEFT JOIN LATERAL (
        SELECT w.time AS at FROM public.raw_readings AS w
        WHERE p_after AND after.at IS NULL AND w.meter_id = p_meter_id AND w.time >= p_to + INTERVAL '1 minute' AND w.time < p_to + public.longest_gap()
          AND COALESCE(w.energy_import_wh, w.energy_export_wh, w.reactive_energy_import_varh, w.reactive_energy_export_varh) IS NOT NULL
        LIMIT 1
    ) AS long_after ON true
    -- Most minutes have others on both sides: one look, and no more.
    WHERE p_before OR p_after
$$;
COMMENT ON FUNCTION reads_beside(integer, timestamptz, timestamptz, boolean, boolean) IS
    'The last reads of all registers in the minute before p_from, where p_before asks for it, and the first ones in the minute from p_to on, where p_after does; far where there is none in such a minute, but some within the longest gap. No row where nothing is asked for';
GRANT EXECUTE ON FUNCTION reads_beside(integer, timestamptz, timestamptz, boolean, boolean) TO segs_worker;
