"""The name of a device in its topic."""

import pytest

from edge.tools.messages.topics import device_of, source_of


@pytest.mark.parametrize(
    ("profile", "topic", "device"),
    [
        ("tasmota", "tele/plug/SENSOR", "plug"),
        ("tasmota", "plug/tele/SENSOR", "plug"),
        ("tasmota", "home/stat/plug/STATUS10", "plug"),
        ("tasmota", "SENSOR", "SENSOR"),
        ("shelly-gen1", "shellies/shellyem-1/emeter/0/power", "shellyem-1"),
        ("shelly-gen1", "shellies/plug/online", "plug"),
        ("shelly-gen2", "shellypro3em-8813/events/rpc", "shellypro3em-8813"),
        ("shelly-gen2", "home/attic/status/em:0", "attic"),
        ("zigbee2mqtt", "zigbee2mqtt/plug", "plug"),
        ("zigbee2mqtt", "zigbee2mqtt/plug/availability", "plug"),
        ("zigbee2mqtt", "zigbee2mqtt/plug/power", "plug"),
        ("zigbee2mqtt", "zigbee2mqtt/kitchen/plug", "plug"),
        ("esphome", "kitchen/sensor/power/state", "kitchen"),
        ("dsmr", "dsmr/reading/phase_currently_delivered_l1", "dsmr"),
        ("sparkplug-b", "spBv1.0/group/DDATA/node/meter", "meter"),
        ("sparkplug-b", "spBv1.0/group/NDATA/node", "node"),
        ("json", "a/b/c", "a/b/c"),
    ],
)
def test_the_part_of_the_topic_that_names_the_device(profile: str, topic: str, device: str) -> None:
    assert device_of(profile, topic) == device


def test_a_sparkplug_device_is_decoded_with_what_its_node_announced() -> None:
    born = source_of("sparkplug-b", "spBv1.0/group/NBIRTH/node")
    assert source_of("sparkplug-b", "spBv1.0/group/DDATA/node/meter") == born
    assert source_of("sparkplug-b", "spBv1.0/group/DDATA/other/meter") != born
