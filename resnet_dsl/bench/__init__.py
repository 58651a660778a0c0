"""How fast a network is: every backend that is there, in processes of their own, in turn.

candidates  what could be measured on this machine, and why the rest cannot
child       a backend's process, from the side of the one that asks
worker      the process itself; `runners/` holds what it runs
rounds      the order in which the backends are asked, and what came of it
statistics  percentiles, ratios and their noise
outcome     the figures for programs; `table` and `figure` are those for people
"""
