-- Databases that live only for a comparison; their names carry when they were made, in seconds since 1970.

-- name: name
-- A name for a new one.
SELECT format('segs_scratch_%s_%s', extract(epoch FROM clock_timestamp())::bigint, left(md5(gen_random_uuid()::text), 8));

-- name: left_over
-- Those more than an hour old that this role may drop.
SELECT datname
  FROM pg_database
 WHERE datname ~ '^segs_scratch_[0-9]{1,12}_[0-9a-f]{8}$' AND pg_has_role(datdba, 'USAGE')
   AND split_part(datname, '_', 3)::bigint < extract(epoch FROM clock_timestamp()) - 3600;
