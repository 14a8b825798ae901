-- A customer sees the meters that are or were theirs, and of what happened to them what happened while they were; an
-- operator the meters that are in their regions now; an admin all.

ALTER TABLE meter_locations ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS meter_locations_services ON meter_locations;
CREATE POLICY meter_locations_services ON meter_locations TO segs_worker, segs_readonly USING (true) WITH CHECK (true);
DROP POLICY IF EXISTS meter_locations_seen ON meter_locations;
CREATE POLICY meter_locations_seen ON meter_locations FOR SELECT TO segs_api
    USING ((SELECT caller_role()) = 'ADMIN' OR region = ANY ((SELECT caller_regions())::text[])
           OR meter_id = ANY ((SELECT caller_meters())::integer[]) AND caller_owned(meter_id, valid));
DROP POLICY IF EXISTS meter_locations_made ON meter_locations;
CREATE POLICY meter_locations_made ON meter_locations FOR INSERT TO segs_api
    WITH CHECK ((SELECT caller_role()) = 'ADMIN' OR region = ANY ((SELECT caller_regions())::text[]));
DROP POLICY IF EXISTS meter_locations_changed ON meter_locations;
CREATE POLICY meter_locations_changed ON meter_locations FOR UPDATE TO segs_api
    USING ((SELECT caller_role()) = 'ADMIN' OR region = ANY ((SELECT caller_regions())::text[]));

ALTER TABLE meters ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS meters_services ON meters;
CREATE POLICY meters_services ON meters TO segs_worker, segs_readonly USING (true) WITH CHECK (true);
DROP POLICY IF EXISTS meters_seen ON meters;
CREATE POLICY meters_seen ON meters FOR SELECT TO segs_api
    USING ((SELECT caller_role()) = 'ADMIN' OR meter_id = ANY ((SELECT caller_meters())::integer[])
           OR EXISTS (SELECT FROM meter_locations l
                       WHERE l.meter_id = meters.meter_id AND l.region = ANY ((SELECT caller_regions())::text[])
                         AND l.valid @> statement_timestamp()));
DROP POLICY IF EXISTS meters_made ON meters;
CREATE POLICY meters_made ON meters FOR INSERT TO segs_api
    WITH CHECK ((SELECT caller_role()) IN ('ADMIN', 'OPERATOR'));
DROP POLICY IF EXISTS meters_changed ON meters;
CREATE POLICY meters_changed ON meters FOR UPDATE TO segs_api
    USING ((SELECT caller_role()) = 'ADMIN'
           OR EXISTS (SELECT FROM meter_locations l
                       WHERE l.meter_id = meters.meter_id AND l.region = ANY ((SELECT caller_regions())::text[])
                         AND l.valid @> statement_timestamp()));

ALTER TABLE meter_owners ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS meter_owners_services ON meter_owners;
CREATE POLICY meter_owners_services ON meter_owners TO segs_worker, segs_readonly USING (true) WITH CHECK (true);
DROP POLICY IF EXISTS meter_owners_seen ON meter_owners;
CREATE POLICY meter_owners_seen ON meter_owners FOR SELECT TO segs_api
    USING ((SELECT caller_role()) = 'ADMIN' OR user_id = (SELECT caller_id()) AND (SELECT caller_role()) IS NOT NULL
           OR EXISTS (SELECT FROM meter_locations l
                       WHERE l.meter_id = meter_owners.meter_id AND l.region = ANY ((SELECT caller_regions())::text[])
                         AND l.valid @> statement_timestamp()));

ALTER TABLE meter_exchanges ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS meter_exchanges_services ON meter_exchanges;
CREATE POLICY meter_exchanges_services ON meter_exchanges TO segs_worker, segs_readonly USING (true) WITH CHECK (true);
DROP POLICY IF EXISTS meter_exchanges_seen ON meter_exchanges;
CREATE POLICY meter_exchanges_seen ON meter_exchanges FOR SELECT TO segs_api
    USING ((SELECT caller_role()) = 'ADMIN'
           OR meter_id = ANY ((SELECT caller_meters())::integer[])
              AND caller_owned(meter_id, tstzrange(exchanged_at, exchanged_at, '[]'))
           OR EXISTS (SELECT FROM meter_locations l
                       WHERE l.meter_id = meter_exchanges.meter_id AND l.region = ANY ((SELECT caller_regions())::text[])
                         AND l.valid @> statement_timestamp()));
DROP POLICY IF EXISTS meter_exchanges_made ON meter_exchanges;
CREATE POLICY meter_exchanges_made ON meter_exchanges FOR INSERT TO segs_api
    WITH CHECK ((SELECT caller_role()) = 'ADMIN'
           OR EXISTS (SELECT FROM meter_locations l
                       WHERE l.meter_id = meter_exchanges.meter_id AND l.region = ANY ((SELECT caller_regions())::text[])
                         AND l.valid @> statement_timestamp()));
DROP POLICY IF EXISTS meter_exchanges_changed ON meter_exchanges;
CREATE POLICY meter_exchanges_changed ON meter_exchanges FOR UPDATE TO segs_api
    USING ((SELECT caller_role()) = 'ADMIN'
           OR EXISTS (SELECT FROM meter_locations l
                       WHERE l.meter_id = meter_exchanges.meter_id AND l.region = ANY ((SELECT caller_regions())::text[])
                         AND l.valid @> statement_timestamp()));

-- Made and used by functions alone.
ALTER TABLE meter_claims ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS meter_claims_services ON meter_claims;
CREATE POLICY meter_claims_services ON meter_claims TO segs_worker, segs_readonly USING (true) WITH CHECK (true);
DROP POLICY IF EXISTS meter_claims_seen ON meter_claims;
CREATE POLICY meter_claims_seen ON meter_claims FOR SELECT TO segs_api
    USING ((SELECT caller_role()) = 'ADMIN'
           OR EXISTS (SELECT FROM meter_locations l
                       WHERE l.meter_id = meter_claims.meter_id AND l.region = ANY ((SELECT caller_regions())::text[])
                         AND l.valid @> statement_timestamp()));
