-- Reads of one register out of rows that have four. Planned as part of the statement that calls them, and so without a setting:
-- what they name is qualified.

CREATE OR REPLACE FUNCTION register_value(
    p_register smallint, p_import_wh bigint, p_export_wh bigint, p_reactive_import_varh bigint, p_reactive_export_varh bigint
) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE p_register WHEN 1 THEN p_import_wh WHEN 2 THEN p_export_wh WHEN 3 THEN p_reactive_import_varh WHEN 4 THEN p_reactive_export_varh END;
COMMENT ON FUNCTION register_value(smallint, bigint, bigint, bigint, bigint) IS
    'Which of the four a register is, Wh or varh: 1 imported, 2 exported, 3 and 4 the same of reactive energy';

-- An exchange counts as a read: nothing that comes after it bears on what is before it, and it may begin or end the energy.
CREATE OR REPLACE FUNCTION fourth_read_before(p_meter_id integer, p_register smallint, p_time timestamptz, p_since timestamptz)
RETURNS TABLE (at timestamptz)
LANGUAGE sql STABLE
AS $$
    SELECT min(n.time)
    FROM ((SELECT w.time FROM public.raw_readings AS w
           WHERE w.meter_id = p_meter_id AND w.time < p_time AND w.time >= p_since
             AND public.register_value(p_register, w.energy_import_wh, w.energy_export_wh, w.reactive_energy_import_varh,
                                       w.reactive_energy_export_varh) IS NOT NULL
           ORDER BY w.time DESC LIMIT 4)
          UNION ALL
          (SELECT e.starts_at FROM public.register_epochs AS e
           WHERE e.meter_id = p_meter_id AND e.register = p_register AND e.starts_at < p_time AND e.starts_at >= p_since
           ORDER BY e.starts_at DESC LIMIT 4)
          ORDER BY time DESC LIMIT 4) AS n
$$;
COMMENT ON FUNCTION fourth_read_before(integer, smallint, timestamptz, timestamptz) IS
    'Time of the fourth read or exchange of a register before p_time, or of the first since p_since where there are fewer; NULL without any';

CREATE OR REPLACE FUNCTION fourth_read_after(p_meter_id integer, p_register smallint, p_time timestamptz, p_until timestamptz)
RETURNS TABLE (at timestamptz)
LANGUAGE sql STABLE
AS $$
    SELECT max(n.time)
    FROM ((SELECT w.time FROM public.raw_readings AS w
           WHERE w.meter_id = p_meter_id AND w.time >= p_time AND w.time < p_until
             AND public.register_value(p_register, w.energy_import_wh, w.energy_export_wh, w.reactive_energy_import_varh,
                                       w.reactive_energy_export_varh) IS NOT NULL
           ORDER BY w.time LIMIT 4)
          UNION ALL
          (SELECT e.starts_at FROM public.register_epochs AS e
           WHERE e.meter_id = p_meter_id AND e.register = p_register AND e.starts_at >= p_time AND e.starts_at < p_until
           ORDER BY e.starts_at LIMIT 4)
          ORDER BY time LIMIT 4) AS n
$$;
COMMENT ON FUNCTION fourth_read_after(integer, smallint, timestamptz, timestamptz) IS
    'Time of the fourth read or exchange of a register from p_time on, or of the last before p_until where there are fewer; NULL without any';

-- What is kept of reads: those themselves for a week, then where the registers stood when minutes began. The minute in which
-- another register may have begun does not count: where it began was reckoned from the reads on either side.
CREATE OR REPLACE FUNCTION read_before(p_meter_id integer, p_register smallint, p_time timestamptz, p_since timestamptz)
RETURNS TABLE (at timestamptz, value bigint)
LANGUAGE plpgsql STABLE
SET search_path = public, pg_temp
AS $$
BEGIN
    RETURN QUERY
    SELECT w.time, register_value(p_register, w.energy_import_wh, w.energy_export_wh, w.reactive_energy_import_varh,
                                  w.reactive_energy_export_varh)
    FROM raw_readings AS w
    WHERE w.meter_id = p_meter_id AND w.time < p_time AND w.time >= p_since
      AND register_value(p_register, w.energy_import_wh, w.energy_export_wh, w.reactive_energy_import_varh,
                         w.reactive_energy_export_varh) IS NOT NULL
    ORDER BY w.time DESC LIMIT 1;
    IF NOT FOUND THEN
        RETURN QUERY
        SELECT a.bucket, register_value(p_register, a.energy_import_start_wh, a.energy_export_start_wh,
                                        a.reactive_energy_import_start_varh, a.reactive_energy_export_start_varh)
        FROM aggregates_1m AS a
        WHERE a.meter_id = p_meter_id AND a.bucket <= p_time - INTERVAL '1 minute' AND a.bucket >= p_since AND a.samples > 0
          AND register_value(p_register, a.energy_import_start_wh, a.energy_export_start_wh,
                             a.reactive_energy_import_start_varh, a.reactive_energy_export_start_varh) IS NOT NULL
        ORDER BY a.bucket DESC LIMIT 1;
    END IF;
END
$$;
COMMENT ON FUNCTION read_before(integer, smallint, timestamptz, timestamptz) IS
    'The last read of a register before p_time and not before p_since, Wh or varh; where reads are gone, where it stood at the start of the last minute that is known';

CREATE OR REPLACE FUNCTION read_after(p_meter_id integer, p_register smallint, p_time timestamptz, p_until timestamptz)
RETURNS TABLE (at timestamptz, value bigint)
LANGUAGE plpgsql STABLE
SET search_path = public, pg_temp
AS $$
BEGIN
    RETURN QUERY
    SELECT w.time, register_value(p_register, w.energy_import_wh, w.energy_export_wh, w.reactive_energy_import_varh,
                                  w.reactive_energy_export_varh)
    FROM raw_readings AS w
    WHERE w.meter_id = p_meter_id AND w.time >= p_time AND w.time < p_until
      AND register_value(p_register, w.energy_import_wh, w.energy_export_wh, w.reactive_energy_import_varh,
                         w.reactive_energy_export_varh) IS NOT NULL
    ORDER BY w.time LIMIT 1;
    IF NOT FOUND THEN
        RETURN QUERY
        SELECT a.bucket, register_value(p_register, a.energy_import_start_wh, a.energy_export_start_wh,
                                        a.reactive_energy_import_start_varh, a.reactive_energy_export_start_varh)
        FROM aggregates_1m AS a
        WHERE a.meter_id = p_meter_id AND a.bucket >= p_time AND a.bucket < p_until AND a.samples > 0
          AND register_value(p_register, a.energy_import_start_wh, a.energy_export_start_wh,
                             a.reactive_energy_import_start_varh, a.reactive_energy_export_start_varh) IS NOT NULL
        ORDER BY a.bucket OFFSET 1 LIMIT 1;
    END IF;
END
$$;
COMMENT ON FUNCTION read_after(integer, smallint, timestamptz, timestamptz) IS
    'The first read of a register from p_time on and before p_until, Wh or varh; where reads are gone, where it stood at the start of the second minute that is known';
GRANT EXECUTE ON FUNCTION register_value(smallint, bigint, bigint, bigint, bigint) TO segs_worker, segs_readonly;
GRANT EXECUTE ON FUNCTION fourth_read_before(integer, smallint, timestamptz, timestamptz) TO segs_worker;
GRANT EXECUTE ON FUNCTION fourth_read_after(integer, smallint, timestamptz, timestamptz) TO segs_worker;
GRANT EXECUTE ON FUNCTION read_before(integer, smallint, timestamptz, timestamptz) TO segs_worker, segs_readonly;
GRANT EXECUTE ON FUNCTION read_after(integer, smallint, timestamptz, timestamptz) TO segs_worker, segs_readonly;
