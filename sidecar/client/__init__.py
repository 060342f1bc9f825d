"""The instrumented client: the Anthropic SDK as it is, with every call measured.

``seam_sync`` and ``seam_async`` stand between the SDK and its HTTP client, ``call`` and
``attempt`` know what those are, ``bodies`` what a body tells. Import from ``sidecar`` itself.
"""
