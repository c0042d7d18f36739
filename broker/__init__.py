"""The wire and who may use it: links to brokers, tokens, the access policy, and the embedded broker."""
