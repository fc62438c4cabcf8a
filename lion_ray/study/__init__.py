"""What a study's folder holds and what it still lacks.

`plan` compares the experiments of a study with its store, `index` keeps what was verified once, `rounds` and `record`
read finished rounds, `decisions` and `choices` store what stopping rules and searches have decided, `search_groups`
joins search trials with the final runs that follow from them, and `request` stores what was asked for.
`lion_ray.sweep`, `lion_ray.schedule` and `lion_ray.report` import these modules; `lion_ray.trial` imports `record`.
"""
