"""The proxy: bytes pass through unchanged and undelayed, and what they meant ends in records. Import the modules."""
