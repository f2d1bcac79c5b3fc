"""The orders that a person may give to a running agent, one function each.

Who carries them here (the socket of the command line) decides who may. An order changes the ledger first, durably,
and then tells whoever is at work; told again, it does no harm. Collector and uploader are known by what is needed of
them alone (`parts`).
"""
