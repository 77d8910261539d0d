"""The two-person rule: what one person proposes, another approves or refuses, and only then it has its one effect.

A capability declares a `Kind` (what is proposed, who may decide, what happens then) and proposes through `use_cases`;
`routes.proposals_router` gives each service the operations to look, approve, refuse and withdraw.
"""
