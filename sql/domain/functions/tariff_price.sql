CREATE OR REPLACE FUNCTION tariff_price_segments(p_code text, p_from timestamptz, p_to timestamptz)
RETURNS TABLE (starts_at timestamptz, ends_at timestamptz, buy_per_kwh numeric, sell_per_kwh numeric)
LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    WITH price AS (
        SELECT p.*, lower(p.valid) IS DISTINCT FROM lag(upper(p.valid)) OVER w OR (p.buy_per_kwh, p.sell_per_kwh)
                    IS DISTINCT FROM (lag(p.buy_per_kwh) OVER w, lag(p.sell_per_kwh) OVER w) AS begins
          FROM tariff_prices AS p WHERE p.code = p_code AND p.valid && tstzrange(p_from, p_to) WINDOW w AS (ORDER BY p.valid)
    ), run AS (
        SELECT p.*, count(*) FILTER (WHERE p.begins) OVER (ORDER BY p.valid) AS n FROM price AS p
    )
    SELECT greatest(min(lower(r.valid)), p_from), least(max(upper(r.valid)), p_to), min(r.buy_per_kwh), min(r.sell_per_kwh) FROM run AS r GROUP BY r.n ORDER BY 1
$$;
COMMENT ON FUNCTION tariff_price_segments(text, timestamptz, timestamptz) IS 'The parts of a span in which a tariff with a series has one price; gaps where it has none';

CREATE OR REPLACE FUNCTION tariff_prices_add(p_code text, p_prices jsonb, p_now timestamptz, OUT added integer, OUT known integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_wrong record;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('tariff ' || p_code, 0));
    IF NOT EXISTS (SELECT FROM tariffs t WHERE t.code = p_code AND (t.document ->> 'price_series')::boolean) THEN
        RAISE EXCEPTION 'there is no tariff % with a series of prices', p_code USING ERRCODE = 'SG090', HINT = 'Its document says price_series.';
    END IF;
    DROP TABLE IF EXISTS pg_temp.new_prices;
    CREATE TEMP TABLE new_prices ON COMMIT DROP AS
    SELECT x.at, tstzrange(x.at, x.at + make_interval(secs => (tariff_at(p_code, x.at)).interval_s)) AS valid, x.buy_per_kwh, x.sell_per_kwh
      FROM jsonb_to_recordset(p_prices) AS x (at timestamptz, buy_per_kwh numeric, sell_per_kwh numeric);
    SELECT n.* INTO v_wrong FROM new_prices AS n
     WHERE upper_inf(n.valid) OR lower(n.valid) <> quarter_ceiling(lower(n.valid)) OR upper(n.valid) <> quarter_ceiling(upper(n.valid)) ORDER BY n.at LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'tariff % has no interval of whole quarter-hours at %', p_code, v_wrong.at
            USING ERRCODE = 'SG094', HINT = 'Give starts of its intervals, at times at which it holds; bills are made of quarter-hours.';
    END IF;
    SELECT n.at, p.valid INTO v_wrong FROM new_prices AS n JOIN tariff_prices AS p ON p.code = p_code AND p.valid && n.valid
     WHERE (p.valid, p.buy_per_kwh, p.sell_per_kwh) IS DISTINCT FROM (n.valid, n.buy_per_kwh, n.sell_per_kwh) ORDER BY n.at LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'tariff % has another price at % already', p_code, v_wrong.at USING ERRCODE = 'SG098', HINT = 'A price that is known does not change.';
    END IF;
    SELECT count(*) INTO known FROM new_prices AS n JOIN tariff_prices AS p ON p.code = p_code AND p.valid = n.valid;
    INSERT INTO tariff_prices (code, valid, buy_per_kwh, sell_per_kwh, made_by, created_at)
    SELECT p_code, n.valid, n.buy_per_kwh, n.sell_per_kwh, bill_actor(), p_now FROM new_prices AS n
     WHERE NOT EXISTS (SELECT FROM tariff_prices AS p WHERE p.code = p_code AND p.valid = n.valid);
    GET DIAGNOSTICS added = ROW_COUNT;
END
$$;
COMMENT ON FUNCTION tariff_prices_add(text, jsonb, timestamptz) IS 'Prices of intervals, of a tariff that has a series (at, buy_per_kwh, sell_per_kwh): how many are new, and how many were there. Raises SG090 no such tariff, SG094 no interval of it, SG098 another price then already';
GRANT EXECUTE ON FUNCTION tariff_price_segments(text, timestamptz, timestamptz) TO segs_worker, segs_readonly;
