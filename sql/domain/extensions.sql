-- btree_gist carries the exclusion constraints of what is effective-dated: devices, tariffs.
CREATE EXTENSION IF NOT EXISTS btree_gist WITH SCHEMA public;
