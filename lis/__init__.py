"""The laboratory: tubes, ledger, services, web and command line."""
