"""Those who take part in the end-to-end benchmarks: a program each, for an interpreter of its own.

``python -m benchmarks.contenders.NAME TASK`` reads the trades that the task (JSON) tells of and
prints one JSON line: see :mod:`benchmarks.contenders.tally`. :mod:`benchmarks.contenders.race` runs
them. Programs of peers import no more than the standard library and what they measure, for their
interpreter may be another than farm's.
"""
