-- Statements about users: the caller's own, and those of `segs-cloud user`. Domain database.

-- name: unknown_rules
-- Those by which no alert is ever raised.
SELECT DISTINCT u AS rule FROM unnest(%(rules)s::text[]) AS u
WHERE NOT EXISTS (SELECT FROM alert_rules AS r WHERE r.rule = u) AND NOT EXISTS (SELECT FROM alert_groups AS g WHERE g.group_rule = u) ORDER BY 1;

-- name: me
-- The caller.
SELECT user_id, email, name, phone, region, role, email_verified_at IS NOT NULL AS email_verified, created_at, updated_at
FROM users WHERE user_id = caller_id();

-- name: change_me
-- What is NULL stays, but for the phone number, which may go.
UPDATE users
SET name = coalesce(%(name)s, name), phone = CASE WHEN %(has_phone)s THEN %(phone)s ELSE phone END
WHERE user_id = caller_id()
RETURNING user_id, email, name, phone, region, role, email_verified_at IS NOT NULL AS email_verified, created_at, updated_at;

-- name: accounts
-- One page of those whom the caller may see; one more than is shown says whether there is another.
SELECT u.user_id, u.email, u.name, u.phone, u.region, u.role, u.email_verified_at IS NOT NULL AS email_verified, u.suspended_at,
    ARRAY(SELECT o.region FROM operator_regions AS o WHERE o.user_id = u.user_id ORDER BY 1) AS regions, u.created_at, u.updated_at
FROM users AS u
WHERE u.user_id > %(after)s AND u.deleted_at IS NULL
    AND (%(role)s::text IS NULL OR u.role = %(role)s)
    AND (%(region)s::text IS NULL OR u.region = %(region)s)
    AND (%(suspended)s::boolean IS NULL OR (u.suspended_at IS NOT NULL) = %(suspended)s)
    AND (%(search)s::text IS NULL OR position(lower(%(search)s) IN u.email) > 0 OR position(lower(%(search)s) IN lower(u.name)) > 0)
ORDER BY u.user_id LIMIT %(limit)s + 1;

-- name: account
-- One of them.
SELECT u.user_id, u.email, u.name, u.phone, u.region, u.role, u.email_verified_at IS NOT NULL AS email_verified, u.suspended_at,
    ARRAY(SELECT o.region FROM operator_regions AS o WHERE o.user_id = u.user_id ORDER BY 1) AS regions, u.created_at, u.updated_at
FROM users AS u WHERE u.user_id = %(user_id)s AND u.deleted_at IS NULL;

-- name: look_accounts
-- Writes down whom an operator or admin looks at.
SELECT audit_access('users', NULL, %(users)s::integer[], %(details)s::jsonb);

-- name: account_role
-- Another role.
SELECT account_role(%(user_id)s, %(role)s, %(now)s);

-- name: account_regions
-- Regions of an operator.
SELECT account_regions(%(user_id)s, %(regions)s, %(now)s);

-- name: account_suspend
-- Suspended, or no longer.
SELECT account_suspend(%(user_id)s, %(suspended)s, %(now)s);

-- name: account_delete
-- Somebody leaves.
SELECT account_delete(%(user_id)s, %(now)s);

-- name: preferences
-- The caller's.
SELECT language, timezone, theme, chart_resolution, notify_email, notify_sms, notify_push, notify_web, notify_webhook, alert_severity_min,
    alert_rules_off, consumption_threshold_wh, power_threshold_w, to_char(quiet_from, 'HH24:MI') AS quiet_from,
    to_char(quiet_until, 'HH24:MI') AS quiet_until, updated_at
FROM user_preferences WHERE user_id = caller_id();

-- name: change_preferences
-- What is left out stays.
UPDATE user_preferences AS p
SET (language, timezone, theme, chart_resolution, notify_email, notify_sms, notify_push, notify_web, notify_webhook, alert_severity_min,
     alert_rules_off, consumption_threshold_wh, power_threshold_w, quiet_from, quiet_until)
    = (SELECT c.language, c.timezone, c.theme, c.chart_resolution, c.notify_email, c.notify_sms, c.notify_push, c.notify_web, c.notify_webhook,
           c.alert_severity_min, c.alert_rules_off, c.consumption_threshold_wh, c.power_threshold_w, c.quiet_from, c.quiet_until
       FROM jsonb_populate_record(p, %(changes)s::jsonb) AS c)
WHERE p.user_id = caller_id()
RETURNING language, timezone, theme, chart_resolution, notify_email, notify_sms, notify_push, notify_web, notify_webhook, alert_severity_min,
    alert_rules_off, consumption_threshold_wh, power_threshold_w, to_char(quiet_from, 'HH24:MI') AS quiet_from,
    to_char(quiet_until, 'HH24:MI') AS quiet_until, updated_at;

-- name: create
-- A user whose address the operator vouches for.
SELECT user_create(%(email)s, %(name)s, %(phone)s, %(region)s, %(role)s, %(password_hash)s, %(regions)s, %(now)s);

-- name: list
-- Everybody who has not left.
SELECT u.user_id, u.email, u.name, u.role, u.region,
    ARRAY(SELECT o.region FROM operator_regions AS o WHERE o.user_id = u.user_id ORDER BY 1) AS regions, u.suspended_at
FROM users AS u WHERE u.deleted_at IS NULL ORDER BY u.user_id;

-- name: suspend
-- Ends all sessions.
SELECT user_suspend(user_of(%(email)s), %(now)s);

-- name: resume
-- They may log in again.
UPDATE users SET suspended_at = NULL WHERE user_id = user_of(%(email)s);

-- name: require_second_factor
-- Whether users of a role may do anything without one.
SELECT second_factor_require(%(role)s, %(required)s, %(now)s);

-- name: forget_second_factor
-- For whoever lost app and codes.
SELECT second_factor_forget(user_of(%(email)s), %(now)s);

-- name: role
-- They log in anew.
SELECT user_role_set(user_of(%(email)s), %(role)s, %(now)s);

-- name: give_meter
-- From then on the meter is theirs.
SELECT meter_give(%(code)s, CASE WHEN %(email)s::text IS NOT NULL THEN user_of(%(email)s) END, %(from)s, %(now)s);
