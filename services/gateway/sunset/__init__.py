"""The sunset: two people declare that the emergency is over, and the system collects no more data (G9).

Then the operator destroys the collected data with `fangxian sunset`: see docs/retention.md.
"""
