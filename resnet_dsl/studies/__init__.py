"""Studies: the paper's experiments, many trainings that are compared in one table and one figure.

schema.py      what a study's file says
plan.py        the runs that it asks for, each with an id that follows from what is trained
folder.py      what the folder of a run says: finished, failed, interrupted
claims.py      who is at a run, where several processes and machines share a folder
worker.py      takes runs, and trains each in a process of its own
costs.py       what is to do, and what it would cost
outcomes.py    means and deviations over the seeds
table.py       these as text, Markdown, CSV and JSON
figure.py      and as a figure
responses.py   the standard deviations of the layers' responses (He et al. 2015, figure 7)
"""
