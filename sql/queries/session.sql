-- Statements of the API about who somebody is. Domain database.

-- name: enter
-- The transaction is the user's, if their session stands; else role is NULL.
SELECT role, regions FROM session_enter(%(user_id)s, %(family_id)s, %(jti)s, %(request_id)s, %(now)s);

-- name: outside
-- A transaction of nobody, for what is asked before one is logged in.
SELECT set_config('segs.user_id', '', true), set_config('segs.actor', 'nobody', true),
    set_config('segs.request_id', %(request_id)s, true);

-- name: grants
-- Telemetry database: what this transaction's caller may read.
SELECT set_config('segs.grants', %(grants)s, true);

-- name: secured
-- Whether row-level security holds for this login: not for an owner, nor for a superuser.
SELECT current_user, row_security_active('users'::regclass);

-- name: narrow
-- Telemetry database: whether this login has no right to what is read by functions alone.
SELECT current_user, NOT has_table_privilege('raw_readings', 'SELECT');

-- name: register
-- A new user, and the number to answer with.
SELECT user_id, shown_id FROM user_register(%(email)s, %(name)s, %(phone)s, %(region)s, %(now)s);

-- name: otp_subject
-- Whose code it is.
SELECT otp_subject(%(email)s);

-- name: otp_issue
-- One more code, which supersedes the one before.
SELECT otp_issue(%(user_id)s, %(purpose)s, %(code_hash)s, %(sealed_secret)s, make_interval(secs => %(lifetime_s)s), %(now)s);

-- name: verify_email
-- right, wrong or locked.
SELECT email_verified(%(user_id)s, %(code_hash)s, %(token_hash)s, make_interval(secs => %(lifetime_s)s), %(now)s);

-- name: proof
-- Whose proof it is.
SELECT email, name FROM password_proof_email(%(token_hash)s, %(now)s);

-- name: password_set
-- The proof is used up.
SELECT password_set(%(token_hash)s, %(password_hash)s, %(now)s);

-- name: login_begin
-- Counts an attempt; what the password is compared with.
SELECT retry_after_s, user_id, password_hash FROM login_begin(%(email)s, %(address)s, %(now)s);

-- name: login_succeed
-- Opens a session.
SELECT family_id, role, email, name, region
FROM login_succeed(%(user_id)s, %(password_hash)s, %(token_hash)s, %(user_agent)s, %(address)s,
                   make_interval(secs => %(lifetime_s)s), %(now)s);

-- name: rotate
-- Exchanges a refresh token.
SELECT outcome, user_id, family_id, role
FROM session_rotate(%(token_hash)s, %(next_hash)s, %(user_agent)s, %(address)s, make_interval(secs => %(lifetime_s)s),
                    make_interval(secs => %(retry_s)s), %(now)s);

-- name: logout
-- The caller leaves this session.
SELECT session_end(%(family_id)s, %(jti)s, %(token_expires_at)s, %(now)s);

-- name: logout_all
-- The caller leaves all sessions.
SELECT sessions_end(%(now)s);

-- name: take
-- One token of a bucket.
SELECT allowed, remaining, retry_after_s FROM take_token(%(bucket)s, %(capacity)s, %(per_s)s, %(now)s);
