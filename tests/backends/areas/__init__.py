"""The places of the conformance suite, one module per kind of destination."""
