CREATE OR REPLACE FUNCTION tariff_at(p_code text, p_at timestamptz) RETURNS tariffs
LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    SELECT t FROM tariffs AS t
     WHERE t.code = p_code AND t.valid @> p_at
     ORDER BY CASE t.origin WHEN 'override' THEN 1 WHEN 'load' THEN 2 ELSE 3 END LIMIT 1;
$$;
COMMENT ON FUNCTION tariff_at(text, timestamptz) IS 'The price table of a tariff that holds at an instant: an override''s, else the load''s, else the base; NULL for none';

CREATE OR REPLACE FUNCTION tariff_document(p_tariff_id integer) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    SELECT t.document || jsonb_build_object('holidays', coalesce(t.document -> 'holidays', '[]') || coalesce(
               (SELECT jsonb_agg(to_char(h.day, 'YYYY-MM-DD') ORDER BY h.day) FROM tariff_holidays AS h WHERE h.code = t.code), '[]'))
      FROM tariffs AS t WHERE t.tariff_id = p_tariff_id;
$$;
COMMENT ON FUNCTION tariff_document(integer) IS 'The document of a price table as it is rated by: with the holidays that its tariff got besides';

CREATE OR REPLACE FUNCTION tariff_add(p_code text, p_document jsonb, p_region text, p_from timestamptz, p_reason text, p_created_by integer, p_now timestamptz)
RETURNS integer
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    v_before tariffs;
    v_tariff_id integer;
BEGIN
    -- Two who add to the same tariff: the second sees what the first made of it.
    PERFORM pg_advisory_xact_lock(hashtextextended('tariff ' || p_code, 0));
    IF p_region IS NOT NULL AND NOT EXISTS (SELECT FROM regions r WHERE r.region = p_region) THEN
        RAISE EXCEPTION 'there is no region %', p_region USING ERRCODE = 'SG024', HINT = regions_there_are();
    END IF;
    SELECT t.* INTO v_before FROM tariffs t WHERE t.code = p_code AND t.origin = 'base' ORDER BY t.valid DESC LIMIT 1;
    IF lower(v_before.valid) >= p_from THEN
        RAISE EXCEPTION 'tariff % has prices from % on already', p_code, lower(v_before.valid)
            USING ERRCODE = 'SG091', HINT = 'Add these from a later time on, or under another code.';
    END IF;
    UPDATE tariffs SET valid = tstzrange(lower(valid), p_from) WHERE tariff_id = v_before.tariff_id AND upper(valid) > p_from;
    INSERT INTO tariffs (code, name, region, reason, currency, timezone, interval_s, document, valid, created_by, created_at, updated_at)
    VALUES (p_code, p_document ->> 'name', p_region, p_reason, p_document ->> 'currency', p_document ->> 'timezone',
            (p_document ->> 'interval_s')::integer, p_document, tstzrange(p_from, 'infinity'), p_created_by, p_now, p_now)
    RETURNING tariff_id INTO v_tariff_id;
    INSERT INTO tariff_rules (tariff_id, component, period, tier, tier_max, unit, rate, adjustment, sell)
    SELECT v_tariff_id, r.component, r.period, r.tier, r.tier_max, r.unit, r.rate, r.adjustment, r.sell FROM tariff_rates(p_document) AS r;
    RETURN v_tariff_id;
END
$$;
COMMENT ON FUNCTION tariff_add(text, jsonb, text, timestamptz, text, integer, timestamptz) IS 'A price table from p_from on, by a document in normal form; the one before ends there. Raises SG024 no such region, SG091 prices from then on already, SG032 what was billed by the one before';
GRANT EXECUTE ON FUNCTION tariff_at(text, timestamptz), tariff_document(integer) TO segs_api, segs_worker, segs_readonly;
GRANT EXECUTE ON FUNCTION tariff_add(text, jsonb, text, timestamptz, text, integer, timestamptz) TO segs_api, segs_worker;

CREATE OR REPLACE FUNCTION tariff_holiday_add(p_code text, p_day date, p_name text, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    v_billed_until date;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('tariff ' || p_code, 0));
    IF NOT EXISTS (SELECT FROM tariffs t WHERE t.code = p_code) THEN
        RAISE EXCEPTION 'there is no tariff %', p_code USING ERRCODE = 'SG090';
    END IF;
    SELECT max((tariff_billed_until(t.tariff_id) AT TIME ZONE t.timezone)::date) INTO v_billed_until FROM tariffs t WHERE t.code = p_code;
    IF p_day < v_billed_until THEN
        RAISE EXCEPTION 'bills were made by tariff % until %', p_code, v_billed_until
            USING ERRCODE = 'SG032', HINT = 'Only a day that was not billed yet becomes a holiday.';
    END IF;
    INSERT INTO tariff_holidays (code, day, name, created_at) VALUES (p_code, p_day, p_name, p_now);
END
$$;
COMMENT ON FUNCTION tariff_holiday_add(text, date, text, timestamptz) IS 'A local day that a tariff prices as a weekend; raises SG090 no such tariff, SG032 billed already';

CREATE OR REPLACE FUNCTION meter_assign(p_meter_code text, p_code text, p_from timestamptz, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    v_meter_id integer;
    v_before meter_tariffs;
    v_billed_until timestamptz;
    v_zones record;
BEGIN
    SELECT m.meter_id INTO v_meter_id FROM meters m WHERE m.meter_code = p_meter_code FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no meter %', p_meter_code USING ERRCODE = 'SG022';
    END IF;
    IF p_code IS NOT NULL AND NOT EXISTS (SELECT FROM tariffs t WHERE t.code = p_code AND t.valid @> p_from) THEN
        RAISE EXCEPTION 'there is no tariff % at %', p_code, p_from USING ERRCODE = 'SG090';
    END IF;
    SELECT l.timezone AS meter, t.timezone AS tariff INTO v_zones
      FROM meter_locations l JOIN tariffs t ON t.code = p_code AND t.valid @> p_from
     WHERE l.meter_id = v_meter_id AND l.valid @> p_from
     ORDER BY (t.origin = 'base') DESC LIMIT 1;
    IF v_zones.meter <> v_zones.tariff THEN
        -- No bill could be made of its days. Zones of two names may have the same ones.
        PERFORM FROM generate_series(p_from AT TIME ZONE 'UTC', p_from AT TIME ZONE 'UTC' + INTERVAL '1 year', INTERVAL '1 day') AS d (at)
          WHERE date_trunc('day', d.at) AT TIME ZONE v_zones.meter <> date_trunc('day', d.at) AT TIME ZONE v_zones.tariff LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION 'tariff % has days of %, and meter % those of %', p_code, v_zones.tariff, p_meter_code, v_zones.meter
                USING ERRCODE = 'SG099', HINT = format('Assign a tariff whose document says timezone %s, or move the meter to where %s is.', v_zones.meter, v_zones.tariff);
        END IF;
    END IF;
    SELECT max(i.period_end::timestamp AT TIME ZONE i.timezone) INTO v_billed_until
      FROM invoices i WHERE i.meter_id = v_meter_id AND i.kind = 'invoice' AND i.status NOT IN ('draft', 'cancelled');
    IF p_from < v_billed_until THEN
        RAISE EXCEPTION 'meter % is billed until %', p_meter_code, v_billed_until
            USING ERRCODE = 'SG032', HINT = 'Assign the tariff from then on; a credit note takes a bill back.';
    END IF;
    SELECT t.* INTO v_before FROM meter_tariffs t WHERE t.meter_id = v_meter_id AND upper(t.valid) > p_from ORDER BY t.valid DESC LIMIT 1;
    -- What it gets it may get from earlier on, as far back as it had none.
    IF v_before.code = p_code AND lower(v_before.valid) > p_from AND upper(v_before.valid) = 'infinity'
       AND NOT EXISTS (SELECT FROM meter_tariffs t WHERE t.meter_id = v_meter_id AND t.valid && tstzrange(p_from, lower(v_before.valid))) THEN
        UPDATE meter_tariffs SET valid = tstzrange(p_from, upper(valid)) WHERE meter_tariff_id = v_before.meter_tariff_id;
        RETURN;
    END IF;
    IF v_before.meter_tariff_id IS NOT NULL AND lower(v_before.valid) >= p_from THEN
        RAISE EXCEPTION 'meter % gets tariff % at % already', p_meter_code, v_before.code, lower(v_before.valid)
            USING ERRCODE = 'SG092', HINT = 'Assign this one from a later time on.';
    END IF;
    UPDATE meter_tariffs SET valid = tstzrange(lower(valid), p_from) WHERE meter_tariff_id = v_before.meter_tariff_id;
    IF p_code IS NOT NULL THEN
        INSERT INTO meter_tariffs (meter_id, code, valid, created_at, updated_at)
        VALUES (v_meter_id, p_code, tstzrange(p_from, 'infinity'), p_now, p_now);
    END IF;
END
$$;
COMMENT ON FUNCTION meter_assign(text, text, timestamptz, timestamptz) IS 'A meter is billed by a tariff, or by none (NULL), from p_from on; assigned once more from an earlier time on, the same holds from then on too if it had none. Raises SG022 no such meter, SG090 no such tariff then, SG032 billed already, SG092 assigned at that time or later already, SG099 a tariff of another zone''s days';
