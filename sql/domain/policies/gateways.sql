-- Gateways are the business of operators: those of their regions, and those that read a meter of theirs.

ALTER TABLE devices ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS devices_services ON devices;
CREATE POLICY devices_services ON devices TO segs_worker, segs_readonly USING (true) WITH CHECK (true);
DROP POLICY IF EXISTS devices_seen ON devices;
CREATE POLICY devices_seen ON devices FOR SELECT TO segs_api
    USING ((SELECT caller_role()) = 'ADMIN'
           OR EXISTS (SELECT FROM meter_locations l
                       WHERE l.meter_id = devices.meter_id AND l.region = ANY ((SELECT caller_regions())::text[])
                         AND l.valid @> statement_timestamp()));
DROP POLICY IF EXISTS devices_made ON devices;
CREATE POLICY devices_made ON devices FOR INSERT TO segs_api
    WITH CHECK ((SELECT caller_role()) = 'ADMIN'
           OR EXISTS (SELECT FROM meter_locations l
                       WHERE l.meter_id = devices.meter_id AND l.region = ANY ((SELECT caller_regions())::text[])
                         AND l.valid @> statement_timestamp()));
DROP POLICY IF EXISTS devices_changed ON devices;
CREATE POLICY devices_changed ON devices FOR UPDATE TO segs_api
    USING ((SELECT caller_role()) = 'ADMIN'
           OR EXISTS (SELECT FROM meter_locations l
                       WHERE l.meter_id = devices.meter_id AND l.region = ANY ((SELECT caller_regions())::text[])
                         AND l.valid @> statement_timestamp()));

ALTER TABLE gateways ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS gateways_services ON gateways;
CREATE POLICY gateways_services ON gateways TO segs_worker, segs_readonly USING (true) WITH CHECK (true);
DROP POLICY IF EXISTS gateways_seen ON gateways;
CREATE POLICY gateways_seen ON gateways FOR SELECT TO segs_api
    USING ((SELECT caller_role()) = 'ADMIN' OR region = ANY ((SELECT caller_regions())::text[])
           OR (SELECT caller_role()) = 'OPERATOR' AND EXISTS (SELECT FROM devices d WHERE d.gateway_id = gateways.gateway_id
                         AND d.valid @> statement_timestamp()));
DROP POLICY IF EXISTS gateways_made ON gateways;
CREATE POLICY gateways_made ON gateways FOR INSERT TO segs_api
    WITH CHECK ((SELECT caller_role()) = 'ADMIN' OR region = ANY ((SELECT caller_regions())::text[]));
DROP POLICY IF EXISTS gateways_changed ON gateways;
CREATE POLICY gateways_changed ON gateways FOR UPDATE TO segs_api
    USING ((SELECT caller_role()) = 'ADMIN' OR region = ANY ((SELECT caller_regions())::text[])
           OR (SELECT caller_role()) = 'OPERATOR' AND EXISTS (SELECT FROM devices d WHERE d.gateway_id = gateways.gateway_id
                         AND d.valid @> statement_timestamp()));

ALTER TABLE gateway_keys ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS gateway_keys_services ON gateway_keys;
CREATE POLICY gateway_keys_services ON gateway_keys TO segs_worker, segs_readonly USING (true) WITH CHECK (true);
DROP POLICY IF EXISTS gateway_keys_seen ON gateway_keys;
CREATE POLICY gateway_keys_seen ON gateway_keys FOR SELECT TO segs_api
    USING (EXISTS (SELECT FROM gateways g WHERE g.gateway_id = gateway_keys.gateway_id));
DROP POLICY IF EXISTS gateway_keys_made ON gateway_keys;
CREATE POLICY gateway_keys_made ON gateway_keys FOR INSERT TO segs_api
    WITH CHECK (EXISTS (SELECT FROM gateways g WHERE g.gateway_id = gateway_keys.gateway_id));
DROP POLICY IF EXISTS gateway_keys_changed ON gateway_keys;
CREATE POLICY gateway_keys_changed ON gateway_keys FOR UPDATE TO segs_api
    USING (EXISTS (SELECT FROM gateways g WHERE g.gateway_id = gateway_keys.gateway_id));
