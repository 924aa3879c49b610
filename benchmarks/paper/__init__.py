"""The published tables, reproduced: `python -m benchmarks.paper mnist`."""
