"""doit's side: what the tasks of dodo.py do, when they need not, and how a run of them is told."""
