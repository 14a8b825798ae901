-- Statements about users: the caller's own, and those of `segs-cloud user`. Domain database.

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

-- name: role
-- They log in anew.
SELECT user_role_set(user_of(%(email)s), %(role)s, %(now)s);

-- name: give_meter
-- From then on the meter is theirs.
SELECT meter_give(%(code)s, CASE WHEN %(email)s::text IS NOT NULL THEN user_of(%(email)s) END, %(from)s, %(now)s);
