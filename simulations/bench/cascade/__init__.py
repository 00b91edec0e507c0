"""`wayword-sim bench cascade`: the production cascade on traces, measured against what is and could be.

`signals` turns a trace into what the daemon would have known, `looks` asks the policy; `curves`, `certificate` and
`judging` do the sums, `study` says which, `routing` looks at recorded translations; `tables` and `page` show it.
"""
