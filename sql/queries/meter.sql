-- Statements of `segs-cloud meter`. Domain database.

-- name: move
-- A meter is in another region from an instant on.
SELECT meter_move(%(code)s, %(region)s, %(timezone)s, %(from)s, %(now)s);
