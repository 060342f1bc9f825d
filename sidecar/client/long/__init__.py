"""Long answers: continued where they stopped or broke off, or streamed where the application asked for a whole one.

``joint`` and ``joined`` are pure: what is sent to go on, and how its events join. ``course`` decides whether to go on;
the shells of two kinds only send and read. Import from ``sidecar`` itself.
"""
