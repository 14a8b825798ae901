-- Statements of the API about who somebody is. Domain database.

-- name: enter
-- The transaction is the user's, if their session stands; else role is NULL.
SELECT role, regions, second_factor_missing
FROM session_enter(%(user_id)s, %(family_id)s, %(jti)s, %(request_id)s, %(now)s, %(limited)s);

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
SELECT otp_subject(%(email)s, %(purpose)s);

-- name: otp_issue
-- One more code, which supersedes the one before.
SELECT otp_issue(%(user_id)s, %(purpose)s, %(code_hash)s, %(sealed_secret)s, make_interval(secs => %(lifetime_s)s), %(now)s,
                 %(address)s, %(details)s::jsonb);

-- name: verify_email
-- right, wrong or locked.
SELECT email_verified(%(user_id)s, %(code_hash)s, %(token_hash)s, make_interval(secs => %(lifetime_s)s), %(now)s,
                      %(address)s);

-- name: proof
-- Whose proof it is.
SELECT email, name FROM password_proof_email(%(token_hash)s, %(now)s);

-- name: password_set
-- The proof is used up.
SELECT password_set(%(token_hash)s, %(password_hash)s, %(now)s, %(address)s);

-- name: password_reset
-- right, wrong or locked; and whose it is.
SELECT outcome, email, name FROM password_reset(%(user_id)s, %(code_hash)s, %(password_hash)s, %(address)s, %(now)s);

-- name: password_change
-- The caller's other sessions end.
SELECT password_change(%(old_hash)s, %(new_hash)s, %(family_id)s, %(now)s);

-- name: caller_secrets
-- What the caller's password and codes are held against.
SELECT email, name, password_hash, sealed_secret, confirmed FROM caller_secrets();

-- name: password_proven
-- The count of attempts at the caller's password begins anew.
SELECT password_proven();

-- name: sessions
-- Where the caller is logged in, the latest first.
SELECT s.family_id AS session_id, b.began AS created_at, s.created_at AS used_at, s.expires_at, s.user_agent, host(s.address) AS address
FROM sessions AS s
CROSS JOIN LATERAL (SELECT min(f.created_at) AS began FROM sessions AS f WHERE f.family_id = s.family_id) AS b
WHERE s.user_id = caller_id() AND s.rotated_at IS NULL AND s.revoked_at IS NULL AND s.expires_at > %(now)s
    AND b.began >= (SELECT u.tokens_valid_from FROM users AS u WHERE u.user_id = caller_id())
ORDER BY s.created_at DESC, s.session_id DESC LIMIT 100;

-- name: session_revoke
-- One of the caller's sessions ends.
SELECT session_revoke(%(family_id)s, %(now)s);

-- name: factor_use
-- A code of the caller's is used up.
SELECT outcome, retry_after_s FROM caller_factor_use(%(step)s, %(recovery_hash)s, %(address)s, %(now)s);

-- name: factor_state
-- Whether the caller has a second factor.
SELECT confirmed_at, recovery_codes_left, required FROM second_factor_state();

-- name: factor_enrol
-- A secret that waits for a code.
SELECT second_factor_enrol(%(sealed_secret)s, %(now)s);

-- name: factor_confirm
-- Logins ask for a code from now on.
SELECT second_factor_confirm(%(sealed_secret)s, %(step)s, %(code_hashes)s, %(family_id)s, %(now)s);

-- name: recovery_renew
-- Other recovery codes.
SELECT recovery_codes_renew(%(code_hashes)s);

-- name: factor_disable
-- The password alone is enough.
SELECT second_factor_disable(%(now)s);

-- name: once_begin
-- Whether a request that may come again has been answered.
SELECT outcome, sealed_secret FROM idempotency_begin(%(key_hash)s, %(request_hash)s, %(now)s);

-- name: once_keep
-- Its answer.
SELECT idempotency_keep(%(key_hash)s, %(request_hash)s, %(sealed_secret)s, make_interval(secs => %(lifetime_s)s), %(now)s);

-- name: login_begin
-- Counts an attempt; what the password is compared with.
SELECT retry_after_s, remaining, user_id, password_hash, sealed_secret
FROM login_begin(%(email)s, %(address)s, %(now)s);

-- name: login_succeed
-- Opens a session.
SELECT outcome, retry_after_s, family_id, role, email, name, region, second_factor
FROM login_succeed(%(user_id)s, %(password_hash)s, %(token_hash)s, %(user_agent)s, %(address)s,
                   make_interval(secs => %(lifetime_s)s), %(now)s, %(step)s, %(recovery_hash)s, %(new_hash)s);

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
-- One token of a bucket of an address, or of the network that it is one of.
SELECT allowed, remaining, retry_after_s
FROM take_token(%(bucket)s || network_of(%(address)s), %(capacity)s, %(per_s)s, %(now)s);
