-- Names of regions are for all who are logged in; what a supply can carry is not.

ALTER TABLE regions ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS regions_services ON regions;
CREATE POLICY regions_services ON regions TO segs_worker, segs_readonly USING (true) WITH CHECK (true);
DROP POLICY IF EXISTS regions_seen ON regions;
CREATE POLICY regions_seen ON regions FOR SELECT TO segs_api
    USING ((SELECT caller_role()) IS NOT NULL);
DROP POLICY IF EXISTS regions_made ON regions;
CREATE POLICY regions_made ON regions FOR INSERT TO segs_api
    WITH CHECK ((SELECT caller_role()) = 'ADMIN');
DROP POLICY IF EXISTS regions_changed ON regions;
CREATE POLICY regions_changed ON regions FOR UPDATE TO segs_api
    USING ((SELECT caller_role()) = 'ADMIN');

ALTER TABLE region_capacities ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS region_capacities_services ON region_capacities;
CREATE POLICY region_capacities_services ON region_capacities TO segs_worker, segs_readonly USING (true) WITH CHECK (true);
DROP POLICY IF EXISTS region_capacities_seen ON region_capacities;
CREATE POLICY region_capacities_seen ON region_capacities FOR SELECT TO segs_api
    USING ((SELECT caller_role()) = 'ADMIN' OR region = ANY ((SELECT caller_regions())::text[]));
