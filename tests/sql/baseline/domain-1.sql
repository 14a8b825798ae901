-- domain/version.sql
-- Which master this is. Raise the number together with a new migrations/domain/NNNN-name.sql, never without one.
SET LOCAL segs.master = 'domain';
SET LOCAL segs.master_version = '1';

-- schema_version.sql
-- First part of both masters: one apply at a time, and none onto a database that this master does not fit. The masters
-- say CREATE ... IF NOT EXISTS, which never reaches a table that is there: a database of another version is changed by
-- the migrations and by nothing else.
SET LOCAL client_min_messages = warning;
SET LOCAL search_path = public, pg_temp;

DO $$
DECLARE
    v_master CONSTANT text := current_setting('segs.master');
    v_version CONSTANT integer := current_setting('segs.master_version');
    v_found record;
    v_table text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('segs.schema', 0));
    IF to_regclass('public.schema_version') IS NULL THEN
        SELECT c.relname INTO v_table
          FROM pg_class c
         WHERE c.relnamespace = 'public'::regnamespace
           AND c.relkind IN ('r', 'p')
           AND NOT EXISTS (SELECT FROM pg_depend d
                            WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
         ORDER BY c.relname
         LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION 'database % has tables (% for one) but no schema_version: it is not a SEGS database',
                current_database(), v_table
                USING ERRCODE = 'SG001', HINT = 'Name an empty database.';
        END IF;
        RETURN;
    END IF;
    SELECT version, master INTO v_found FROM public.schema_version ORDER BY version DESC LIMIT 1;
    IF v_found.master <> v_master THEN
        RAISE EXCEPTION 'database % holds the % schema, this is the % master',
            current_database(), v_found.master, v_master
            USING ERRCODE = 'SG001', HINT = 'SEGS_DOMAIN_DSN and SEGS_TELEMETRY_DSN name two databases; are they swapped?';
    ELSIF v_found.version < v_version THEN
        RAISE EXCEPTION 'database % is at % schema version %, this master is version %',
            current_database(), v_master, v_found.version, v_version
            USING ERRCODE = 'SG001', HINT = 'Run segs-cloud schema apply: it brings the migrations in between.';
    ELSIF v_found.version > v_version THEN
        RAISE EXCEPTION 'database % is at % schema version %, newer than this master''s %',
            current_database(), v_master, v_found.version, v_version
            USING ERRCODE = 'SG001', HINT = 'Use the SEGS release that the database was upgraded with, or a later one.';
    END IF;
END
$$;

CREATE TABLE IF NOT EXISTS schema_version (
    version integer PRIMARY KEY CHECK (version >= 1),
    master text NOT NULL CHECK (master IN ('domain', 'telemetry')),
    checksum text CHECK (checksum ~ '^[0-9a-f]{64}$'),
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    applied_by text NOT NULL DEFAULT current_user
);
COMMENT ON TABLE schema_version IS 'Every schema version this database has been at; the highest is the one it is at';
COMMENT ON COLUMN schema_version.version IS 'Number of the last migration in it, from 1';
COMMENT ON COLUMN schema_version.master IS 'Which of the two masters: domain or telemetry';
COMMENT ON COLUMN schema_version.checksum IS 'SHA-256 (hex) of the master that segs-cloud schema apply ran; NULL while only psql has run it, and for versions passed through';
COMMENT ON COLUMN schema_version.applied_at IS 'When the database came to this version';
COMMENT ON COLUMN schema_version.applied_by IS 'Database role that applied it';

-- The checksum is for segs-cloud schema apply to set: what psql ran, nobody has compared.
INSERT INTO schema_version (version, master)
VALUES (current_setting('segs.master_version')::integer, current_setting('segs.master'))
ON CONFLICT (version) DO UPDATE SET checksum = NULL;

-- domain/extensions.sql
-- btree_gist carries the exclusion constraints of what is effective-dated: devices, tariffs.
CREATE EXTENSION IF NOT EXISTS btree_gist WITH SCHEMA public;

-- roles.sql
-- The service roles. Roles belong to the cluster, and several databases may be applied at the same instant, so finding
-- one created meanwhile is no error. Passwords are the operator's: none is set here.
DO $$
DECLARE
    v_role text;
BEGIN
    FOREACH v_role IN ARRAY ARRAY['segs_ingest', 'segs_api', 'segs_worker', 'segs_readonly'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = v_role) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I LOGIN', v_role);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;
            END;
        END IF;
    END LOOP;
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO segs_ingest, segs_api, segs_worker, segs_readonly', current_database());
    -- Ingest and release stage rows in temporary tables; the others have no use for one.
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO segs_ingest, segs_worker', current_database());
END
$$;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO segs_ingest, segs_api, segs_worker, segs_readonly;
GRANT SELECT ON schema_version TO segs_ingest, segs_api, segs_worker, segs_readonly;

-- domain/functions/timezone.sql
-- Reading every name (pg_timezone_names) takes milliseconds a row and accepts nothing more: a name without digits that
-- the server can convert with is an IANA zone, only POSIX strings like XYZ5 need keeping out.
CREATE OR REPLACE FUNCTION is_timezone(p_timezone text) RETURNS boolean
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF p_timezone !~ '^(UTC|Etc/GMT[+-][0-9]{1,2}|[A-Z][A-Za-z_]*(/[A-Z][A-Za-z_-]*)+)$' THEN
        RETURN false;
    END IF;
    PERFORM timestamptz '2000-01-01 00:00+00' AT TIME ZONE p_timezone;
    RETURN true;
EXCEPTION WHEN invalid_parameter_value THEN
    RETURN false;
END
$$;
COMMENT ON FUNCTION is_timezone(text) IS 'Whether the text is the name of an IANA zone that the server knows: Region/City or UTC';
GRANT EXECUTE ON FUNCTION is_timezone(text) TO segs_api, segs_worker;

-- domain/functions/updated_at.sql
-- Before the row is stored its generated columns are still empty, so a table names those as the trigger's arguments.
CREATE OR REPLACE FUNCTION touch_updated_at() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    v_generated CONSTANT text[] := coalesce(TG_ARGV, '{}');
BEGIN
    IF to_jsonb(NEW) - v_generated <> to_jsonb(OLD) - v_generated THEN
        NEW.updated_at := greatest(clock_timestamp(), OLD.updated_at);
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION touch_updated_at() IS 'Stamps updated_at of a row that an UPDATE really changes; it never runs backwards. Its arguments are the generated columns';

-- domain/functions/audit.sql
-- The owner's rights write the log, so that a role can neither skip nor forge it; who acted is what the session says.
CREATE OR REPLACE FUNCTION audit_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_old jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
    v_new jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
    v_secret text;
BEGIN
    IF TG_OP = 'UPDATE' AND v_old - 'updated_at' = v_new - 'updated_at' THEN
        RETURN NULL;
    END IF;
    FOR v_secret IN
        SELECT key FROM jsonb_object_keys(coalesce(v_new, v_old)) AS key WHERE key ~ '(_hash|_secret|_token)$'
    LOOP
        IF TG_OP = 'UPDATE' AND v_old -> v_secret IS DISTINCT FROM v_new -> v_secret THEN
            v_new := jsonb_set(v_new, ARRAY[v_secret], '"[changed]"');
        ELSIF v_new IS NOT NULL THEN
            v_new := jsonb_set(v_new, ARRAY[v_secret], '"[withheld]"');
        END IF;
        IF v_old IS NOT NULL THEN
            v_old := jsonb_set(v_old, ARRAY[v_secret], '"[withheld]"');
        END IF;
    END LOOP;
    INSERT INTO audit_logs (actor, database_role, request_id, action, table_name, row_key, old, new)
    VALUES (coalesce(nullif(current_setting('segs.actor', true), ''), 'role:' || session_user), session_user,
            nullif(current_setting('segs.request_id', true), ''), TG_OP, TG_TABLE_NAME,
            coalesce(v_new, v_old) ->> TG_ARGV[0], v_old, v_new);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION audit_change() IS 'Writes one audit_logs row for a changed row; its argument is the key column; *_hash, *_secret and *_token are withheld';

CREATE OR REPLACE FUNCTION refuse_audit_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'audit_logs is append-only: % refused', TG_OP USING ERRCODE = 'SG030';
END
$$;
COMMENT ON FUNCTION refuse_audit_change() IS 'Raises SG030: nobody, the owner included, changes or removes what was logged';

-- domain/functions/preferences.sql
CREATE OR REPLACE FUNCTION add_user_preferences() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO user_preferences (user_id, timezone)
    VALUES (NEW.user_id, coalesce((SELECT r.timezone FROM regions r WHERE r.region = NEW.region), 'UTC'));
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION add_user_preferences() IS 'Gives a new user the default preferences, in the zone of the user''s region';

-- domain/functions/invoice_guard.sql
CREATE OR REPLACE FUNCTION guard_invoice() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    -- What may still happen to an invoice that left the draft: it is paid, disputed, cancelled. The total is generated,
    -- and empty until the row is stored; what it is the sum of is compared.
    v_open CONSTANT text[] := ARRAY['status', 'paid_at', 'cancelled_at', 'updated_at', 'total_amount'];
BEGIN
    IF OLD.status = 'draft' THEN
        RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
    END IF;
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'invoice % is %: only drafts are deleted', OLD.invoice_number, OLD.status
            USING ERRCODE = 'SG031', HINT = 'Cancel it by a credit note.';
    END IF;
    IF NEW.status = 'draft' OR to_jsonb(NEW) - v_open <> to_jsonb(OLD) - v_open THEN
        RAISE EXCEPTION 'invoice % is %: it cannot change', OLD.invoice_number, OLD.status
            USING ERRCODE = 'SG031', HINT = 'Cancel it by a credit note and make another.';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION guard_invoice() IS 'Raises SG031 when an invoice that is no draft would be deleted or change in anything but its settlement';

CREATE OR REPLACE FUNCTION guard_invoice_line() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    v_invoice record;
    v_id bigint;
BEGIN
    FOREACH v_id IN ARRAY CASE TG_OP WHEN 'INSERT' THEN ARRAY[NEW.invoice_id] WHEN 'DELETE' THEN ARRAY[OLD.invoice_id]
                                     ELSE ARRAY[OLD.invoice_id, NEW.invoice_id] END
    LOOP
        -- The lock makes a finalisation at the same instant wait, or this line see it.
        SELECT invoice_number, status INTO v_invoice FROM invoices WHERE invoice_id = v_id FOR SHARE;
        IF FOUND AND v_invoice.status <> 'draft' THEN
            RAISE EXCEPTION 'invoice % is %: its lines cannot change', v_invoice.invoice_number, v_invoice.status
                USING ERRCODE = 'SG031', HINT = 'Cancel it by a credit note and make another.';
        END IF;
    END LOOP;
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END
$$;
COMMENT ON FUNCTION guard_invoice_line() IS 'Raises SG031 when a line of an invoice that is no draft would be added, changed or deleted';

-- domain/tables/audit_logs.sql
-- Who changed what. Written by audit_change() alone; nobody is granted more than to read it.

CREATE TABLE IF NOT EXISTS audit_logs (
    audit_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    occurred_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor text NOT NULL CHECK (actor <> ''),
    database_role text NOT NULL,
    request_id text,
    action text NOT NULL CHECK (action IN ('INSERT', 'UPDATE', 'DELETE')),
    table_name text NOT NULL,
    row_key text NOT NULL,
    old jsonb CHECK ((action = 'INSERT') = (old IS NULL)),
    new jsonb CHECK ((action = 'DELETE') = (new IS NULL))
);
CREATE INDEX IF NOT EXISTS audit_logs_row_idx ON audit_logs (table_name, row_key, audit_id);
CREATE INDEX IF NOT EXISTS audit_logs_actor_idx ON audit_logs (actor, audit_id);
COMMENT ON TABLE audit_logs IS 'Append-only: one row for every row that was inserted, updated or deleted in an audited table';
COMMENT ON COLUMN audit_logs.audit_id IS 'Order of the changes';
COMMENT ON COLUMN audit_logs.occurred_at IS 'When the row changed';
COMMENT ON COLUMN audit_logs.actor IS 'Who did it: the session''s segs.actor (user:17), else role: and the database role';
COMMENT ON COLUMN audit_logs.database_role IS 'Role that the session logged in as';
COMMENT ON COLUMN audit_logs.request_id IS 'The session''s segs.request_id, NULL outside a request';
COMMENT ON COLUMN audit_logs.action IS 'INSERT, UPDATE or DELETE';
COMMENT ON COLUMN audit_logs.table_name IS 'Table of the row';
COMMENT ON COLUMN audit_logs.row_key IS 'Primary key of the row, as text';
COMMENT ON COLUMN audit_logs.old IS 'The row before, secrets withheld; NULL for an INSERT';
COMMENT ON COLUMN audit_logs.new IS 'The row after, secrets withheld; NULL for a DELETE';
COMMENT ON INDEX audit_logs_row_idx IS 'History of one row';
COMMENT ON INDEX audit_logs_actor_idx IS 'Deeds of one actor';
CREATE OR REPLACE TRIGGER audit_logs_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_logs
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();
GRANT SELECT ON audit_logs TO segs_api, segs_readonly;

-- domain/tables/regions.sql
CREATE TABLE IF NOT EXISTS regions (
    region text PRIMARY KEY CHECK (region ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
    name text NOT NULL CHECK (name <> ''),
    capacity_w double precision CHECK (capacity_w > 0 AND capacity_w < 'infinity'),
    timezone text NOT NULL CONSTRAINT regions_timezone_is_known CHECK (is_timezone(timezone)),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE regions IS 'Regions of the grid: meters are summed and priced by them';
COMMENT ON COLUMN regions.region IS 'Short name: lower-case letters, digits, hyphen and underscore';
COMMENT ON COLUMN regions.name IS 'Name for people';
COMMENT ON COLUMN regions.capacity_w IS 'Capacity of the region''s supply, W; NULL where it is unknown';
COMMENT ON COLUMN regions.timezone IS 'IANA zone that new meters of the region get';
COMMENT ON COLUMN regions.created_at IS 'When the row was made';
COMMENT ON COLUMN regions.updated_at IS 'When the row changed last';
CREATE OR REPLACE TRIGGER regions_touch BEFORE UPDATE ON regions FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE OR REPLACE TRIGGER regions_audit AFTER INSERT OR UPDATE OR DELETE ON regions
    FOR EACH ROW EXECUTE FUNCTION audit_change('region');
GRANT SELECT, INSERT, UPDATE ON regions TO segs_api;
GRANT SELECT ON regions TO segs_worker, segs_readonly;

-- domain/tables/users.sql
-- People. A person who leaves is anonymised, never deleted: invoices must outlive the account.

CREATE TABLE IF NOT EXISTS users (
    user_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email text CHECK (email = lower(email) AND email ~ '^[^@[:space:]]+@[^@[:space:]]+[.][^@[:space:]]+$' AND length(email) <= 254),
    name text CHECK (name <> '' AND length(name) <= 200),
    phone text CHECK (phone ~ '^[+][1-9][0-9]{6,14}$'),
    region text REFERENCES regions ON UPDATE CASCADE,
    role text NOT NULL DEFAULT 'USER' CHECK (role IN ('USER', 'OPERATOR', 'ADMIN')),
    password_hash text CHECK (password_hash LIKE '$argon2id$%'),
    email_verified_at timestamptz,
    tokens_valid_from timestamptz NOT NULL DEFAULT '-infinity',
    suspended_at timestamptz,
    deleted_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT users_email_unless_deleted CHECK ((deleted_at IS NULL) = (email IS NOT NULL)),
    CONSTRAINT users_name_unless_deleted CHECK ((deleted_at IS NULL) = (name IS NOT NULL)),
    CONSTRAINT users_nothing_personal_after_deletion CHECK (deleted_at IS NULL OR (phone IS NULL AND password_hash IS NULL)),
    CONSTRAINT users_password_needs_verified_email CHECK (password_hash IS NULL OR email_verified_at IS NOT NULL)
);
CREATE UNIQUE INDEX IF NOT EXISTS users_email_key ON users (email);
CREATE INDEX IF NOT EXISTS users_region_idx ON users (region) WHERE deleted_at IS NULL;
COMMENT ON TABLE users IS 'People who may log in: customers, operators, admins';
COMMENT ON COLUMN users.user_id IS 'Row key';
COMMENT ON COLUMN users.email IS 'Address the user logs in with, lower case; NULL once the account is deleted';
COMMENT ON COLUMN users.name IS 'Name for letters and bills; NULL once the account is deleted';
COMMENT ON COLUMN users.phone IS 'E.164 number';
COMMENT ON COLUMN users.region IS 'Where the user said to live; prices go by the meter''s region, never by this one';
COMMENT ON COLUMN users.role IS 'USER sees own meters, OPERATOR the regions given, ADMIN all';
COMMENT ON COLUMN users.password_hash IS 'argon2id in its encoded form; NULL until a password was set with proof of the address';
COMMENT ON COLUMN users.email_verified_at IS 'When the address was proven';
COMMENT ON COLUMN users.tokens_valid_from IS 'Tokens issued before are refused: set by logout-all, suspension, a change of role or password';
COMMENT ON COLUMN users.suspended_at IS 'Since when the user may not log in; NULL while active';
COMMENT ON COLUMN users.deleted_at IS 'When the account was deleted and the row anonymised';
COMMENT ON COLUMN users.created_at IS 'When the row was made';
COMMENT ON COLUMN users.updated_at IS 'When the row changed last';
COMMENT ON INDEX users_email_key IS 'One account per address';
COMMENT ON INDEX users_region_idx IS 'People of a region';
CREATE OR REPLACE TRIGGER users_touch BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE OR REPLACE TRIGGER users_preferences AFTER INSERT ON users FOR EACH ROW EXECUTE FUNCTION add_user_preferences();
CREATE OR REPLACE TRIGGER users_audit AFTER INSERT OR UPDATE OR DELETE ON users
    FOR EACH ROW EXECUTE FUNCTION audit_change('user_id');
GRANT SELECT, INSERT, UPDATE ON users TO segs_api;
GRANT SELECT (user_id, email, name, phone, region, role, email_verified_at, tokens_valid_from, suspended_at, deleted_at,
              created_at, updated_at) ON users TO segs_worker, segs_readonly;

-- domain/tables/user_preferences.sql
CREATE TABLE IF NOT EXISTS user_preferences (
    user_id integer PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    language text NOT NULL DEFAULT 'en' CHECK (language ~ '^[a-z]{2}(-[A-Z]{2})?$'),
    timezone text NOT NULL CONSTRAINT user_preferences_timezone_is_known CHECK (is_timezone(timezone)),
    theme text NOT NULL DEFAULT 'system' CHECK (theme IN ('system', 'light', 'dark')),
    chart_resolution text NOT NULL DEFAULT 'auto' CHECK (chart_resolution IN ('auto', 'raw', '1m', '15m', '1h', '1d')),
    notify_email boolean NOT NULL DEFAULT true,
    notify_sms boolean NOT NULL DEFAULT false,
    notify_push boolean NOT NULL DEFAULT false,
    notify_web boolean NOT NULL DEFAULT true,
    alert_severity_min text NOT NULL DEFAULT 'low' CHECK (alert_severity_min IN ('low', 'medium', 'warning', 'high', 'critical')),
    consumption_threshold_wh bigint CHECK (consumption_threshold_wh > 0),
    quiet_from time,
    quiet_until time,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT user_preferences_quiet_hours_have_both_ends CHECK ((quiet_from IS NULL) = (quiet_until IS NULL))
);
COMMENT ON TABLE user_preferences IS 'What a user wants to see and hear of; every user has a row from the first moment';
COMMENT ON COLUMN user_preferences.user_id IS 'The user';
COMMENT ON COLUMN user_preferences.language IS 'Language of messages and bills: en, or en-GB';
COMMENT ON COLUMN user_preferences.timezone IS 'IANA zone of charts and messages; bills keep the meter''s zone';
COMMENT ON COLUMN user_preferences.theme IS 'system, light or dark';
COMMENT ON COLUMN user_preferences.chart_resolution IS 'Step of charts; auto takes it from the width';
COMMENT ON COLUMN user_preferences.notify_email IS 'Whether alerts come by e-mail';
COMMENT ON COLUMN user_preferences.notify_sms IS 'Whether alerts come by SMS';
COMMENT ON COLUMN user_preferences.notify_push IS 'Whether alerts come as push messages';
COMMENT ON COLUMN user_preferences.notify_web IS 'Whether alerts come as events in the web page';
COMMENT ON COLUMN user_preferences.alert_severity_min IS 'Lowest severity the user is told of';
COMMENT ON COLUMN user_preferences.consumption_threshold_wh IS 'Energy of a local day above which the user wants an alert, Wh; NULL for none';
COMMENT ON COLUMN user_preferences.quiet_from IS 'Start of the hours without messages, local to timezone';
COMMENT ON COLUMN user_preferences.quiet_until IS 'End of the hours without messages; before quiet_from it is the next morning';
COMMENT ON COLUMN user_preferences.created_at IS 'When the row was made';
COMMENT ON COLUMN user_preferences.updated_at IS 'When the row changed last';
CREATE OR REPLACE TRIGGER user_preferences_touch BEFORE UPDATE ON user_preferences
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE OR REPLACE TRIGGER user_preferences_audit AFTER INSERT OR UPDATE OR DELETE ON user_preferences
    FOR EACH ROW EXECUTE FUNCTION audit_change('user_id');
GRANT SELECT, INSERT, UPDATE ON user_preferences TO segs_api;
GRANT SELECT ON user_preferences TO segs_worker, segs_readonly;

-- domain/tables/otp_verifications.sql
-- One-time codes. Only their keyed hash is here; wrong guesses are counted in the row, in the statement that compares.

CREATE TABLE IF NOT EXISTS otp_verifications (
    otp_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id integer NOT NULL REFERENCES users ON DELETE CASCADE,
    purpose text NOT NULL CHECK (purpose IN ('verify_email', 'reset_password', 'change_email')),
    code_hash bytea NOT NULL CHECK (length(code_hash) = 32),
    attempts smallint NOT NULL DEFAULT 0 CHECK (attempts BETWEEN 0 AND 5),
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    superseded_at timestamptz,
    CONSTRAINT otp_verifications_live_at_most_10_minutes
        CHECK (expires_at > created_at AND expires_at <= created_at + INTERVAL '10 minutes'),
    CONSTRAINT otp_verifications_used_in_time CHECK (used_at BETWEEN created_at AND expires_at),
    CONSTRAINT otp_verifications_used_or_superseded CHECK (used_at IS NULL OR superseded_at IS NULL)
);
CREATE UNIQUE INDEX IF NOT EXISTS otp_verifications_open_key ON otp_verifications (user_id, purpose)
    WHERE used_at IS NULL AND superseded_at IS NULL;
CREATE INDEX IF NOT EXISTS otp_verifications_user_idx ON otp_verifications (user_id, purpose, created_at);
CREATE INDEX IF NOT EXISTS otp_verifications_expires_at_idx ON otp_verifications (expires_at);
COMMENT ON TABLE otp_verifications IS 'One-time codes sent to a user';
COMMENT ON COLUMN otp_verifications.otp_id IS 'Row key';
COMMENT ON COLUMN otp_verifications.user_id IS 'Whom the code was sent to';
COMMENT ON COLUMN otp_verifications.purpose IS 'What the code proves; it is good for nothing else';
COMMENT ON COLUMN otp_verifications.code_hash IS 'HMAC-SHA-256 of the code under a key of the server: six digits alone are guessed from a plain hash';
COMMENT ON COLUMN otp_verifications.attempts IS 'Wrong guesses at this code, at most 5; the sum over a user''s recent codes limits them too';
COMMENT ON COLUMN otp_verifications.created_at IS 'When the code was made';
COMMENT ON COLUMN otp_verifications.expires_at IS 'Until when it is good, at most 10 minutes';
COMMENT ON COLUMN otp_verifications.used_at IS 'When it was used, once';
COMMENT ON COLUMN otp_verifications.superseded_at IS 'When a newer code took its place';
COMMENT ON INDEX otp_verifications_open_key IS 'One open code per user and purpose';
COMMENT ON INDEX otp_verifications_user_idx IS 'A user''s recent codes: wrong guesses are summed across them';
COMMENT ON INDEX otp_verifications_expires_at_idx IS 'Expired codes to clear away';
GRANT SELECT, INSERT, UPDATE ON otp_verifications TO segs_api;
GRANT SELECT (otp_id, expires_at), DELETE ON otp_verifications TO segs_worker;

-- domain/tables/sessions.sql
-- Refresh tokens: opaque, hashed, rotated within the family of one login. A rotated token that comes again revokes the family.

CREATE TABLE IF NOT EXISTS sessions (
    session_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    family_id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id integer NOT NULL REFERENCES users ON DELETE CASCADE,
    token_hash bytea NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    user_agent text CHECK (length(user_agent) <= 500),
    address inet,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL CHECK (expires_at > created_at),
    rotated_at timestamptz CHECK (rotated_at >= created_at),
    revoked_at timestamptz CHECK (revoked_at >= created_at),
    revoke_reason text CHECK (revoke_reason IN ('logout', 'logout_all', 'reuse', 'suspended', 'password_changed', 'role_changed')),
    CONSTRAINT sessions_revoked_for_a_reason CHECK ((revoked_at IS NULL) = (revoke_reason IS NULL))
);
CREATE UNIQUE INDEX IF NOT EXISTS sessions_live_key ON sessions (family_id) WHERE rotated_at IS NULL AND revoked_at IS NULL;
CREATE INDEX IF NOT EXISTS sessions_user_idx ON sessions (user_id) WHERE revoked_at IS NULL;
CREATE INDEX IF NOT EXISTS sessions_expires_at_idx ON sessions (expires_at);
COMMENT ON TABLE sessions IS 'One row per refresh token ever given and not yet cleared away';
COMMENT ON COLUMN sessions.session_id IS 'Row key';
COMMENT ON COLUMN sessions.family_id IS 'The login that this token descends from';
COMMENT ON COLUMN sessions.user_id IS 'Whose session it is';
COMMENT ON COLUMN sessions.token_hash IS 'SHA-256 of the token, which is 256 random bits';
COMMENT ON COLUMN sessions.user_agent IS 'Browser or program, as it named itself';
COMMENT ON COLUMN sessions.address IS 'Address the token was asked for from';
COMMENT ON COLUMN sessions.created_at IS 'When the token was given';
COMMENT ON COLUMN sessions.expires_at IS 'Until when it can be exchanged';
COMMENT ON COLUMN sessions.rotated_at IS 'When it was exchanged for its successor';
COMMENT ON COLUMN sessions.revoked_at IS 'When it was revoked';
COMMENT ON COLUMN sessions.revoke_reason IS 'Why it was revoked';
COMMENT ON INDEX sessions_live_key IS 'One live token per family';
COMMENT ON INDEX sessions_user_idx IS 'A user''s sessions';
COMMENT ON INDEX sessions_expires_at_idx IS 'Expired tokens to clear away';
GRANT SELECT, INSERT, UPDATE ON sessions TO segs_api;
GRANT SELECT (session_id, expires_at), DELETE ON sessions TO segs_worker;

-- domain/tables/token_blacklist.sql
CREATE TABLE IF NOT EXISTS token_blacklist (
    jti uuid PRIMARY KEY,
    user_id integer NOT NULL REFERENCES users ON DELETE CASCADE,
    reason text NOT NULL CHECK (reason IN ('logout', 'revoked')),
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL CHECK (expires_at > created_at)
);
CREATE INDEX IF NOT EXISTS token_blacklist_expires_at_idx ON token_blacklist (expires_at);
COMMENT ON TABLE token_blacklist IS 'Access tokens that are refused before they expire';
COMMENT ON COLUMN token_blacklist.jti IS 'Identity of the token, its jti claim';
COMMENT ON COLUMN token_blacklist.user_id IS 'Whose token it is';
COMMENT ON COLUMN token_blacklist.reason IS 'logout by its owner, or revoked';
COMMENT ON COLUMN token_blacklist.created_at IS 'When it was listed';
COMMENT ON COLUMN token_blacklist.expires_at IS 'When the token expires by itself and the row may go';
COMMENT ON INDEX token_blacklist_expires_at_idx IS 'Rows that may go';
GRANT SELECT, INSERT ON token_blacklist TO segs_api;
GRANT SELECT (jti, expires_at), DELETE ON token_blacklist TO segs_worker;

-- domain/tables/gateways.sql
-- Gateways and the keys they deliver with. A key is rotated without a gap: add the new one, then revoke the old one.

CREATE TABLE IF NOT EXISTS gateways (
    gateway_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
    disabled_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE gateways IS 'Gateways in the field that read devices and deliver batches';
COMMENT ON COLUMN gateways.gateway_id IS 'Row key';
COMMENT ON COLUMN gateways.name IS 'Name as in the gateway''s own configuration: letters, digits, dot, hyphen, underscore';
COMMENT ON COLUMN gateways.disabled_at IS 'Since when nothing is accepted from it; NULL while it may deliver';
COMMENT ON COLUMN gateways.created_at IS 'When the row was made';
COMMENT ON COLUMN gateways.updated_at IS 'When the row changed last';
CREATE OR REPLACE TRIGGER gateways_touch BEFORE UPDATE ON gateways FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE OR REPLACE TRIGGER gateways_audit AFTER INSERT OR UPDATE OR DELETE ON gateways
    FOR EACH ROW EXECUTE FUNCTION audit_change('gateway_id');
GRANT SELECT, INSERT, UPDATE ON gateways TO segs_api;
GRANT SELECT ON gateways TO segs_worker, segs_readonly;

CREATE TABLE IF NOT EXISTS gateway_keys (
    gateway_key_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gateway_id integer NOT NULL REFERENCES gateways ON DELETE RESTRICT,
    key_hash bytea NOT NULL UNIQUE CHECK (length(key_hash) = 32),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    revoked_at timestamptz CHECK (revoked_at >= created_at)
);
CREATE INDEX IF NOT EXISTS gateway_keys_valid_idx ON gateway_keys (gateway_id) WHERE revoked_at IS NULL;
COMMENT ON TABLE gateway_keys IS 'Keys of gateways; the key itself is shown once and kept nowhere';
COMMENT ON COLUMN gateway_keys.gateway_key_id IS 'Row key';
COMMENT ON COLUMN gateway_keys.gateway_id IS 'Gateway that may deliver with the key';
COMMENT ON COLUMN gateway_keys.key_hash IS 'SHA-256 of the whole key string, which holds 256 random bits';
COMMENT ON COLUMN gateway_keys.created_at IS 'When the key was made';
COMMENT ON COLUMN gateway_keys.revoked_at IS 'When it was revoked; NULL while it is valid';
COMMENT ON INDEX gateway_keys_valid_idx IS 'Valid keys of a gateway';
CREATE OR REPLACE TRIGGER gateway_keys_audit AFTER INSERT OR UPDATE OR DELETE ON gateway_keys
    FOR EACH ROW EXECUTE FUNCTION audit_change('gateway_key_id');
GRANT SELECT, INSERT, UPDATE ON gateway_keys TO segs_api;
GRANT SELECT ON gateway_keys TO segs_worker;
GRANT SELECT (gateway_key_id, gateway_id, created_at, revoked_at) ON gateway_keys TO segs_readonly;

-- domain/tables/meters.sql
CREATE TABLE IF NOT EXISTS meters (
    meter_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    meter_code text NOT NULL UNIQUE
        GENERATED ALWAYS AS ('MTR-' || lpad(meter_id::text, greatest(8, length(meter_id::text)), '0')) STORED,
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('registered', 'active', 'inactive', 'faulty', 'decommissioned')),
    model text CHECK (model <> ''),
    serial text CHECK (serial <> ''),
    region text NOT NULL REFERENCES regions ON UPDATE CASCADE ON DELETE RESTRICT,
    timezone text NOT NULL CONSTRAINT meters_timezone_is_known CHECK (is_timezone(timezone)),
    user_id integer REFERENCES users ON DELETE RESTRICT,
    site text CHECK (site <> ''),
    latitude_deg double precision CHECK (latitude_deg BETWEEN -90 AND 90),
    longitude_deg double precision CHECK (longitude_deg BETWEEN -180 AND 180),
    max_power_w double precision NOT NULL DEFAULT 1000000 CHECK (max_power_w > 0 AND max_power_w < 'infinity'),
    register_modulus_wh bigint CHECK (register_modulus_wh > 0),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT meters_location_has_both_coordinates CHECK ((latitude_deg IS NULL) = (longitude_deg IS NULL)),
    CONSTRAINT meters_serial_needs_model CHECK (serial IS NULL OR model IS NOT NULL)
);
CREATE UNIQUE INDEX IF NOT EXISTS meters_model_serial_key ON meters (model, serial) WHERE serial IS NOT NULL;
CREATE INDEX IF NOT EXISTS meters_user_idx ON meters (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS meters_region_idx ON meters (region, meter_id);
CREATE INDEX IF NOT EXISTS meters_site_idx ON meters (site) WHERE site IS NOT NULL;
COMMENT ON TABLE meters IS 'Metering points: what is measured, where, whose it is';
COMMENT ON COLUMN meters.meter_id IS 'Key in both databases';
COMMENT ON COLUMN meters.meter_code IS 'The key for people: MTR- and at least eight digits';
COMMENT ON COLUMN meters.status IS 'registered (never delivered), active, inactive, faulty or decommissioned';
COMMENT ON COLUMN meters.model IS 'Maker and model, the name of the gateway''s profile where there is one';
COMMENT ON COLUMN meters.serial IS 'Serial number on the meter''s plate';
COMMENT ON COLUMN meters.region IS 'Region the meter counts in and is priced by';
COMMENT ON COLUMN meters.timezone IS 'IANA zone: the meter''s days and billing periods are local to it';
COMMENT ON COLUMN meters.user_id IS 'Customer; NULL while nobody has claimed the meter';
COMMENT ON COLUMN meters.site IS 'Building or plant: meters of one site that go silent together are one alert';
COMMENT ON COLUMN meters.latitude_deg IS 'Latitude, degrees north, WGS 84';
COMMENT ON COLUMN meters.longitude_deg IS 'Longitude, degrees east, WGS 84';
COMMENT ON COLUMN meters.max_power_w IS 'Highest power the connection can carry, W: a register that grows faster is not believed';
COMMENT ON COLUMN meters.register_modulus_wh IS 'Where the energy registers roll over, Wh; NULL where it is unknown';
COMMENT ON COLUMN meters.created_at IS 'When the row was made';
COMMENT ON COLUMN meters.updated_at IS 'When the row changed last';
COMMENT ON INDEX meters_model_serial_key IS 'A meter is registered once';
COMMENT ON INDEX meters_user_idx IS 'Meters of a customer';
COMMENT ON INDEX meters_region_idx IS 'Meters of a region';
COMMENT ON INDEX meters_site_idx IS 'Meters of a site';
CREATE OR REPLACE TRIGGER meters_touch BEFORE UPDATE ON meters FOR EACH ROW EXECUTE FUNCTION touch_updated_at('meter_code');
CREATE OR REPLACE TRIGGER meters_audit AFTER INSERT OR UPDATE OR DELETE ON meters
    FOR EACH ROW EXECUTE FUNCTION audit_change('meter_id');
GRANT SELECT, INSERT, UPDATE ON meters TO segs_api;
GRANT SELECT, UPDATE (status) ON meters TO segs_worker;
GRANT SELECT ON meters TO segs_readonly;

-- domain/tables/devices.sql
-- Which device of which gateway is which meter, and when. Infinite ends are written out, so that upper(valid) compares.

CREATE TABLE IF NOT EXISTS devices (
    device_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gateway_id integer NOT NULL REFERENCES gateways ON DELETE RESTRICT,
    device text NOT NULL CHECK (device ~ '^[A-Za-z0-9._-]+(/[0-9]+)?$' AND length(device) <= 96),
    meter_id integer NOT NULL REFERENCES meters ON DELETE RESTRICT,
    interval_ms integer NOT NULL CHECK (interval_ms > 0),
    valid tstzrange NOT NULL DEFAULT tstzrange('-infinity', 'infinity'),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT devices_valid_is_half_open
        CHECK (NOT isempty(valid) AND NOT lower_inf(valid) AND NOT upper_inf(valid) AND lower_inc(valid) AND NOT upper_inc(valid)),
    CONSTRAINT devices_one_meter_per_device EXCLUDE USING gist (gateway_id WITH =, device WITH =, valid WITH &&),
    CONSTRAINT devices_one_device_per_meter EXCLUDE USING gist (meter_id WITH =, valid WITH &&)
);
COMMENT ON TABLE devices IS 'Which device of which gateway is which meter (effective-dated)';
COMMENT ON COLUMN devices.device_id IS 'Row key';
COMMENT ON COLUMN devices.gateway_id IS 'The gateway that reads the device';
COMMENT ON COLUMN devices.device IS 'The gateway''s name of the device, name/n for channel n of a device with several meters in it';
COMMENT ON COLUMN devices.meter_id IS 'The meter it is';
COMMENT ON COLUMN devices.interval_ms IS 'Expected time between two readings, milliseconds';
COMMENT ON COLUMN devices.valid IS 'The span of reading times for which the row holds, half-open';
COMMENT ON COLUMN devices.created_at IS 'When the row was made';
COMMENT ON COLUMN devices.updated_at IS 'When the row changed last';
COMMENT ON INDEX devices_one_meter_per_device IS 'A device is one meter at a time';
COMMENT ON INDEX devices_one_device_per_meter IS 'A meter is read by one device at a time';
CREATE OR REPLACE TRIGGER devices_touch BEFORE UPDATE ON devices FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE OR REPLACE TRIGGER devices_audit AFTER INSERT OR UPDATE OR DELETE ON devices
    FOR EACH ROW EXECUTE FUNCTION audit_change('device_id');
GRANT SELECT, INSERT, UPDATE ON devices TO segs_api;
GRANT SELECT ON devices TO segs_worker, segs_readonly;

-- domain/tables/tariffs.sql
-- Tariffs, effective-dated: a change of price is a new row, and a row that bills were priced by never goes away.

CREATE TABLE IF NOT EXISTS tariffs (
    tariff_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code text NOT NULL CHECK (code ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
    name text NOT NULL CHECK (name <> ''),
    region text REFERENCES regions ON UPDATE CASCADE ON DELETE RESTRICT,
    origin text NOT NULL DEFAULT 'base' CHECK (origin IN ('base', 'load', 'override')),
    reason text CHECK (reason <> ''),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    timezone text NOT NULL CONSTRAINT tariffs_timezone_is_known CHECK (is_timezone(timezone)),
    interval_s integer NOT NULL DEFAULT 900 CHECK (interval_s > 0 AND 86400 % interval_s = 0),
    document jsonb NOT NULL CHECK (jsonb_typeof(document) = 'object'),
    valid tstzrange NOT NULL,
    created_by integer REFERENCES users ON DELETE RESTRICT,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT tariffs_valid_is_half_open
        CHECK (NOT isempty(valid) AND NOT lower_inf(valid) AND NOT upper_inf(valid) AND lower_inc(valid) AND NOT upper_inc(valid)),
    CONSTRAINT tariffs_override_has_end_and_reason
        CHECK (origin <> 'override' OR (upper(valid) < 'infinity' AND reason IS NOT NULL)),
    CONSTRAINT tariffs_load_has_region CHECK (origin <> 'load' OR region IS NOT NULL),
    CONSTRAINT tariffs_one_at_a_time EXCLUDE USING gist (code WITH =, origin WITH =, valid WITH &&)
);
CREATE INDEX IF NOT EXISTS tariffs_region_idx ON tariffs (region);
COMMENT ON TABLE tariffs IS 'Tariffs and their spans: while they overlap, override wins over load, load over base';
COMMENT ON COLUMN tariffs.tariff_id IS 'Row key: one price table during one span';
COMMENT ON COLUMN tariffs.code IS 'The tariff, the same in all its rows';
COMMENT ON COLUMN tariffs.name IS 'Name for people';
COMMENT ON COLUMN tariffs.region IS 'Region it is offered in; NULL for everywhere';
COMMENT ON COLUMN tariffs.origin IS 'base as published, load by the region''s load, override by an operator';
COMMENT ON COLUMN tariffs.reason IS 'Why the row was made; an override must say';
COMMENT ON COLUMN tariffs.currency IS 'ISO 4217 code';
COMMENT ON COLUMN tariffs.timezone IS 'IANA zone that the document''s schedules are local to';
COMMENT ON COLUMN tariffs.interval_s IS 'Length of the intervals it prices, seconds';
COMMENT ON COLUMN tariffs.document IS 'The whole tariff document';
COMMENT ON COLUMN tariffs.valid IS 'Span in which the row is in force, half-open';
COMMENT ON COLUMN tariffs.created_by IS 'Operator who made it; NULL for the tariff worker';
COMMENT ON COLUMN tariffs.created_at IS 'When the row was made';
COMMENT ON COLUMN tariffs.updated_at IS 'When the row changed last';
COMMENT ON INDEX tariffs_one_at_a_time IS 'A tariff has one price table of an origin at a time';
COMMENT ON INDEX tariffs_region_idx IS 'Tariffs of a region';
CREATE OR REPLACE TRIGGER tariffs_touch BEFORE UPDATE ON tariffs FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE OR REPLACE TRIGGER tariffs_audit AFTER INSERT OR UPDATE OR DELETE ON tariffs
    FOR EACH ROW EXECUTE FUNCTION audit_change('tariff_id');
GRANT SELECT, INSERT, UPDATE ON tariffs TO segs_api, segs_worker;
GRANT SELECT ON tariffs TO segs_readonly;

CREATE TABLE IF NOT EXISTS tariff_rules (
    tariff_rule_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tariff_id integer NOT NULL REFERENCES tariffs ON DELETE RESTRICT,
    component text NOT NULL CHECK (component IN ('energy', 'demand_flat', 'demand_tou')),
    period smallint NOT NULL CHECK (period >= 0),
    tier smallint NOT NULL CHECK (tier >= 0),
    tier_max numeric(18, 6) CHECK (tier_max > 0),
    unit text NOT NULL CHECK (unit IN ('kWh', 'kWh daily', 'kW')),
    rate numeric(18, 8) NOT NULL,
    adjustment numeric(18, 8) NOT NULL DEFAULT 0,
    sell numeric(18, 8),
    CONSTRAINT tariff_rules_key UNIQUE (tariff_id, component, period, tier),
    CONSTRAINT tariff_rules_unit_fits_component CHECK ((unit = 'kW') = (component <> 'energy')),
    CONSTRAINT tariff_rules_sell_is_energy CHECK (sell IS NULL OR component = 'energy')
);
COMMENT ON TABLE tariff_rules IS 'The document''s rate structures as rows: one price per component, period and tier';
COMMENT ON COLUMN tariff_rules.tariff_rule_id IS 'Row key';
COMMENT ON COLUMN tariff_rules.tariff_id IS 'Tariff row they belong to';
COMMENT ON COLUMN tariff_rules.component IS 'energy, demand_flat (peak of the month) or demand_tou (peak within the period)';
COMMENT ON COLUMN tariff_rules.period IS 'Period number of the document''s schedules, from 0';
COMMENT ON COLUMN tariff_rules.tier IS 'Tier of the period, from 0';
COMMENT ON COLUMN tariff_rules.tier_max IS 'Upper end of the tier, in unit; NULL for the last';
COMMENT ON COLUMN tariff_rules.unit IS 'Unit of tier_max: kWh a month, kWh daily (x days of the month), kW';
COMMENT ON COLUMN tariff_rules.rate IS 'Price per kWh or kW, in the tariff''s currency';
COMMENT ON COLUMN tariff_rules.adjustment IS 'Added to rate, per kWh or kW, in the tariff''s currency';
COMMENT ON COLUMN tariff_rules.sell IS 'Paid per kWh exported, in the tariff''s currency; NULL where export is not paid';
COMMENT ON INDEX tariff_rules_key IS 'One price per component, period and tier';
CREATE OR REPLACE TRIGGER tariff_rules_audit AFTER INSERT OR UPDATE OR DELETE ON tariff_rules
    FOR EACH ROW EXECUTE FUNCTION audit_change('tariff_rule_id');
GRANT SELECT, INSERT ON tariff_rules TO segs_api, segs_worker;
GRANT SELECT ON tariff_rules TO segs_readonly;

-- domain/tables/alerts.sql
CREATE TABLE IF NOT EXISTS alerts (
    alert_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rule text NOT NULL CHECK (rule ~ '^[a-z][a-z0-9_]{0,62}$'),
    meter_id integer REFERENCES meters ON DELETE RESTRICT,
    gateway_id integer REFERENCES gateways ON DELETE RESTRICT,
    region text REFERENCES regions ON UPDATE CASCADE ON DELETE RESTRICT,
    site text CHECK (site <> ''),
    phase smallint NOT NULL DEFAULT 0 CHECK (phase BETWEEN 0 AND 3),
    severity text NOT NULL CHECK (severity IN ('low', 'medium', 'warning', 'high', 'critical')),
    state text NOT NULL CHECK (state IN ('pending', 'firing', 'clearing', 'resolved')),
    value double precision,
    threshold double precision,
    unit text,
    message text NOT NULL,
    started_at timestamptz NOT NULL,
    fired_at timestamptz CHECK (fired_at >= started_at),
    acknowledged_at timestamptz CHECK (acknowledged_at >= started_at),
    acknowledged_by integer REFERENCES users ON DELETE RESTRICT,
    resolved_at timestamptz CHECK (resolved_at >= started_at),
    resolved_by integer REFERENCES users ON DELETE RESTRICT,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT alerts_have_one_subject CHECK (num_nonnulls(meter_id, gateway_id, region, site) = 1),
    CONSTRAINT alerts_phase_needs_meter CHECK (phase = 0 OR meter_id IS NOT NULL),
    CONSTRAINT alerts_fired_unless_pending CHECK (state IN ('pending', 'resolved') OR fired_at IS NOT NULL),
    CONSTRAINT alerts_resolved_with_time CHECK ((state = 'resolved') = (resolved_at IS NOT NULL)),
    CONSTRAINT alerts_acknowledged_by_somebody CHECK ((acknowledged_at IS NULL) = (acknowledged_by IS NULL)),
    CONSTRAINT alerts_resolver_needs_resolution CHECK (resolved_by IS NULL OR resolved_at IS NOT NULL),
    CONSTRAINT alerts_value_has_unit CHECK (num_nonnulls(value, threshold) = 0 OR unit IS NOT NULL)
);
CREATE UNIQUE INDEX IF NOT EXISTS alerts_open_key ON alerts (rule, meter_id, gateway_id, region, site, phase)
    NULLS NOT DISTINCT WHERE state <> 'resolved';
CREATE INDEX IF NOT EXISTS alerts_meter_idx ON alerts (meter_id, started_at) WHERE meter_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS alerts_started_at_idx ON alerts (started_at);
COMMENT ON TABLE alerts IS 'What a rule found wrong with a meter, a gateway, a site or a region, from first sign to resolution';
COMMENT ON COLUMN alerts.alert_id IS 'Row key';
COMMENT ON COLUMN alerts.rule IS 'Rule that found it';
COMMENT ON COLUMN alerts.meter_id IS 'The meter it is about, else NULL';
COMMENT ON COLUMN alerts.gateway_id IS 'The gateway it is about, else NULL';
COMMENT ON COLUMN alerts.region IS 'The region it is about, else NULL';
COMMENT ON COLUMN alerts.site IS 'meters.site it is about, else NULL';
COMMENT ON COLUMN alerts.phase IS 'Phase 1 to 3, 0 where the rule is not about one';
COMMENT ON COLUMN alerts.severity IS 'low, medium, warning, high or critical';
COMMENT ON COLUMN alerts.state IS 'pending (not long enough yet), firing, clearing (not long enough gone), resolved';
COMMENT ON COLUMN alerts.value IS 'What was measured when the state changed last, in unit';
COMMENT ON COLUMN alerts.threshold IS 'What it was compared with, in unit';
COMMENT ON COLUMN alerts.unit IS 'Unit of value and threshold';
COMMENT ON COLUMN alerts.message IS 'One sentence for people';
COMMENT ON COLUMN alerts.started_at IS 'Event time of the first sign';
COMMENT ON COLUMN alerts.fired_at IS 'Event time at which it had lasted long enough';
COMMENT ON COLUMN alerts.acknowledged_at IS 'When somebody took it on';
COMMENT ON COLUMN alerts.acknowledged_by IS 'Who took it on';
COMMENT ON COLUMN alerts.resolved_at IS 'When it was over';
COMMENT ON COLUMN alerts.resolved_by IS 'Who closed it; NULL when it ended by itself';
COMMENT ON COLUMN alerts.created_at IS 'When the row was made';
COMMENT ON COLUMN alerts.updated_at IS 'When the row changed last';
COMMENT ON INDEX alerts_open_key IS 'One open alert per rule, subject and phase';
COMMENT ON INDEX alerts_meter_idx IS 'History of a meter';
COMMENT ON INDEX alerts_started_at_idx IS 'The latest alerts';
CREATE OR REPLACE TRIGGER alerts_touch BEFORE UPDATE ON alerts FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE OR REPLACE TRIGGER alerts_audit AFTER INSERT OR UPDATE OR DELETE ON alerts
    FOR EACH ROW EXECUTE FUNCTION audit_change('alert_id');
GRANT SELECT, UPDATE ON alerts TO segs_api;
GRANT SELECT, INSERT, UPDATE ON alerts TO segs_worker;
GRANT SELECT ON alerts TO segs_readonly;

-- domain/tables/invoices.sql
-- Bills. A draft may change; from final on nothing but its settlement does, and it outlives its user's account.

CREATE TABLE IF NOT EXISTS invoices (
    invoice_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL DEFAULT 'invoice' CHECK (kind IN ('invoice', 'credit_note')),
    invoice_number text UNIQUE CHECK (invoice_number <> ''),
    credits_invoice_id bigint REFERENCES invoices ON DELETE RESTRICT,
    meter_id integer NOT NULL REFERENCES meters ON DELETE RESTRICT,
    user_id integer NOT NULL REFERENCES users ON DELETE RESTRICT,
    period_start date NOT NULL,
    period_end date NOT NULL CHECK (period_end > period_start),
    timezone text NOT NULL CONSTRAINT invoices_timezone_is_known CHECK (is_timezone(timezone)),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    status text NOT NULL DEFAULT 'draft' CHECK (status IN ('draft', 'final', 'paid', 'overdue', 'disputed', 'cancelled')),
    net_amount numeric(16, 4) NOT NULL,
    tax_amount numeric(16, 4) NOT NULL,
    total_amount numeric(16, 4) NOT NULL GENERATED ALWAYS AS (net_amount + tax_amount) STORED,
    finalised_at timestamptz,
    due_date date CHECK (due_date >= period_end),
    paid_at timestamptz CHECK (paid_at >= finalised_at),
    cancelled_at timestamptz CHECK (cancelled_at >= finalised_at),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT invoices_number_from_final_on CHECK ((status = 'draft') = (invoice_number IS NULL)),
    CONSTRAINT invoices_final_with_time CHECK ((status = 'draft') = (finalised_at IS NULL)),
    CONSTRAINT invoices_final_with_due_date CHECK (status = 'draft' OR due_date IS NOT NULL),
    CONSTRAINT invoices_paid_with_time CHECK (status <> 'paid' OR paid_at IS NOT NULL),
    CONSTRAINT invoices_cancelled_with_time CHECK ((status = 'cancelled') = (cancelled_at IS NOT NULL)),
    CONSTRAINT invoices_credit_note_names_invoice CHECK ((kind = 'credit_note') = (credits_invoice_id IS NOT NULL)),
    CONSTRAINT invoices_one_per_meter_and_period
        EXCLUDE USING gist (meter_id WITH =, daterange(period_start, period_end) WITH &&)
        WHERE (kind = 'invoice' AND status <> 'cancelled')
);
CREATE INDEX IF NOT EXISTS invoices_user_idx ON invoices (user_id, period_start);
CREATE INDEX IF NOT EXISTS invoices_due_idx ON invoices (due_date) WHERE status = 'final';
CREATE INDEX IF NOT EXISTS invoices_credits_idx ON invoices (credits_invoice_id) WHERE credits_invoice_id IS NOT NULL;
COMMENT ON TABLE invoices IS 'Invoices and credit notes: one invoice per meter and local period unless it was cancelled';
COMMENT ON COLUMN invoices.invoice_id IS 'Row key';
COMMENT ON COLUMN invoices.kind IS 'invoice or credit_note';
COMMENT ON COLUMN invoices.invoice_number IS 'Number from the gap-free series of its kind, given when it becomes final; drafts have none';
COMMENT ON COLUMN invoices.credits_invoice_id IS 'The invoice that a credit note takes back';
COMMENT ON COLUMN invoices.meter_id IS 'The meter billed';
COMMENT ON COLUMN invoices.user_id IS 'The customer billed';
COMMENT ON COLUMN invoices.period_start IS 'First local day of the period';
COMMENT ON COLUMN invoices.period_end IS 'First local day after the period';
COMMENT ON COLUMN invoices.timezone IS 'IANA zone in which the period''s days begin';
COMMENT ON COLUMN invoices.currency IS 'ISO 4217 code of all amounts';
COMMENT ON COLUMN invoices.status IS 'draft, final, paid, overdue, disputed or cancelled (by a credit note)';
COMMENT ON COLUMN invoices.net_amount IS 'Sum of the lines without taxes, in currency';
COMMENT ON COLUMN invoices.tax_amount IS 'Sum of the tax lines, in currency';
COMMENT ON COLUMN invoices.total_amount IS 'net_amount + tax_amount, in currency';
COMMENT ON COLUMN invoices.finalised_at IS 'When it became final';
COMMENT ON COLUMN invoices.due_date IS 'Last day to pay, local to timezone';
COMMENT ON COLUMN invoices.paid_at IS 'When it was paid in full';
COMMENT ON COLUMN invoices.cancelled_at IS 'When a credit note took it back';
COMMENT ON COLUMN invoices.created_at IS 'When the row was made';
COMMENT ON COLUMN invoices.updated_at IS 'When the row changed last';
COMMENT ON INDEX invoices_one_per_meter_and_period IS 'No day of a meter is billed twice';
COMMENT ON INDEX invoices_user_idx IS 'A customer''s bills';
COMMENT ON INDEX invoices_due_idx IS 'What becomes overdue';
COMMENT ON INDEX invoices_credits_idx IS 'Credit notes of an invoice';
CREATE OR REPLACE TRIGGER invoices_guard BEFORE UPDATE OR DELETE ON invoices
    FOR EACH ROW EXECUTE FUNCTION guard_invoice();
CREATE OR REPLACE TRIGGER invoices_touch BEFORE UPDATE ON invoices
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at('total_amount');
CREATE OR REPLACE TRIGGER invoices_audit AFTER INSERT OR UPDATE OR DELETE ON invoices
    FOR EACH ROW EXECUTE FUNCTION audit_change('invoice_id');
GRANT SELECT, UPDATE (status, paid_at, cancelled_at) ON invoices TO segs_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON invoices TO segs_worker;
GRANT SELECT ON invoices TO segs_readonly;

CREATE TABLE IF NOT EXISTS invoice_line_items (
    line_item_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    invoice_id bigint NOT NULL REFERENCES invoices ON DELETE CASCADE,
    position smallint NOT NULL CHECK (position >= 1),
    component text NOT NULL CHECK (component IN ('energy', 'demand_flat', 'demand_tou', 'fixed', 'minimum', 'baseline', 'export',
                                                 'power_factor', 'adjustment', 'tax')),
    description text NOT NULL CHECK (description <> ''),
    tariff_id integer REFERENCES tariffs ON DELETE RESTRICT,
    period smallint CHECK (period >= 0),
    tier smallint CHECK (tier >= 0),
    span tstzrange,
    quantity numeric(18, 6) NOT NULL,
    unit text NOT NULL CHECK (unit <> ''),
    unit_price numeric(18, 8) NOT NULL,
    amount numeric(16, 4) NOT NULL,
    quality smallint CHECK (quality IN (0, 7, 8, 9, 10, 14, 17, 18, 19)),
    intervals_version bigint CHECK (intervals_version >= 1),
    estimated boolean NOT NULL DEFAULT false,
    CONSTRAINT invoice_line_items_position_key UNIQUE (invoice_id, position),
    CONSTRAINT invoice_line_items_priced_by_tariff
        CHECK (component IN ('adjustment', 'tax') OR tariff_id IS NOT NULL),
    CONSTRAINT invoice_line_items_energy_is_traced
        CHECK (component <> 'energy' OR (span IS NOT NULL AND quality IS NOT NULL AND intervals_version IS NOT NULL))
);
CREATE INDEX IF NOT EXISTS invoice_line_items_tariff_idx ON invoice_line_items (tariff_id) WHERE tariff_id IS NOT NULL;
COMMENT ON TABLE invoice_line_items IS 'Lines of an invoice, each with what it was computed from';
COMMENT ON COLUMN invoice_line_items.line_item_id IS 'Row key';
COMMENT ON COLUMN invoice_line_items.invoice_id IS 'The invoice; its lines go with a deleted draft';
COMMENT ON COLUMN invoice_line_items.position IS 'Place on the bill, from 1';
COMMENT ON COLUMN invoice_line_items.component IS 'What is charged or credited';
COMMENT ON COLUMN invoice_line_items.description IS 'Text on the bill';
COMMENT ON COLUMN invoice_line_items.tariff_id IS 'Tariff row that priced it';
COMMENT ON COLUMN invoice_line_items.period IS 'Period of the tariff, from 0';
COMMENT ON COLUMN invoice_line_items.tier IS 'Tier of the period, from 0';
COMMENT ON COLUMN invoice_line_items.span IS 'Span of the intervals priced, half-open';
COMMENT ON COLUMN invoice_line_items.quantity IS 'How much, in unit';
COMMENT ON COLUMN invoice_line_items.unit IS 'Unit of quantity: kWh, kW, day, month, percent';
COMMENT ON COLUMN invoice_line_items.unit_price IS 'Price of one unit, in the invoice''s currency';
COMMENT ON COLUMN invoice_line_items.amount IS 'What the line adds to the bill, in the invoice''s currency; credits are negative';
COMMENT ON COLUMN invoice_line_items.quality IS 'Worst ESPI QualityOfReading of the intervals behind it';
COMMENT ON COLUMN invoice_line_items.intervals_version IS 'Version of the intervals it was priced from';
COMMENT ON COLUMN invoice_line_items.estimated IS 'Whether part of the quantity is estimated';
COMMENT ON INDEX invoice_line_items_position_key IS 'One line per place';
COMMENT ON INDEX invoice_line_items_tariff_idx IS 'Whether a tariff was billed by';
CREATE OR REPLACE TRIGGER invoice_line_items_guard BEFORE INSERT OR UPDATE OR DELETE ON invoice_line_items
    FOR EACH ROW EXECUTE FUNCTION guard_invoice_line();
CREATE OR REPLACE TRIGGER invoice_line_items_audit AFTER INSERT OR UPDATE OR DELETE ON invoice_line_items
    FOR EACH ROW EXECUTE FUNCTION audit_change('line_item_id');
GRANT SELECT, INSERT, UPDATE, DELETE ON invoice_line_items TO segs_worker;
GRANT SELECT ON invoice_line_items TO segs_api, segs_readonly;

-- domain/tables/payment_transactions.sql
CREATE TABLE IF NOT EXISTS payment_transactions (
    payment_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    invoice_id bigint NOT NULL REFERENCES invoices ON DELETE RESTRICT,
    kind text NOT NULL CHECK (kind IN ('payment', 'refund')),
    provider text NOT NULL CHECK (provider ~ '^[a-z][a-z0-9_]{0,62}$'),
    provider_reference text NOT NULL CHECK (provider_reference <> ''),
    amount numeric(16, 4) NOT NULL CHECK (amount > 0),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    status text NOT NULL CHECK (status IN ('pending', 'succeeded', 'failed')),
    recorded_by integer REFERENCES users ON DELETE RESTRICT,
    occurred_at timestamptz NOT NULL,
    settled_at timestamptz CHECK (settled_at >= occurred_at),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT payment_transactions_provider_key UNIQUE (provider, provider_reference),
    CONSTRAINT payment_transactions_settled_with_time CHECK ((status = 'pending') = (settled_at IS NULL)),
    CONSTRAINT payment_transactions_manual_is_recorded_by_somebody CHECK (provider <> 'manual' OR recorded_by IS NOT NULL)
);
CREATE INDEX IF NOT EXISTS payment_transactions_invoice_idx ON payment_transactions (invoice_id);
COMMENT ON TABLE payment_transactions IS 'Money that came or went back, as a provider or an operator reported it';
COMMENT ON COLUMN payment_transactions.payment_id IS 'Row key';
COMMENT ON COLUMN payment_transactions.invoice_id IS 'What it pays';
COMMENT ON COLUMN payment_transactions.kind IS 'payment from the customer or refund to the customer';
COMMENT ON COLUMN payment_transactions.provider IS 'Who reported it; manual for an operator';
COMMENT ON COLUMN payment_transactions.provider_reference IS 'The provider''s own number of it';
COMMENT ON COLUMN payment_transactions.amount IS 'Amount, positive for both kinds, in currency';
COMMENT ON COLUMN payment_transactions.currency IS 'ISO 4217 code';
COMMENT ON COLUMN payment_transactions.status IS 'pending, succeeded or failed';
COMMENT ON COLUMN payment_transactions.recorded_by IS 'Operator who recorded it; NULL for a provider''s report';
COMMENT ON COLUMN payment_transactions.occurred_at IS 'When the provider says it happened';
COMMENT ON COLUMN payment_transactions.settled_at IS 'When it succeeded or failed';
COMMENT ON COLUMN payment_transactions.created_at IS 'When the row was made';
COMMENT ON COLUMN payment_transactions.updated_at IS 'When the row changed last';
COMMENT ON INDEX payment_transactions_provider_key IS 'A provider''s report counts once, however often it comes';
COMMENT ON INDEX payment_transactions_invoice_idx IS 'Payments of an invoice';
CREATE OR REPLACE TRIGGER payment_transactions_touch BEFORE UPDATE ON payment_transactions
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE OR REPLACE TRIGGER payment_transactions_audit AFTER INSERT OR UPDATE OR DELETE ON payment_transactions
    FOR EACH ROW EXECUTE FUNCTION audit_change('payment_id');
GRANT SELECT, INSERT, UPDATE (status, settled_at) ON payment_transactions TO segs_api, segs_worker;
GRANT SELECT ON payment_transactions TO segs_readonly;

-- domain/functions/gateway.sql
-- Gateways and their keys. The caller makes the key, shows it once and hands over its hash alone.

CREATE OR REPLACE FUNCTION gateway_id_of(p_name text) RETURNS integer
LANGUAGE plpgsql STABLE SET search_path = public, pg_temp AS $$
DECLARE
    v_gateway_id integer;
BEGIN
    SELECT gateway_id INTO v_gateway_id FROM gateways WHERE name = p_name;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no gateway %', p_name USING ERRCODE = 'SG010', HINT = 'segs-cloud gateway add makes one.';
    END IF;
    RETURN v_gateway_id;
END
$$;
COMMENT ON FUNCTION gateway_id_of(text) IS 'Key of the gateway of that name; raises SG010 when there is none';
GRANT EXECUTE ON FUNCTION gateway_id_of(text) TO segs_api;

CREATE OR REPLACE FUNCTION gateway_key_add(p_name text, p_key_hash bytea, p_now timestamptz) RETURNS integer
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    v_gateway_key_id integer;
BEGIN
    INSERT INTO gateway_keys (gateway_id, key_hash, created_at)
    VALUES (gateway_id_of(p_name), p_key_hash, p_now)
    RETURNING gateway_key_id INTO v_gateway_key_id;
    RETURN v_gateway_key_id;
EXCEPTION WHEN unique_violation THEN
    RAISE EXCEPTION 'the key for gateway % was given before', p_name USING ERRCODE = 'SG012', HINT = 'Make another key.';
END
$$;
COMMENT ON FUNCTION gateway_key_add(text, bytea, timestamptz) IS 'Adds a key, by its SHA-256, beside those the gateway has; raises SG010 unknown gateway, SG012 key known already';
GRANT EXECUTE ON FUNCTION gateway_key_add(text, bytea, timestamptz) TO segs_api;

CREATE OR REPLACE FUNCTION gateway_add(p_name text, p_key_hash bytea, p_now timestamptz) RETURNS integer
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    v_gateway_id integer;
BEGIN
    INSERT INTO gateways (name, created_at, updated_at) VALUES (p_name, p_now, p_now)
    ON CONFLICT (name) DO NOTHING
    RETURNING gateway_id INTO v_gateway_id;
    IF v_gateway_id IS NULL THEN
        RAISE EXCEPTION 'there is a gateway % already', p_name
            USING ERRCODE = 'SG011', HINT = 'segs-cloud gateway key-add gives it another key.';
    END IF;
    PERFORM gateway_key_add(p_name, p_key_hash, p_now);
    RETURN v_gateway_id;
END
$$;
COMMENT ON FUNCTION gateway_add(text, bytea, timestamptz) IS 'Makes a gateway with its first key, by its SHA-256; returns its key; raises SG011 name taken, SG012 key known already';
GRANT EXECUTE ON FUNCTION gateway_add(text, bytea, timestamptz) TO segs_api;

CREATE OR REPLACE FUNCTION gateway_key_revoke(p_name text, p_key_hash bytea, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE gateway_keys
       SET revoked_at = greatest(p_now, created_at)
     WHERE gateway_id = gateway_id_of(p_name) AND key_hash = p_key_hash AND revoked_at IS NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'gateway % has no such valid key', p_name
            USING ERRCODE = 'SG013', HINT = 'It was revoked before, or is another gateway''s.';
    END IF;
END
$$;
COMMENT ON FUNCTION gateway_key_revoke(text, bytea, timestamptz) IS 'Revokes one key at once; raises SG010 unknown gateway, SG013 no such valid key';
GRANT EXECUTE ON FUNCTION gateway_key_revoke(text, bytea, timestamptz) TO segs_api;

-- domain/functions/region.sql
CREATE OR REPLACE FUNCTION region_set(p_region text, p_name text, p_timezone text, p_capacity_w double precision, p_now timestamptz)
RETURNS void
LANGUAGE sql SET search_path = public, pg_temp AS $$
    INSERT INTO regions AS r (region, name, timezone, capacity_w, created_at, updated_at)
    VALUES (p_region, p_name, p_timezone, p_capacity_w, p_now, p_now)
    ON CONFLICT (region) DO UPDATE
       SET name = excluded.name, timezone = excluded.timezone, capacity_w = excluded.capacity_w
     WHERE (r.name, r.timezone, r.capacity_w) IS DISTINCT FROM (excluded.name, excluded.timezone, excluded.capacity_w);
$$;
COMMENT ON FUNCTION region_set(text, text, text, double precision, timestamptz) IS 'Makes a region or changes its name, zone and capacity (W, NULL for unknown); its meters keep their zone';
GRANT EXECUTE ON FUNCTION region_set(text, text, text, double precision, timestamptz) TO segs_api;

-- domain/functions/device.sql
-- The first registration of a device holds from the beginning of time, so that what waits in the quarantine is stored;
-- a device that was another meter before, or a meter that had another device, goes on where that ended.
CREATE OR REPLACE FUNCTION device_register(
    p_gateway text, p_device text, p_region text, p_timezone text, p_model text, p_serial text, p_interval_ms integer,
    p_max_power_w double precision, p_now timestamptz, p_meter_code text DEFAULT NULL,
    OUT meter_id integer, OUT meter_code text)
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_gateway_id CONSTANT integer := gateway_id_of(p_gateway);
    v_timezone text;
    v_current record;
    v_from timestamptz;
BEGIN
    SELECT m.meter_code, d.valid INTO v_current
      FROM devices d JOIN meters m USING (meter_id)
     WHERE d.gateway_id = v_gateway_id AND d.device = p_device
     ORDER BY upper(d.valid) DESC LIMIT 1;
    IF FOUND AND upper(v_current.valid) > p_now THEN
        RAISE EXCEPTION 'device % of gateway % is % already', p_device, p_gateway, v_current.meter_code
            USING ERRCODE = 'SG020', HINT = 'device_unregister() ends that first.';
    END IF;
    v_from := coalesce(upper(v_current.valid), '-infinity');

    SELECT coalesce(p_timezone, r.timezone) INTO v_timezone FROM regions r WHERE r.region = p_region;
    IF NOT FOUND AND p_meter_code IS NULL THEN
        RAISE EXCEPTION 'there is no region %', p_region USING ERRCODE = 'SG024', HINT = 'region_set() makes one.';
    END IF;

    IF p_meter_code IS NULL THEN
        INSERT INTO meters AS m (model, serial, region, timezone, max_power_w, created_at, updated_at)
        VALUES (p_model, p_serial, p_region, v_timezone, coalesce(p_max_power_w, 1e6), p_now, p_now)
        ON CONFLICT (model, serial) WHERE serial IS NOT NULL DO NOTHING
        RETURNING m.meter_id, m.meter_code INTO meter_id, meter_code;
        IF meter_id IS NULL THEN
            RAISE EXCEPTION 'meter % serial % is registered as %', p_model, p_serial,
                (SELECT m.meter_code FROM meters m WHERE m.model = p_model AND m.serial = p_serial)
                USING ERRCODE = 'SG025', HINT = 'Give its meter code.';
        END IF;
    ELSE
        SELECT m.meter_id, m.meter_code INTO meter_id, meter_code FROM meters m WHERE m.meter_code = p_meter_code;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'there is no meter %', p_meter_code USING ERRCODE = 'SG022';
        END IF;
        SELECT g.name, d.device, d.valid INTO v_current
          FROM devices d JOIN gateways g USING (gateway_id)
         WHERE d.meter_id = device_register.meter_id
         ORDER BY upper(d.valid) DESC LIMIT 1;
        IF FOUND AND upper(v_current.valid) > p_now THEN
            RAISE EXCEPTION 'meter % is read as device % of gateway %', p_meter_code, v_current.device, v_current.name
                USING ERRCODE = 'SG023', HINT = 'device_unregister() ends that first.';
        END IF;
        v_from := greatest(v_from, upper(v_current.valid));
    END IF;

    INSERT INTO devices (gateway_id, device, meter_id, interval_ms, valid, created_at, updated_at)
    VALUES (v_gateway_id, p_device, meter_id, p_interval_ms, tstzrange(v_from, 'infinity'), p_now, p_now);
EXCEPTION WHEN exclusion_violation THEN
    RAISE EXCEPTION 'device % of gateway % was registered at the same instant', p_device, p_gateway USING ERRCODE = 'SG020';
END
$$;
COMMENT ON FUNCTION device_register(text, text, text, text, text, text, integer, double precision, timestamptz, text) IS 'Says which meter a gateway''s device is: a new one, or that of p_meter_code; zone NULL is the region''s, interval in ms, power in W; raises SG010, SG020 device taken, SG022 no such meter, SG023 meter read elsewhere, SG024 no such region, SG025 serial known';
GRANT EXECUTE ON FUNCTION device_register(text, text, text, text, text, text, integer, double precision, timestamptz, text) TO segs_api;

CREATE OR REPLACE FUNCTION device_unregister(p_gateway text, p_device text, p_now timestamptz) RETURNS text
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    v_meter_code text;
BEGIN
    UPDATE devices d
       SET valid = tstzrange(lower(d.valid), p_now)
      FROM meters m
     WHERE m.meter_id = d.meter_id AND d.gateway_id = gateway_id_of(p_gateway) AND d.device = p_device
       AND upper(d.valid) = 'infinity' AND lower(d.valid) < p_now
    RETURNING m.meter_code INTO v_meter_code;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'device % of gateway % is no meter now', p_device, p_gateway USING ERRCODE = 'SG021';
    END IF;
    RETURN v_meter_code;
END
$$;
COMMENT ON FUNCTION device_unregister(text, text, timestamptz) IS 'Ends the registration of a device; readings before p_now stay the meter''s; returns its code; raises SG010, SG021 not registered';
GRANT EXECUTE ON FUNCTION device_unregister(text, text, timestamptz) TO segs_api;

-- domain/views/registry.sql
-- What the telemetry database needs to know, in exactly the columns of its registry tables: the cloud copies it over.

CREATE OR REPLACE VIEW registry_gateways AS
SELECT g.gateway_id, g.name,
       coalesce((SELECT array_agg(k.key_hash ORDER BY k.gateway_key_id)
                   FROM gateway_keys k
                  WHERE k.gateway_id = g.gateway_id AND k.revoked_at IS NULL AND g.disabled_at IS NULL),
                '{}') AS key_hashes
  FROM gateways g;
COMMENT ON VIEW registry_gateways IS 'Rows of the telemetry table gateway_registry';
COMMENT ON COLUMN registry_gateways.gateway_id IS 'gateways.gateway_id';
COMMENT ON COLUMN registry_gateways.name IS 'The gateway''s name';
COMMENT ON COLUMN registry_gateways.key_hashes IS 'SHA-256 of each valid key; none for a disabled gateway';
GRANT SELECT ON registry_gateways TO segs_api, segs_worker;

CREATE OR REPLACE VIEW registry_regions AS
SELECT region, capacity_w FROM regions;
COMMENT ON VIEW registry_regions IS 'Rows of the telemetry table region_registry';
COMMENT ON COLUMN registry_regions.region IS 'regions.region';
COMMENT ON COLUMN registry_regions.capacity_w IS 'Capacity of the region''s supply, W';
GRANT SELECT ON registry_regions TO segs_api, segs_worker;

CREATE OR REPLACE VIEW registry_devices AS
SELECT d.gateway_id, d.device, d.meter_id, m.meter_code, m.region, m.timezone, m.max_power_w, d.interval_ms, d.valid
  FROM devices d JOIN meters m USING (meter_id);
COMMENT ON VIEW registry_devices IS 'Rows of the telemetry table device_registry, without its own key';
COMMENT ON COLUMN registry_devices.gateway_id IS 'devices.gateway_id';
COMMENT ON COLUMN registry_devices.device IS 'devices.device';
COMMENT ON COLUMN registry_devices.meter_id IS 'devices.meter_id';
COMMENT ON COLUMN registry_devices.meter_code IS 'meters.meter_code';
COMMENT ON COLUMN registry_devices.region IS 'meters.region';
COMMENT ON COLUMN registry_devices.timezone IS 'meters.timezone, IANA';
COMMENT ON COLUMN registry_devices.max_power_w IS 'meters.max_power_w, W';
COMMENT ON COLUMN registry_devices.interval_ms IS 'devices.interval_ms, milliseconds';
COMMENT ON COLUMN registry_devices.valid IS 'devices.valid';
GRANT SELECT ON registry_devices TO segs_api, segs_worker;

-- lockdown.sql
-- Last part of both masters. PostgreSQL lets PUBLIC execute every new function; ours are for the roles they are granted
-- to, each grant standing under its function. (ALTER DEFAULT PRIVILEGES would also hit functions that an upgrade of an
-- extension adds.)
DO $$
DECLARE
    v_function regprocedure;
BEGIN
    FOR v_function IN
        SELECT p.oid::regprocedure
          FROM pg_proc p
         WHERE p.pronamespace = 'public'::regnamespace
           AND has_function_privilege('public', p.oid, 'EXECUTE')
           AND NOT EXISTS (SELECT FROM pg_depend d
                            WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
    LOOP
        EXECUTE format('REVOKE ALL ON ROUTINE %s FROM PUBLIC', v_function);
    END LOOP;
END
$$;
