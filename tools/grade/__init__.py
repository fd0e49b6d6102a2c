"""Homework: each exercise of a folder of returned notebooks, run in a cage of its own and judged outside of it."""
