"""Programs that are broken on purpose, and the bad days that must find each of them out.

Built with -Dmutants=true, blackstart breaks the promise that $BLACKSTART_MUTANT names. The torture
is worth what it catches: a mutant that survives is a defect of the torture.
"""

# Mutant -> the family that is aimed at it, and the assertions that may catch it.
MUTANTS = {
    "no-fsync": "dark",
    "ack-before-fsync": "dark in a sync",
    "no-folder-fsync": "dark on a new name",
    "truncate-partial-on-resume": "resumed",
    "get-exit-1": "unreadable",
    "drop-partial": "dark",
}
ROUNDS_MAX = 8
# Assertions that tell of a broken promise; anything else would be the harness's own trouble.
CATCHES = {"acked-rows", "flush-position", "holes", "row-hash", "pitr-prefix", "exit-restore",
           "ended-early"}
