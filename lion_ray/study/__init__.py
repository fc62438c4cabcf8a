"""What a study's folder holds and lacks: plan, index of results, decisions, choices of a search, request."""
