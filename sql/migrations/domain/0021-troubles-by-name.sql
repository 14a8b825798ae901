-- Alerts about things that are counted say which ones.

ALTER TABLE alerts ADD COLUMN detail text CHECK (detail <> '');
ALTER TABLE alert_states ADD COLUMN detail text CHECK (detail <> '');
