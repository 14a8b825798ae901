-- Everybody sees themselves; operators see the customers who said to live in their regions, admins all. Codes, proofs,
-- messages and limits are for functions alone: no policy shows the API any of them.

ALTER TABLE users ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS users_services ON users;
CREATE POLICY users_services ON users TO segs_worker, segs_readonly USING (true) WITH CHECK (true);
DROP POLICY IF EXISTS users_seen ON users;
CREATE POLICY users_seen ON users FOR SELECT TO segs_api
    USING (user_id = (SELECT caller_id()) AND (SELECT caller_role()) IS NOT NULL OR (SELECT caller_role()) = 'ADMIN'
           OR role = 'USER' AND region = ANY ((SELECT caller_regions())::text[]));
DROP POLICY IF EXISTS users_changed ON users;
CREATE POLICY users_changed ON users FOR UPDATE TO segs_api
    USING (user_id = (SELECT caller_id()) AND (SELECT caller_role()) IS NOT NULL OR (SELECT caller_role()) = 'ADMIN');

ALTER TABLE user_preferences ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS user_preferences_services ON user_preferences;
CREATE POLICY user_preferences_services ON user_preferences TO segs_worker, segs_readonly USING (true) WITH CHECK (true);
DROP POLICY IF EXISTS user_preferences_seen ON user_preferences;
CREATE POLICY user_preferences_seen ON user_preferences FOR SELECT TO segs_api
    USING (user_id = (SELECT caller_id()) AND (SELECT caller_role()) IS NOT NULL OR (SELECT caller_role()) = 'ADMIN');
DROP POLICY IF EXISTS user_preferences_changed ON user_preferences;
CREATE POLICY user_preferences_changed ON user_preferences FOR UPDATE TO segs_api
    USING (user_id = (SELECT caller_id()) AND (SELECT caller_role()) IS NOT NULL);

ALTER TABLE operator_regions ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS operator_regions_services ON operator_regions;
CREATE POLICY operator_regions_services ON operator_regions TO segs_worker, segs_readonly USING (true) WITH CHECK (true);
DROP POLICY IF EXISTS operator_regions_seen ON operator_regions;
CREATE POLICY operator_regions_seen ON operator_regions FOR SELECT TO segs_api
    USING (user_id = (SELECT caller_id()) AND (SELECT caller_role()) IS NOT NULL OR (SELECT caller_role()) = 'ADMIN');

ALTER TABLE sessions ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS sessions_services ON sessions;
CREATE POLICY sessions_services ON sessions TO segs_worker, segs_readonly USING (true) WITH CHECK (true);
DROP POLICY IF EXISTS sessions_seen ON sessions;
CREATE POLICY sessions_seen ON sessions FOR SELECT TO segs_api
    USING (user_id = (SELECT caller_id()) AND (SELECT caller_role()) IS NOT NULL OR (SELECT caller_role()) = 'ADMIN');

ALTER TABLE otp_verifications ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS otp_verifications_services ON otp_verifications;
CREATE POLICY otp_verifications_services ON otp_verifications TO segs_worker, segs_readonly USING (true) WITH CHECK (true);

ALTER TABLE token_blacklist ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS token_blacklist_services ON token_blacklist;
CREATE POLICY token_blacklist_services ON token_blacklist TO segs_worker, segs_readonly USING (true) WITH CHECK (true);

ALTER TABLE password_proofs ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS password_proofs_services ON password_proofs;
CREATE POLICY password_proofs_services ON password_proofs TO segs_worker, segs_readonly USING (true) WITH CHECK (true);

ALTER TABLE outbox ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS outbox_services ON outbox;
CREATE POLICY outbox_services ON outbox TO segs_worker, segs_readonly USING (true) WITH CHECK (true);

ALTER TABLE deliveries ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS deliveries_services ON deliveries;
CREATE POLICY deliveries_services ON deliveries TO segs_worker, segs_readonly USING (true) WITH CHECK (true);

ALTER TABLE second_factors ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS second_factors_services ON second_factors;
CREATE POLICY second_factors_services ON second_factors TO segs_worker, segs_readonly USING (true) WITH CHECK (true);

ALTER TABLE recovery_codes ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS recovery_codes_services ON recovery_codes;
CREATE POLICY recovery_codes_services ON recovery_codes TO segs_worker, segs_readonly USING (true) WITH CHECK (true);

ALTER TABLE second_factor_roles ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS second_factor_roles_services ON second_factor_roles;
CREATE POLICY second_factor_roles_services ON second_factor_roles TO segs_worker, segs_readonly USING (true) WITH CHECK (true);

ALTER TABLE login_networks ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS login_networks_services ON login_networks;
CREATE POLICY login_networks_services ON login_networks TO segs_worker, segs_readonly USING (true) WITH CHECK (true);

ALTER TABLE idempotency_keys ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS idempotency_keys_services ON idempotency_keys;
CREATE POLICY idempotency_keys_services ON idempotency_keys TO segs_worker, segs_readonly USING (true) WITH CHECK (true);

ALTER TABLE rate_buckets ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS rate_buckets_services ON rate_buckets;
CREATE POLICY rate_buckets_services ON rate_buckets TO segs_worker, segs_readonly USING (true) WITH CHECK (true);

ALTER TABLE audit_logs ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS audit_logs_services ON audit_logs;
CREATE POLICY audit_logs_services ON audit_logs TO segs_worker, segs_readonly USING (true) WITH CHECK (true);
DROP POLICY IF EXISTS audit_logs_seen ON audit_logs;
CREATE POLICY audit_logs_seen ON audit_logs FOR SELECT TO segs_api
    USING ((SELECT caller_role()) = 'ADMIN');

ALTER TABLE audit_personal ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS audit_personal_services ON audit_personal;
CREATE POLICY audit_personal_services ON audit_personal TO segs_worker, segs_readonly USING (true) WITH CHECK (true);
DROP POLICY IF EXISTS audit_personal_seen ON audit_personal;
CREATE POLICY audit_personal_seen ON audit_personal FOR SELECT TO segs_api
    USING ((SELECT caller_role()) = 'ADMIN');
