"""One HTML page on finished runs: scores, curves, what the adapter did to the weights, provenance.

Everything is in the file: styles, figures, no request to anywhere.
"""
