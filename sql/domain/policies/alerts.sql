-- A customer sees what a rule found at their meter while it was theirs, also where a site or a gateway stands for it, but for what
-- may be their own doing. What people do about alerts goes by functions, which write down who it was.

ALTER TABLE alerts ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS alerts_changed ON alerts;
DROP POLICY IF EXISTS alerts_services ON alerts;
CREATE POLICY alerts_services ON alerts TO segs_worker, segs_readonly USING (true) WITH CHECK (true);
DROP POLICY IF EXISTS alerts_seen ON alerts;
CREATE POLICY alerts_seen ON alerts FOR SELECT TO segs_api
    USING ((SELECT caller_role()) = 'ADMIN' OR region = ANY ((SELECT caller_regions())::text[])
           OR EXISTS (SELECT FROM meter_locations l
                       WHERE l.meter_id = alerts.meter_id AND l.region = ANY ((SELECT caller_regions())::text[])
                         AND l.valid @> statement_timestamp())
           OR (SELECT caller_role()) = 'OPERATOR' AND EXISTS (SELECT FROM gateways g WHERE g.gateway_id = alerts.gateway_id)
           OR (SELECT caller_role()) = 'OPERATOR' AND site = ANY ((SELECT caller_sites())::text[])
           OR (meter_id = ANY ((SELECT caller_meters())::integer[]) OR meter_id IS NULL AND alert_rule_id IS NULL) AND caller_hears_of_alert(alerts));

ALTER TABLE alert_events ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS alert_events_services ON alert_events;
CREATE POLICY alert_events_services ON alert_events TO segs_worker, segs_readonly USING (true) WITH CHECK (true);
DROP POLICY IF EXISTS alert_events_seen ON alert_events;
CREATE POLICY alert_events_seen ON alert_events FOR SELECT TO segs_api USING (EXISTS (SELECT FROM alerts a WHERE a.alert_id = alert_events.alert_id
                             -- Not what became of it once the meter was somebody else's.
                             AND caller_sees_alert_at(a, alert_events.event_at)));

ALTER TABLE alert_metrics ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS alert_metrics_services ON alert_metrics;
CREATE POLICY alert_metrics_services ON alert_metrics TO segs_worker, segs_readonly USING (true) WITH CHECK (true);
DROP POLICY IF EXISTS alert_metrics_seen ON alert_metrics;
CREATE POLICY alert_metrics_seen ON alert_metrics FOR SELECT TO segs_api USING ((SELECT caller_role()) IS NOT NULL);

ALTER TABLE alert_groups ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS alert_groups_services ON alert_groups;
CREATE POLICY alert_groups_services ON alert_groups TO segs_worker, segs_readonly USING (true) WITH CHECK (true);
DROP POLICY IF EXISTS alert_groups_seen ON alert_groups;
CREATE POLICY alert_groups_seen ON alert_groups FOR SELECT TO segs_api USING ((SELECT caller_role()) IS NOT NULL);

ALTER TABLE alert_rules ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS alert_rules_services ON alert_rules;
CREATE POLICY alert_rules_services ON alert_rules TO segs_worker, segs_readonly USING (true) WITH CHECK (true);
DROP POLICY IF EXISTS alert_rules_seen ON alert_rules;
CREATE POLICY alert_rules_seen ON alert_rules FOR SELECT TO segs_api
    USING ((SELECT caller_role()) = 'ADMIN' OR meter_id IS NULL AND (SELECT caller_role()) IS NOT NULL
           OR EXISTS (SELECT FROM meter_locations l WHERE l.meter_id = alert_rules.meter_id AND l.region = ANY ((SELECT caller_regions())::text[])
                                                      AND l.valid @> statement_timestamp())
           OR meter_id = ANY ((SELECT caller_meters())::integer[]) AND category <> 'tamper' AND caller_owned(meter_id, valid));

ALTER TABLE maintenance_windows ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS maintenance_windows_services ON maintenance_windows;
CREATE POLICY maintenance_windows_services ON maintenance_windows TO segs_worker, segs_readonly USING (true) WITH CHECK (true);
DROP POLICY IF EXISTS maintenance_windows_seen ON maintenance_windows;
CREATE POLICY maintenance_windows_seen ON maintenance_windows FOR SELECT TO segs_api
    USING ((SELECT caller_role()) = 'ADMIN' OR region = ANY ((SELECT caller_regions())::text[])
           OR (SELECT caller_role()) = 'OPERATOR' AND EXISTS (SELECT FROM gateways g WHERE g.gateway_id = maintenance_windows.gateway_id)
           OR (SELECT caller_role()) = 'OPERATOR' AND site = ANY ((SELECT caller_sites())::text[])
           OR EXISTS (SELECT FROM meter_locations l WHERE l.meter_id = maintenance_windows.meter_id AND l.region = ANY ((SELECT caller_regions())::text[])
                                                      AND l.valid @> statement_timestamp()));
