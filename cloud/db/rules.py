"""The schemas' constraints in sentences, for people who type values."""

_DEVICE = "a device's name has letters, digits, '.', '_' and '-', at most 96, and may end in /n for its channel n"
_REGION = (
    "a region's name has lower-case letters, digits, '-' and '_', at most 63, and begins with one of the first two"
)
_ZONE = "there is no such time zone; give the name of an IANA zone: Europe/Berlin, or UTC"
_ENERGY = "no register moves backwards, so that no energy is below 0; what flows the other way is the other register's"
_FINAL = "no register shows less than 0; give what its display said, in Wh"

_SEVERITIES = "low, medium, warning, high or critical"
_PERCENT = "above 0, and at most 100; null for none"
_TIMES = "for_s and keep_s are 0 to 30 days, hold_s 0 to a day, in s"

RULES = {
    "alert_events_text_check": "say something, in at most 2000 characters",
    "alert_rules_category_check": "category is supply, load, consumption, tamper or data",
    "alert_rules_for_s_check": _TIMES,
    "alert_rules_hold_s_check": _TIMES,
    "alert_rules_keep_s_check": _TIMES,
    "alert_rules_min_load_percent_check": f"min_load_percent is {_PERCENT}",
    "alert_rules_raise_and_clear": "a rule has raise_at and clear_at, or neither of them",
    "alert_rules_rating_percent_check": f"rating_percent is {_PERCENT}",
    "alert_rules_severity_check": f"severity is {_SEVERITIES}",
    "alert_rules_thresholds_in_order": (
        "raise_at is between clear_at and worse_at, which is furthest out; give all that change together"
    ),
    "alert_rules_window_min_check": "window_min is a part of a day, in minutes: 1, 5, 10, 15, 60",
    "alert_rules_worse_after_s_check": "worse_after_s is above 0, in s; null for none",
    "alert_rules_worse_severity_check": f"worse_severity is {_SEVERITIES}",
    "alert_rules_worse_than_what": "worse_severity goes with worse_at or worse_after_s; give it with one of them",
    "device_registry_device_check": _DEVICE,
    "devices_device_check": _DEVICE,
    "devices_interval_ms_check": "readings are at least a millisecond apart; give an interval above 0",
    "devices_one_device_per_meter": "a meter is read as one device at a time; end the other registration first",
    "devices_one_meter_per_device": "a device is one meter at a time; end the other registration first",
    "gateways_name_check": (
        "a gateway's name has letters, digits, '.', '_' and '-', at most 63, and begins with a letter or a digit"
    ),
    "gateways_name_key": "there is a gateway of that name already",
    "interval_versions_actor_check": "nobody is named as the one who does it; give the name of who acts",
    "interval_versions_bucket_is_a_quarter_hour": "that is no quarter-hour; give a time at minute 0, 15, 30 or 45",
    "interval_versions_edit_has_actor_and_reason": "an edit says who made it, and why; give a reason",
    "interval_versions_ended_by_check": "nobody is named as the one who ends it; give the name of who acts",
    "interval_versions_ended_reason_check": "the reason is empty; say in a few words why",
    "interval_versions_energy_export_wh_check": _ENERGY,
    "interval_versions_energy_import_wh_check": _ENERGY,
    "interval_versions_live_key": "somebody edited the same quarter-hour at the same moment; look at it, and try again",
    "interval_versions_reason_check": "the reason is empty; say in a few words why",
    "interval_versions_says_something": "an edit without energy says nothing; give import, export or both",
    "invoices_reason_check": "the reason is empty; say in a few words why, the customer reads it",
    "maintenance_windows_reason_check": "maintenance has a reason, of at most 500 characters",
    "meter_exchanges_despite_check": "the reason is empty; say in a few words why",
    "meter_exchanges_exchanged_at_check": "an exchange has an instant; give its time",
    "meter_exchanges_final_export_wh_check": _FINAL,
    "meter_exchanges_final_import_wh_check": _FINAL,
    "meter_exchanges_first_export_wh_check": _FINAL,
    "meter_exchanges_first_import_wh_check": _FINAL,
    "meter_exchanges_one_at_an_instant": "the meter was exchanged at that very instant already",
    "meter_exchanges_revoked_reason_check": "the reason is empty; say in a few words why",
    "meter_generators_are_two_meters": "a meter does not measure what is generated behind itself; name the generator's",
    "meter_generators_of_one_meter": "that generator is behind another meter then; end that first",
    "meter_locations_one_at_a_time": "somebody moved the meter at the same moment; look where it is, and try again",
    "meter_locations_timezone_is_known": _ZONE,
    "meters_max_power_w_check": "a connection carries more than 0 W, and not without end; give max_power_w by its fuse",
    "meters_model_check": "the model is empty; give what the plate says",
    "meters_model_serial_key": "another meter has this model and serial number; look at its plate again",
    "meters_nominal_voltage_v_check": "the nominal voltage is more than 0 V, and not without end; it is often 230",
    "meters_phases_check": "the phases are 1 to 7: the sum of 1 for phase 1, 2 for phase 2 and 4 for phase 3",
    "meters_rated_power_w_check": "a connection is rated for more than 0 W, not without end; give what was agreed",
    "meters_register_modulus_wh_check": "registers wrap at more than 0 Wh",
    "meters_serial_check": "the serial number is empty; give what the plate says, or leave it out",
    "meters_serial_needs_model": "a serial number is one of a model; give the model as well",
    "region_registry_region_check": _REGION,
    "price_overrides_factor_check": "a factor is 0 to 100; give 1.25 for a quarter more",
    "price_overrides_reason_check": "an override has a reason, which customers read, of at most 500 characters",
    "price_overrides_end_reason_check": "who ends an override says why, in at most 500 characters; give a reason",
    "region_price_rules_base_price_check": "a base price is above 0; give what a kWh costs at factor 1",
    "region_price_rules_coverage_percent_check": "coverage is 0 to 100 percent",
    "region_price_rules_currency_check": "give an ISO 4217 code such as EUR",
    "region_price_rules_hysteresis_points_check": "hysteresis is 0 percent points or more",
    "region_price_rules_steps_fit": (
        "thresholds rise, all above the hysteresis, and there is one factor more than thresholds, each 0 to 100"
    ),
    "regions_region_check": _REGION,
    "regions_timezone_is_known": _ZONE,
    "tariff_holidays_key": "that day is a holiday of the tariff already",
    "tariff_holidays_name_check": "a holiday has a name; give one",
    "tariffs_code_check": (
        "a tariff's code has lower-case letters, digits, '-' and '_', at most 63, and begins with one of the first two"
    ),
    "tariffs_reason_check": "the reason is empty; say in a few words why, or leave it out",
    "tariffs_timezone_is_known": _ZONE,
    "user_preferences_alert_rules_off_check": "name rules of alerts in lower-case letters, digits and '_', at most 50",
    "user_preferences_consumption_threshold_wh_check": "a threshold is above 0 Wh; null for none",
    "user_preferences_language_check": "a language is named as en, or as en-GB",
    "user_preferences_power_threshold_w_check": "a threshold is above 0 W; null for none",
    "user_preferences_quiet_hours_have_both_ends": "quiet hours begin and end; give both times, or null for both",
    "user_preferences_timezone_is_known": _ZONE,
    "users_email_check": "that is no e-mail address; give one such as ada@example.org, at most 254 characters",
    "users_name_check": "a name has 1 to 200 characters",
    "users_phone_check": "a phone number is one of E.164: +, the country's code, and the number, without spaces",
}
"""What is wrong and what to do, by the constraint's name. Those that no command's values can break have none."""
