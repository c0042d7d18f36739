"""An MQTT 3.1.1 broker within the process: amqtt's listeners, with a life cycle, routing and limits of our own."""

from broker.embedded.counters import Snapshot
from broker.embedded.limits import Limits, Options
from broker.embedded.local_link import LocalLink
from broker.embedded.server import Addresses, EmbeddedBroker

__all__ = ["Addresses", "EmbeddedBroker", "Limits", "LocalLink", "Options", "Snapshot"]
