-- Prices are for all who are logged in; who set one, for who looks after the region.

ALTER TABLE price_settings ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS price_settings_services ON price_settings;
CREATE POLICY price_settings_services ON price_settings TO segs_worker, segs_readonly USING (true) WITH CHECK (true);

ALTER TABLE region_price_rules ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS region_price_rules_services ON region_price_rules;
CREATE POLICY region_price_rules_services ON region_price_rules TO segs_worker, segs_readonly USING (true) WITH CHECK (true);

ALTER TABLE region_price_state ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS region_price_state_services ON region_price_state;
CREATE POLICY region_price_state_services ON region_price_state TO segs_worker, segs_readonly USING (true) WITH CHECK (true);

ALTER TABLE region_prices ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS region_prices_services ON region_prices;
CREATE POLICY region_prices_services ON region_prices TO segs_worker, segs_readonly USING (true) WITH CHECK (true);
DROP POLICY IF EXISTS region_prices_seen ON region_prices;
CREATE POLICY region_prices_seen ON region_prices FOR SELECT TO segs_api
    USING ((SELECT caller_role()) IS NOT NULL);

ALTER TABLE tariff_prices ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS tariff_prices_services ON tariff_prices;
CREATE POLICY tariff_prices_services ON tariff_prices TO segs_worker, segs_readonly USING (true) WITH CHECK (true);

ALTER TABLE price_overrides ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS price_overrides_services ON price_overrides;
CREATE POLICY price_overrides_services ON price_overrides TO segs_worker, segs_readonly USING (true) WITH CHECK (true);
DROP POLICY IF EXISTS price_overrides_seen ON price_overrides;
CREATE POLICY price_overrides_seen ON price_overrides FOR SELECT TO segs_api
    USING ((SELECT caller_role()) = 'ADMIN' OR region = ANY ((SELECT caller_regions())::text[]));
