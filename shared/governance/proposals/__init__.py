"""The two-person rule: one person proposes an act, and it takes effect once when another person approves it.

A capability declares a `ProposalType` (the content, who may decide, the effect) and creates proposals through
`use_cases`. `routes.proposals_router` gives each service the operations to read, approve, refuse and withdraw
proposals.
"""
