-- What the telemetry database needs to know, in exactly the columns of its registry tables: the cloud copies it over.

CREATE OR REPLACE VIEW registry_gateways AS
SELECT g.gateway_id, g.name,
       coalesce((SELECT array_agg(k.key_hash ORDER BY k.gateway_key_id)
                   FROM gateway_keys k
                  WHERE k.gateway_id = g.gateway_id AND k.revoked_at IS NULL AND g.disabled_at IS NULL),
                '{}') AS key_hashes
  FROM gateways g;
COMMENT ON VIEW registry_gateways IS 'Rows of the telemetry table gateway_registry';
COMMENT ON COLUMN registry_gateways.gateway_id IS 'gateways.gateway_id';
COMMENT ON COLUMN registry_gateways.name IS 'The gateway''s name';
COMMENT ON COLUMN registry_gateways.key_hashes IS 'SHA-256 of each valid key; none for a disabled gateway';
GRANT SELECT ON registry_gateways TO segs_api, segs_worker;

CREATE OR REPLACE VIEW registry_regions AS
SELECT region, capacity_w FROM regions;
COMMENT ON VIEW registry_regions IS 'Rows of the telemetry table region_registry';
COMMENT ON COLUMN registry_regions.region IS 'regions.region';
COMMENT ON COLUMN registry_regions.capacity_w IS 'Capacity of the region''s supply, W';
GRANT SELECT ON registry_regions TO segs_api, segs_worker;

CREATE OR REPLACE VIEW registry_devices AS
SELECT d.gateway_id, d.device, d.meter_id, m.meter_code, m.region, m.timezone, m.max_power_w, d.interval_ms, d.valid
  FROM devices d JOIN meters m USING (meter_id);
COMMENT ON VIEW registry_devices IS 'Rows of the telemetry table device_registry, without its own key';
COMMENT ON COLUMN registry_devices.gateway_id IS 'devices.gateway_id';
COMMENT ON COLUMN registry_devices.device IS 'devices.device';
COMMENT ON COLUMN registry_devices.meter_id IS 'devices.meter_id';
COMMENT ON COLUMN registry_devices.meter_code IS 'meters.meter_code';
COMMENT ON COLUMN registry_devices.region IS 'meters.region';
COMMENT ON COLUMN registry_devices.timezone IS 'meters.timezone, IANA';
COMMENT ON COLUMN registry_devices.max_power_w IS 'meters.max_power_w, W';
COMMENT ON COLUMN registry_devices.interval_ms IS 'devices.interval_ms, milliseconds';
COMMENT ON COLUMN registry_devices.valid IS 'devices.valid';
GRANT SELECT ON registry_devices TO segs_api, segs_worker;
