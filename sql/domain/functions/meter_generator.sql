CREATE OR REPLACE FUNCTION meter_generator_set(p_meter_code text, p_generator_code text, p_from timestamptz, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    v_meter_id integer;
    v_generator_id integer;
    v_before meter_generators;
    v_billed_until timestamptz;
BEGIN
    SELECT m.meter_id INTO v_meter_id FROM meters m WHERE m.meter_code = p_meter_code FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no meter %', p_meter_code USING ERRCODE = 'SG022';
    END IF;
    SELECT m.meter_id INTO v_generator_id FROM meters m WHERE m.meter_code = p_generator_code;
    IF NOT FOUND AND p_generator_code IS NOT NULL THEN
        RAISE EXCEPTION 'there is no meter %', p_generator_code USING ERRCODE = 'SG022';
    END IF;
    SELECT max(i.period_end::timestamp AT TIME ZONE i.timezone) INTO v_billed_until
      FROM invoices i WHERE i.meter_id = v_meter_id AND i.kind = 'invoice' AND i.status NOT IN ('draft', 'cancelled');
    IF p_from < v_billed_until THEN
        RAISE EXCEPTION 'meter % is billed until %', p_meter_code, v_billed_until
            USING ERRCODE = 'SG032', HINT = 'Tell what generates from then on; a credit note takes a bill back.';
    END IF;
    SELECT g.* INTO v_before FROM meter_generators g WHERE g.meter_id = v_meter_id AND upper(g.valid) > p_from ORDER BY g.valid DESC LIMIT 1;
    IF FOUND AND lower(v_before.valid) >= p_from THEN
        RAISE EXCEPTION 'meter % has another generator at % already', p_meter_code, lower(v_before.valid)
            USING ERRCODE = 'SG092', HINT = 'Tell this one from a later time on.';
    END IF;
    UPDATE meter_generators SET valid = tstzrange(lower(valid), p_from) WHERE meter_generator_id = v_before.meter_generator_id;
    IF v_generator_id IS NOT NULL THEN
        INSERT INTO meter_generators (meter_id, generator_id, valid, created_at, updated_at)
        VALUES (v_meter_id, v_generator_id, tstzrange(p_from, 'infinity'), p_now, p_now);
    END IF;
END
$$;
COMMENT ON FUNCTION meter_generator_set(text, text, timestamptz, timestamptz) IS 'What is generated behind a meter another one measures, or nobody does (NULL), from p_from on. Raises SG022 no such meter, SG032 billed already, SG092 another generator at that time or later already';
