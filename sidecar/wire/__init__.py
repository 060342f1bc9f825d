"""What the API says over the wire, read and written. Pure: no I/O, no clock, and nobody's HTTP library."""
