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
GRANT SELECT ON registry_gateways TO segs_worker;

CREATE OR REPLACE VIEW registry_regions AS
SELECT region, capacity_w FROM regions;
COMMENT ON VIEW registry_regions IS 'Rows of the telemetry table region_registry';
COMMENT ON COLUMN registry_regions.region IS 'regions.region';
COMMENT ON COLUMN registry_regions.capacity_w IS 'Capacity of the region''s supply, W';
GRANT SELECT ON registry_regions TO segs_worker;

CREATE OR REPLACE VIEW registry_capacities AS
SELECT region, capacity_w, valid FROM region_capacities;
COMMENT ON VIEW registry_capacities IS 'Rows of the telemetry table capacity_registry';
COMMENT ON COLUMN registry_capacities.region IS 'region_capacities.region';
COMMENT ON COLUMN registry_capacities.capacity_w IS 'region_capacities.capacity_w, W';
COMMENT ON COLUMN registry_capacities.valid IS 'region_capacities.valid';
GRANT SELECT ON registry_capacities TO segs_worker;

CREATE OR REPLACE VIEW registry_devices AS
SELECT d.gateway_id, d.device, d.meter_id, m.meter_code, l.region, l.timezone, m.max_power_w, m.register_modulus_wh,
       m.register_resets, d.interval_ms,
       d.valid * l.valid AS valid
  FROM devices d
  JOIN meters m USING (meter_id)
  JOIN meter_locations l ON l.meter_id = d.meter_id AND l.valid && d.valid;
COMMENT ON VIEW registry_devices IS 'Rows of the telemetry table device_registry, without its own key: one for each place that the meter was at while it was the device';
COMMENT ON COLUMN registry_devices.gateway_id IS 'devices.gateway_id';
COMMENT ON COLUMN registry_devices.device IS 'devices.device';
COMMENT ON COLUMN registry_devices.meter_id IS 'devices.meter_id';
COMMENT ON COLUMN registry_devices.meter_code IS 'meters.meter_code';
COMMENT ON COLUMN registry_devices.region IS 'meter_locations.region';
COMMENT ON COLUMN registry_devices.timezone IS 'meter_locations.timezone, IANA';
COMMENT ON COLUMN registry_devices.max_power_w IS 'meters.max_power_w, W';
COMMENT ON COLUMN registry_devices.register_modulus_wh IS 'meters.register_modulus_wh, Wh';
COMMENT ON COLUMN registry_devices.register_resets IS 'meters.register_resets';
COMMENT ON COLUMN registry_devices.interval_ms IS 'devices.interval_ms, milliseconds';
COMMENT ON COLUMN registry_devices.valid IS 'When both devices.valid and meter_locations.valid hold';
GRANT SELECT ON registry_devices TO segs_worker;

CREATE OR REPLACE VIEW registry_epochs AS
SELECT e.meter_id, r.register::smallint AS register, e.exchanged_at AS starts_at, r.final_value, r.first_value
  FROM meter_exchanges e
  CROSS JOIN LATERAL (VALUES (1, e.final_import_wh, e.first_import_wh), (2, e.final_export_wh, e.first_export_wh),
                             (3, NULL, NULL), (4, NULL, NULL)) AS r (register, final_value, first_value)
 WHERE e.revoked_at IS NULL;
COMMENT ON VIEW registry_epochs IS 'Rows of the telemetry table register_epochs: at an exchange all registers of a meter begin anew';
COMMENT ON COLUMN registry_epochs.meter_id IS 'meter_exchanges.meter_id';
COMMENT ON COLUMN registry_epochs.register IS '1 energy_import_wh, 2 energy_export_wh, 3 reactive_energy_import_varh, 4 reactive_energy_export_varh';
COMMENT ON COLUMN registry_epochs.starts_at IS 'meter_exchanges.exchanged_at';
COMMENT ON COLUMN registry_epochs.final_value IS 'Final read of the old register, Wh; NULL when nobody took it';
COMMENT ON COLUMN registry_epochs.first_value IS 'First read of the new register, Wh; NULL when nobody took it';
GRANT SELECT ON registry_epochs TO segs_worker;

-- Whoever asks sees the meters that the tables' policies show them.
CREATE OR REPLACE VIEW meters_now WITH (security_invoker = true) AS
SELECT m.meter_id, m.meter_code, m.status, m.model, m.serial, l.region, l.timezone, o.user_id, m.site, m.latitude_deg,
       m.longitude_deg, m.max_power_w, m.register_modulus_wh, m.register_resets, m.created_at, m.updated_at,
       g.name AS gateway, d.device, d.interval_ms, m.nominal_voltage_v, m.phases, m.rated_power_w, m.exports
  FROM meters m
  JOIN meter_locations l ON l.meter_id = m.meter_id AND l.valid @> statement_timestamp()
  LEFT JOIN meter_owners o ON o.meter_id = m.meter_id AND o.valid @> statement_timestamp()
  LEFT JOIN devices d ON d.meter_id = m.meter_id AND d.valid @> statement_timestamp()
  LEFT JOIN gateways g ON g.gateway_id = d.gateway_id;
COMMENT ON VIEW meters_now IS 'Meters, each with the place, the owner and the device that it has now';
COMMENT ON COLUMN meters_now.gateway IS 'gateways.name, now; NULL where nothing reads it, or the caller does not see what does';
COMMENT ON COLUMN meters_now.device IS 'devices.device, now';
COMMENT ON COLUMN meters_now.interval_ms IS 'devices.interval_ms, now, milliseconds';
COMMENT ON COLUMN meters_now.meter_id IS 'meters.meter_id';
COMMENT ON COLUMN meters_now.meter_code IS 'meters.meter_code';
COMMENT ON COLUMN meters_now.status IS 'meters.status';
COMMENT ON COLUMN meters_now.model IS 'meters.model';
COMMENT ON COLUMN meters_now.serial IS 'meters.serial';
COMMENT ON COLUMN meters_now.user_id IS 'meter_owners.user_id, now; NULL where nobody has it';
COMMENT ON COLUMN meters_now.site IS 'meters.site';
COMMENT ON COLUMN meters_now.latitude_deg IS 'meters.latitude_deg';
COMMENT ON COLUMN meters_now.longitude_deg IS 'meters.longitude_deg';
COMMENT ON COLUMN meters_now.max_power_w IS 'meters.max_power_w, W';
COMMENT ON COLUMN meters_now.register_modulus_wh IS 'meters.register_modulus_wh, Wh';
COMMENT ON COLUMN meters_now.register_resets IS 'meters.register_resets';
COMMENT ON COLUMN meters_now.nominal_voltage_v IS 'meters.nominal_voltage_v, V';
COMMENT ON COLUMN meters_now.phases IS 'meters.phases';
COMMENT ON COLUMN meters_now.rated_power_w IS 'meters.rated_power_w, W';
COMMENT ON COLUMN meters_now.exports IS 'meters.exports';
COMMENT ON COLUMN meters_now.created_at IS 'meters.created_at';
COMMENT ON COLUMN meters_now.updated_at IS 'meters.updated_at';
COMMENT ON COLUMN meters_now.region IS 'meter_locations.region, now';
COMMENT ON COLUMN meters_now.timezone IS 'meter_locations.timezone, now';
GRANT SELECT ON meters_now TO segs_api, segs_worker, segs_readonly;
