-- Reads of one register out of rows that have four. Planned as part of the statement that calls them, and so without a setting:
-- what they name is qualified.

CREATE OR REPLACE FUNCTION register_value(
    p_register smallint, p_import_wh bigint, p_export_wh bigint, p_reactive_import_varh bigint, p_reactive_export_varh bigint
) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE p_register WHEN 1 THEN p_import_wh WHEN 2 THEN p_export_wh WHEN 3 THEN p_reactive_import_varh WHEN 4 THEN p_reactive_export_varh END;
COMMENT ON FUNCTION register_value(smallint, bigint, bigint, bigint, bigint) IS
    'Which of the four a register is, Wh or varh: 1 imported, 2 exported, 3 and 4 the same of reactive energy';

CREATE OR REPLACE FUNCTION fourth_read_before(p_meter_id integer, p_register smallint, p_time timestamptz, p_since timestamptz)
RETURNS TABLE (at timestamptz)
LANGUAGE sql STABLE
AS $$
    SELECT min(n.time)
    FROM (SELECT w.time FROM public.raw_readings AS w
          WHERE w.meter_id = p_meter_id AND w.time < p_time AND w.time >= p_since
            AND public.register_value(p_register, w.energy_import_wh, w.energy_export_wh, w.reactive_energy_import_varh,
                                      w.reactive_energy_export_varh) IS NOT NULL
          ORDER BY w.time DESC LIMIT 4) AS n
$$;
COMMENT ON FUNCTION fourth_read_before(integer, smallint, timestamptz, timestamptz) IS
    'Time of the fourth read of a register before p_time, or of the first since p_since where there are fewer; NULL without any';

CREATE OR REPLACE FUNCTION fourth_read_after(p_meter_id integer, p_register smallint, p_time timestamptz, p_until timestamptz)
RETURNS TABLE (at timestamptz)
LANGUAGE sql STABLE
AS $$
    SELECT max(n.time)
    FROM (SELECT w.time FROM public.raw_readings AS w
          WHERE w.meter_id = p_meter_id AND w.time >= p_time AND w.time < p_until
            AND public.register_value(p_register, w.energy_import_wh, w.energy_export_wh, w.reactive_energy_import_varh,
                                      w.reactive_energy_export_varh) IS NOT NULL
          ORDER BY w.time LIMIT 4) AS n
$$;
COMMENT ON FUNCTION fourth_read_after(integer, smallint, timestamptz, timestamptz) IS
    'Time of the fourth read of a register from p_time on, or of the last before p_until where there are fewer; NULL without any';
GRANT EXECUTE ON FUNCTION register_value(smallint, bigint, bigint, bigint, bigint) TO segs_worker;
GRANT EXECUTE ON FUNCTION fourth_read_before(integer, smallint, timestamptz, timestamptz) TO segs_worker;
GRANT EXECUTE ON FUNCTION fourth_read_after(integer, smallint, timestamptz, timestamptz) TO segs_worker;
