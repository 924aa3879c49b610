"""The published tables, reproduced: ``python -m benchmarks.paper mnist | cifar10 | table5 | eq11``.

One command computes what is missing of a table, writes each result as it comes, and goes on where it was
interrupted; ``page`` writes the tables into the docs.
"""
