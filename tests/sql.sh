# Sourced by tests/run and tests/versions/run, after tests/tally.sh and tests/postgres.sh: what is asked of the cluster on $port by psql.

# sql_suites: the database `hub` is made by platform, migrations and seed; sql/inspect and sql/checks run on it empty and full; pgTAP.
sql_suites() {
  local made=1 f sums
  db -U supabase_admin -d postgres -c 'create database hub template template0' >/dev/null || made=0
  for f in sql/platform/*.sql; do db -U supabase_admin -d hub <"$f" >/dev/null 2>"$base/err" || { made=0; cat "$base/err"; }; done
  for f in migrations/V*.sql; do db -U postgres -d hub -1 <"$f" >/dev/null 2>"$base/err" || { made=0; grep -v NOTICE "$base/err"; }; done
  for f in seed/*.sql seed/*.sql; do db -U postgres -d hub -1 <"$f" >/dev/null 2>"$base/err" || { made=0; cat "$base/err"; }; done
  [ "$made" = 1 ] && good "platform, migrations and seed by psql" || bad "platform, migrations and seed by psql"
  looked_at "an empty hub"
  db -U supabase_admin -d hub -c 'create extension if not exists pgtap with schema extensions' >/dev/null 2>&1 || bad "the extension pgtap can not be created"
  (cd tests/pgtap && PGOPTIONS='-c client_min_messages=warning' pg_prove -h 127.0.0.1 -p "$port" -U postgres -d hub --ext .sql . >"$base/prove.log" 2>&1)
  grep -vE '^\s*$' "$base/prove.log" | tail -60
  # "Files=5, Tests=779, …" counts those that ran; "(Wstat: … Tests: 64 Failed: 2)" stands for each file with failures.
  sums=$(awk '/^Files=/ { match($0, /Tests=[0-9]+/); t = substr($0, RSTART + 6, RLENGTH - 6) }
              /Tests: [0-9]+ Failed: [0-9]+/ { match($0, /Failed: [0-9]+/); f += substr($0, RSTART + 8, RLENGTH - 8) }
              END { print t - f, f + 0 }' "$base/prove.log")
  add $sums
  grep -q '^Result: PASS' "$base/prove.log" || { [ "${sums#* }" = 0 ] && bad "pgTAP"; }
  db -U postgres -d hub <tests/sql/busy.sql >/dev/null 2>"$base/err" && good "tests/sql/busy.sql fills the hub" || { cat "$base/err"; bad "tests/sql/busy.sql"; }
  looked_at "a full hub"
}

looked_at() {
  local f rows
  for f in sql/inspect/*.sql; do
    db -U postgres -d hub <"$f" >/dev/null 2>"$base/err" && good "$f on $1" || { cat "$base/err"; bad "$f on $1"; }
  done
  for f in sql/checks/*.sql; do
    rows=$(db -U postgres -d hub -At <"$f" 2>&1) && [ -z "$rows" ] && good "$f on $1" || { echo "$rows" | head -20; bad "$f on $1 must return no rows"; }
  done
}
