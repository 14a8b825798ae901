-- What rules could not judge is kept, with what the database said.

ALTER TABLE dirty_alerts ADD COLUMN error text;
