-- A customer sees what a rule found at their meter while it was theirs.

ALTER TABLE alerts ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS alerts_services ON alerts;
CREATE POLICY alerts_services ON alerts TO segs_worker, segs_readonly USING (true) WITH CHECK (true);
DROP POLICY IF EXISTS alerts_seen ON alerts;
CREATE POLICY alerts_seen ON alerts FOR SELECT TO segs_api
    USING ((SELECT caller_role()) = 'ADMIN' OR region = ANY ((SELECT caller_regions())::text[])
           OR EXISTS (SELECT FROM meter_locations l
                       WHERE l.meter_id = alerts.meter_id AND l.region = ANY ((SELECT caller_regions())::text[])
                         AND l.valid @> statement_timestamp())
           OR (SELECT caller_role()) = 'OPERATOR' AND EXISTS (SELECT FROM gateways g WHERE g.gateway_id = alerts.gateway_id)
           OR meter_id = ANY ((SELECT caller_meters())::integer[])
              AND caller_owned(meter_id, tstzrange(started_at, started_at, '[]')));
DROP POLICY IF EXISTS alerts_changed ON alerts;
CREATE POLICY alerts_changed ON alerts FOR UPDATE TO segs_api
    USING ((SELECT caller_role()) = 'ADMIN' OR region = ANY ((SELECT caller_regions())::text[])
           OR EXISTS (SELECT FROM meter_locations l
                       WHERE l.meter_id = alerts.meter_id AND l.region = ANY ((SELECT caller_regions())::text[])
                         AND l.valid @> statement_timestamp())
           OR (SELECT caller_role()) = 'OPERATOR' AND EXISTS (SELECT FROM gateways g WHERE g.gateway_id = alerts.gateway_id));
