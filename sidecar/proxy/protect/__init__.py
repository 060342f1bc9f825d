"""Opt-in protection: limits, breakers, retries, queues and the stream upgrade, beside the plain exchange."""
