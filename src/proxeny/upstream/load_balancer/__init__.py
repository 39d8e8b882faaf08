"""Load balancers: a priority and health decision (base.py) over pickers of hosts (one module per policy)."""
