CREATE OR REPLACE FUNCTION meter_registers(p_meter_code text, p_modulus_wh bigint, p_resets boolean, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE meters
       SET register_modulus_wh = coalesce(p_modulus_wh, register_modulus_wh), register_resets = coalesce(p_resets, register_resets),
           updated_at = p_now
     WHERE meter_code = p_meter_code;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no meter %', p_meter_code USING ERRCODE = 'SG022';
    END IF;
END
$$;
COMMENT ON FUNCTION meter_registers(text, bigint, boolean, timestamptz) IS
    'Where a meter''s registers wrap, Wh, and whether they may begin again; NULL leaves it as it is. Raises SG022 no such meter';
GRANT EXECUTE ON FUNCTION meter_registers(text, bigint, boolean, timestamptz) TO segs_api;
