-- Statements of who delivers messages, and of `segs-cloud notify`. Domain database.

-- name: claim
-- The next message of a channel. A worker whose clock is ahead would send too early: the server's own has to agree.
SELECT * FROM outbox_claim(%(channel)s, %(codes)s, %(lease)s, %(per_hour)s, least(%(now)s, clock_timestamp()));

-- name: end
-- What became of it.
SELECT outbox_end(%(outbox_id)s, %(members)s, %(leased_until)s, %(outcome)s, %(reply)s, %(due_at)s, %(now)s);

-- name: expire
-- Some of what is of no use any more.
SELECT outbox_expire(%(limit)s, least(%(now)s, clock_timestamp()));

-- name: waiting
-- How many messages wait by channel, and since when the oldest could have gone.
SELECT channel, count(*), min(coalesce(due_at, created_at)) FROM outbox
WHERE delivered_at IS NULL AND closed_at IS NULL GROUP BY channel;

-- name: list
-- Messages that are dead, or wait; the latest first.
SELECT o.outbox_id, o.user_id, o.channel, o.template, o.created_at, o.attempts,
    CASE WHEN o.delivered_at IS NOT NULL THEN 'delivered' ELSE coalesce(o.closed_as, 'waiting') END AS state,
    coalesce(o.delivered_at, o.closed_at) AS ended_at, o.due_at, o.expires_at, o.last_error
FROM outbox AS o
WHERE %(state)s IN ('all', CASE WHEN o.delivered_at IS NOT NULL THEN 'delivered' ELSE coalesce(o.closed_as, 'waiting') END)
ORDER BY o.outbox_id DESC LIMIT %(limit)s;

-- name: retry
-- One more time.
SELECT outbox_retry(%(outbox_id)s, %(now)s) AS again;

-- name: test
-- A message that says that messages arrive.
INSERT INTO outbox (user_id, channel, template, payload, created_at, expires_at)
SELECT u.user_id, %(channel)s, 'test', jsonb_build_object('name', u.name), %(now)s, %(now)s + INTERVAL '1 hour'
FROM users AS u WHERE u.email = lower(%(email)s) RETURNING outbox_id;
