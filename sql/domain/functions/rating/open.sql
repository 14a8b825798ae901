-- Rating works on what its caller puts into tables that live as long as the connection, and their rows until the next
-- rating: rows by the million keep their statistics there, statements their plans, nothing is stored, and any number of
-- callers rate at once. rating_open(), fill, rate(), read. Rows that went with the transaction, or by TRUNCATE, would take
-- all plans with them, which to make anew costs more than to rate a bill.
CREATE OR REPLACE FUNCTION rating_kept(p_tables text[]) RETURNS boolean
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    v_table text;
    v_there integer := 0;
    v_large text[];
BEGIN
    SELECT count(*), array_agg(t.name) FILTER (WHERE pg_total_relation_size(c.oid) > 1048576) INTO v_there, v_large
      FROM unnest(p_tables) AS t (name) JOIN pg_class c ON c.relname = t.name AND c.relnamespace = pg_my_temp_schema()
     WHERE c.relowner = current_user::regrole;
    IF v_there < cardinality(p_tables) THEN
        -- None, or somebody else's: what they made is trusted with nothing.
        FOREACH v_table IN ARRAY p_tables LOOP
            EXECUTE format('DROP TABLE IF EXISTS pg_temp.%I', v_table);
        END LOOP;
        RETURN false;
    END IF;
    -- What was deleted from these takes its room until then.
    FOREACH v_table IN ARRAY coalesce(v_large, '{}') LOOP
        EXECUTE format('TRUNCATE pg_temp.%I', v_table);
    END LOOP;
    RETURN true;
END
$$;
COMMENT ON FUNCTION rating_kept(text[]) IS 'Whether this connection has these tables and they are the caller''s; large ones are empty then. Where not, they are to be made';

CREATE OR REPLACE FUNCTION rating_open() RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF rating_kept(ARRAY['rating_tariffs', 'rating_accounts', 'rating_intervals', 'rating_peaks', 'rating_banks', 'rating_terms', 'rating_rates', 'rating_calendar',
                         'rating_months', 'rating_limits', 'rating_use', 'rating_nets', 'rating_flow', 'rating_tiered', 'rating_demand', 'rating_lines']) THEN
        DELETE FROM rating_tariffs;
        DELETE FROM rating_accounts;
        DELETE FROM rating_intervals;
        DELETE FROM rating_peaks;
        DELETE FROM rating_banks;
        DELETE FROM rating_terms;
        DELETE FROM rating_rates;
        DELETE FROM rating_calendar;
        DELETE FROM rating_months;
        DELETE FROM rating_limits;
        DELETE FROM rating_use;
        DELETE FROM rating_nets;
        DELETE FROM rating_flow;
        DELETE FROM rating_tiered;
        DELETE FROM rating_demand;
        DELETE FROM rating_lines;
        RETURN;
    END IF;
    -- What the caller fills. A tariff is a document in normal form.
    CREATE TEMP TABLE rating_tariffs (tariff_id integer PRIMARY KEY, document jsonb NOT NULL);
    -- Who is billed, for the local days from first_day to before end_day; without them for those that have intervals.
    CREATE TEMP TABLE rating_accounts (
        account_id bigint PRIMARY KEY, tariff_id integer NOT NULL, first_day date, end_day date);
    -- Intervals, or several in a row that fall into the same periods and have the same price: then ends_at says where
    -- they end and peak_wh what the highest of them has, per interval or quarter-hour, whichever is longer.
    CREATE TEMP TABLE rating_intervals (
        account_id bigint NOT NULL, starts_at timestamptz NOT NULL, ends_at timestamptz,
        import_wh numeric NOT NULL, export_wh numeric NOT NULL DEFAULT 0, gross_load_wh numeric, pv_gen_wh numeric,
        import_varh numeric, buy_per_kwh numeric, sell_per_kwh numeric, price_tier smallint, peak_wh numeric,
        quality smallint, version bigint);
    -- The months before the first one, 1 being the last of them, where a ratchet looks back.
    CREATE TEMP TABLE rating_peaks (account_id bigint, months_before integer, peak_kw numeric NOT NULL,
        PRIMARY KEY (account_id, months_before));
    -- What net metering had banked before the first month: of a period, or of all (NULL).
    CREATE TEMP TABLE rating_banks (account_id bigint NOT NULL, period smallint, kwh numeric NOT NULL,
        UNIQUE NULLS NOT DISTINCT (account_id, period));
    -- What rate() makes of it.
    CREATE TEMP TABLE rating_terms (
        tariff_id integer PRIMARY KEY, timezone text, interval_s integer, demand_s integer, digits integer, rounding text,
        prorated boolean, rule text, price_series boolean, regional boolean, is_volume boolean, buy_ordered boolean, sell_ordered boolean,
        credit_month integer, yearend_sell_rate numeric, fixed numeric, fixed_unit text, minimum numeric, minimum_unit text,
        ratchet numeric, lookback integer, lookback_months integer[], flat_periods integer[], baseline_kwh numeric[],
        baseline_credit numeric, document jsonb);
    CREATE TEMP TABLE rating_rates (
        tariff_id integer, component text, period smallint, tier smallint, tier_min numeric, tier_max numeric, unit text,
        price numeric, sell numeric);
    CREATE TEMP TABLE rating_calendar (
        tariff_id integer, starts_at timestamptz, month date, day date, period smallint, demand_period smallint);
    CREATE TEMP TABLE rating_limits (
        tariff_id integer, month date, days_counted integer, period smallint, tier smallint, from_wh numeric, to_wh numeric,
        price numeric, sell numeric);
    CREATE TEMP TABLE rating_use (
        account_id bigint, month date, period smallint, demand_period smallint, import_wh numeric, export_wh numeric,
        bought_wh numeric, sold_wh numeric, bought_amount numeric, sold_amount numeric, import_varh numeric, peak_wh numeric,
        quality_rank integer, version numeric, first_at timestamptz, last_at timestamptz);
    CREATE TEMP TABLE rating_nets (
        account_id bigint, month date, period smallint, net_kwh numeric, bank_kwh numeric, charged_kwh numeric);
    CREATE TEMP TABLE rating_flow (
        account_id bigint, month date, period smallint, tariff_id integer, days_counted integer, ordered boolean, is_volume boolean,
        price_series boolean, wh numeric, dynamic numeric, quality smallint, version numeric, first_at timestamptz,
        last_at timestamptz, total_wh numeric);
    CREATE TEMP TABLE rating_tiered (account_id bigint, month date, period smallint, tier smallint, wh numeric);
    CREATE TEMP TABLE rating_demand (
        account_id bigint, month date, demand_period smallint, peak_kw numeric);
    -- The answer: a row per bill, and a row per line of it. Credits are negative. amount is unrounded; billed is what the
    -- line adds to the bill, which is rounded only where the tariff rounds lines.
    CREATE TEMP TABLE rating_months (
        account_id bigint, tariff_id integer, month date, days_in_month integer, days_billed integer, days_counted integer,
        import_kwh numeric, export_kwh numeric, peak_kw numeric, billing_demand_kw numeric, bill numeric, bill_unrounded numeric,
        PRIMARY KEY (account_id, month));
    CREATE TEMP TABLE rating_lines (
        account_id bigint, month date, component text, period smallint, tier smallint, label text, quantity numeric, unit text,
        unit_price numeric, amount numeric, billed numeric, quality smallint, version numeric, first_at timestamptz,
        last_at timestamptz);
END
$$;
COMMENT ON FUNCTION rating_open() IS 'Makes the tables that rating works on, or empties them: fill rating_tariffs, rating_accounts, rating_intervals, and rating_peaks and rating_banks where they matter; then rate()';

-- A few rows are joined well without statistics, whose making would cost more, and all plans with it.
CREATE OR REPLACE FUNCTION rating_many() RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = public, pg_temp AS $$
BEGIN
    RETURN EXISTS (SELECT FROM rating_intervals OFFSET 1000);
END
$$;
COMMENT ON FUNCTION rating_many() IS 'Whether there is enough to rate that the planner had better know how much';
GRANT EXECUTE ON FUNCTION rating_kept(text[]), rating_open(), rating_many() TO segs_worker;
