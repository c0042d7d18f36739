"""The Mosquitto plug-in: the tokens and the policy of `broker`, asked from inside a stock Mosquitto."""
