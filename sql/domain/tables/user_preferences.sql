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
    alert_rules_off text[] NOT NULL DEFAULT '{}'
        CONSTRAINT user_preferences_alert_rules_off_check
        CHECK (cardinality(alert_rules_off) <= 50 AND array_position(alert_rules_off, NULL) IS NULL
               AND array_to_string(alert_rules_off, ',') ~ '^([a-z][a-z0-9_]{0,62}(,[a-z][a-z0-9_]{0,62})*)?$'),
    consumption_threshold_wh bigint CHECK (consumption_threshold_wh > 0),
    power_threshold_w double precision CHECK (power_threshold_w > 0 AND power_threshold_w < 'infinity'),
    quiet_from time,
    quiet_until time,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    notify_webhook boolean NOT NULL DEFAULT false,
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
COMMENT ON COLUMN user_preferences.notify_webhook IS 'Whether alerts go to the webhook of the installation too, at once and each alone; of operators and admins';
COMMENT ON COLUMN user_preferences.alert_severity_min IS 'Lowest severity the user is told of';
COMMENT ON COLUMN user_preferences.alert_rules_off IS 'Rules of alerts that the user does not want to hear of, whatever their severity';
COMMENT ON COLUMN user_preferences.power_threshold_w IS 'Power of a meter above which the user wants an alert, W; NULL for none';
COMMENT ON COLUMN user_preferences.consumption_threshold_wh IS 'Energy of a local day above which the user wants an alert, Wh; NULL for none';
COMMENT ON COLUMN user_preferences.quiet_from IS 'Start of the hours without messages, local to timezone';
COMMENT ON COLUMN user_preferences.quiet_until IS 'End of the hours without messages; before quiet_from it is the next morning';
COMMENT ON COLUMN user_preferences.created_at IS 'When the row was made';
COMMENT ON COLUMN user_preferences.updated_at IS 'When the row changed last';
CREATE OR REPLACE TRIGGER user_preferences_touch BEFORE UPDATE ON user_preferences
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE OR REPLACE TRIGGER user_preferences_audit AFTER INSERT OR UPDATE OR DELETE ON user_preferences
    FOR EACH ROW EXECUTE FUNCTION audit_change('user_id');
GRANT SELECT, UPDATE ON user_preferences TO segs_api;
GRANT SELECT ON user_preferences TO segs_worker, segs_readonly;
