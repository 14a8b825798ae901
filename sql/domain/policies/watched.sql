-- Of somebody else's data an operator or admin sees what their transaction has written down that it looks at, by
-- audit_access(); a look that is not in the log shows nothing. These narrow what the other policies allow, and a change
-- has to find its row first. Gateways and regions are nobody's.

DROP POLICY IF EXISTS users_watched ON users;
CREATE POLICY users_watched ON users AS RESTRICTIVE FOR SELECT TO segs_api
    USING ((SELECT caller_role()) = 'USER' OR (SELECT caller_declared())
           OR user_id = ANY ((SELECT caller_declared_users())::integer[]));

DROP POLICY IF EXISTS user_preferences_watched ON user_preferences;
CREATE POLICY user_preferences_watched ON user_preferences AS RESTRICTIVE FOR SELECT TO segs_api
    USING ((SELECT caller_role()) = 'USER' OR (SELECT caller_declared())
           OR user_id = ANY ((SELECT caller_declared_users())::integer[]));

DROP POLICY IF EXISTS sessions_watched ON sessions;
CREATE POLICY sessions_watched ON sessions AS RESTRICTIVE FOR SELECT TO segs_api
    USING ((SELECT caller_role()) = 'USER' OR (SELECT caller_declared())
           OR user_id = ANY ((SELECT caller_declared_users())::integer[]));

DROP POLICY IF EXISTS meter_locations_watched ON meter_locations;
CREATE POLICY meter_locations_watched ON meter_locations AS RESTRICTIVE FOR SELECT TO segs_api
    USING ((SELECT caller_role()) = 'USER' OR (SELECT caller_declared())
           OR meter_id = ANY ((SELECT caller_declared_meters())::integer[]));

DROP POLICY IF EXISTS meters_watched ON meters;
CREATE POLICY meters_watched ON meters AS RESTRICTIVE FOR SELECT TO segs_api
    USING ((SELECT caller_role()) = 'USER' OR (SELECT caller_declared())
           OR meter_id = ANY ((SELECT caller_declared_meters())::integer[]));

DROP POLICY IF EXISTS meter_owners_watched ON meter_owners;
CREATE POLICY meter_owners_watched ON meter_owners AS RESTRICTIVE FOR SELECT TO segs_api
    USING ((SELECT caller_role()) = 'USER' OR (SELECT caller_declared())
           OR meter_id = ANY ((SELECT caller_declared_meters())::integer[]));

DROP POLICY IF EXISTS meter_exchanges_watched ON meter_exchanges;
CREATE POLICY meter_exchanges_watched ON meter_exchanges AS RESTRICTIVE FOR SELECT TO segs_api
    USING ((SELECT caller_role()) = 'USER' OR (SELECT caller_declared())
           OR meter_id = ANY ((SELECT caller_declared_meters())::integer[]));

DROP POLICY IF EXISTS meter_tariffs_watched ON meter_tariffs;
CREATE POLICY meter_tariffs_watched ON meter_tariffs AS RESTRICTIVE FOR SELECT TO segs_api
    USING ((SELECT caller_role()) = 'USER' OR (SELECT caller_declared())
           OR meter_id = ANY ((SELECT caller_declared_meters())::integer[]));

DROP POLICY IF EXISTS invoices_watched ON invoices;
CREATE POLICY invoices_watched ON invoices AS RESTRICTIVE FOR SELECT TO segs_api
    USING ((SELECT caller_role()) = 'USER' OR (SELECT caller_declared())
           OR meter_id = ANY ((SELECT caller_declared_meters())::integer[])
           OR user_id = ANY ((SELECT caller_declared_users())::integer[]));

DROP POLICY IF EXISTS billing_work_watched ON billing_work;
CREATE POLICY billing_work_watched ON billing_work AS RESTRICTIVE FOR SELECT TO segs_api
    USING ((SELECT caller_role()) = 'USER' OR (SELECT caller_declared())
           OR meter_id = ANY ((SELECT caller_declared_meters())::integer[]));

DROP POLICY IF EXISTS credit_balances_watched ON credit_balances;
CREATE POLICY credit_balances_watched ON credit_balances AS RESTRICTIVE FOR SELECT TO segs_api
    USING ((SELECT caller_role()) = 'USER' OR (SELECT caller_declared())
           OR user_id = ANY ((SELECT caller_declared_users())::integer[]));

DROP POLICY IF EXISTS alerts_watched ON alerts;
CREATE POLICY alerts_watched ON alerts AS RESTRICTIVE FOR SELECT TO segs_api
    USING ((SELECT caller_role()) = 'USER' OR (SELECT caller_declared())
           OR meter_id IS NULL OR meter_id = ANY ((SELECT caller_declared_meters())::integer[]));

DROP POLICY IF EXISTS audit_logs_watched ON audit_logs;
CREATE POLICY audit_logs_watched ON audit_logs AS RESTRICTIVE FOR SELECT TO segs_api USING ((SELECT caller_declared()));

DROP POLICY IF EXISTS audit_personal_watched ON audit_personal;
CREATE POLICY audit_personal_watched ON audit_personal AS RESTRICTIVE FOR SELECT TO segs_api USING ((SELECT caller_declared()));
