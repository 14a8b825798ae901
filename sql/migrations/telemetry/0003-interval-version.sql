ALTER TABLE aggregates_15m ADD COLUMN version integer NOT NULL DEFAULT 1;
