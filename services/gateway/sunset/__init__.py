"""The sunset: two people declare that the emergency is over, and nothing more is collected (G9).

What was collected is then destroyed by the operator: `fangxian sunset`, docs/retention.md.
"""
