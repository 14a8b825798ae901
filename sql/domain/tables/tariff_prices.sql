-- Prices of tariffs that have one for each interval, such as those of an exchange. They only grow: bills are made by them.

CREATE TABLE IF NOT EXISTS tariff_prices (
    tariff_price_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code text NOT NULL,
    valid tstzrange NOT NULL,
    buy_per_kwh numeric(18, 8) NOT NULL,
    sell_per_kwh numeric(18, 8),
    made_by text NOT NULL CHECK (made_by <> ''),
    created_at timestamptz NOT NULL,
    CONSTRAINT tariff_prices_valid_has_both_ends
        CHECK (NOT isempty(valid) AND isfinite(lower(valid)) AND isfinite(upper(valid)) AND lower_inc(valid) AND NOT upper_inc(valid)),
    CONSTRAINT tariff_prices_begin_and_end_with_quarter_hours
        CHECK (lower(valid) = quarter_ceiling(lower(valid)) AND upper(valid) = quarter_ceiling(upper(valid))),
    CONSTRAINT tariff_prices_one_at_a_time EXCLUDE USING gist (code WITH =, valid WITH &&)
);
COMMENT ON TABLE tariff_prices IS 'Prices of a kWh by intervals, of tariffs whose document says price_series; written by a function, never changed';
COMMENT ON COLUMN tariff_prices.tariff_price_id IS 'Row key';
COMMENT ON COLUMN tariff_prices.code IS 'Code of the tariff';
COMMENT ON COLUMN tariff_prices.valid IS 'The interval, half-open';
COMMENT ON COLUMN tariff_prices.buy_per_kwh IS 'Price of a kWh taken, in the tariff''s currency; below 0 it is paid to the customer';
COMMENT ON COLUMN tariff_prices.sell_per_kwh IS 'Paid for a kWh fed in, in the tariff''s currency; NULL where the series does not say';
COMMENT ON COLUMN tariff_prices.made_by IS 'Who put it in, as the audit log names them';
COMMENT ON COLUMN tariff_prices.created_at IS 'When it was put in';
COMMENT ON INDEX tariff_prices_one_at_a_time IS 'A tariff has one price at a time';
CREATE OR REPLACE TRIGGER tariff_prices_guard BEFORE UPDATE OR DELETE ON tariff_prices
    FOR EACH ROW EXECUTE FUNCTION refuse_price_change();
CREATE OR REPLACE TRIGGER tariff_prices_stay BEFORE TRUNCATE ON tariff_prices
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_price_removal();
ALTER TABLE tariff_prices ENABLE ALWAYS TRIGGER tariff_prices_guard, ENABLE ALWAYS TRIGGER tariff_prices_stay;
GRANT SELECT ON tariff_prices TO segs_worker, segs_readonly;
