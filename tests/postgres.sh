# Sourced by tests/run and tests/bench/run: finds a Postgres and runs a throwaway cluster of it.

find_postgres() { # the newest of 15 to 18 with its programs
  local dir
  for dir in /usr/lib/postgresql/{18,17,16,15}/bin /opt/homebrew/opt/postgresql@{18,17,16,15}/bin /usr/local/opt/postgresql@{18,17,16,15}/bin \
             "$(command -v pg_config >/dev/null && pg_config --bindir)"; do
    [ -x "$dir/initdb" ] && [ -x "$dir/postgres" ] && { echo "$dir"; return; }
  done
  return 1
}

free_port() { node -e 'const s=require("net").createServer().listen(0,"127.0.0.1",()=>{console.log(s.address().port);s.close()})'; }

# start_postgres OPTION…: a cluster of the programs in $pg, superuser supabase_admin, on 127.0.0.1. Sets base (its folder, for
# logs too) and port; gone when the script ends. Fails with the reason in $trouble and what was said in $base/*.log.
# As root it belongs to an unprivileged user: Postgres refuses root. That user can not read the checkout, so SQL is piped to psql.
start_postgres() {
  base=$(mktemp -d "${TMPDIR:-/tmp}/hub-tests.XXXXXX")
  as_owner() { "$@"; }
  if [ "$(id -u)" = 0 ]; then
    owner=$(id -un postgres 2>/dev/null || echo nobody)
    chown "$owner" "$base"
    as_owner() { (cd "$base" && setpriv --reuid="$owner" --regid="$(id -gn "$owner")" --clear-groups -- env HOME="$base" "$@"); }
  fi
  trap stop_postgres EXIT
  port=$(free_port)
  as_owner "$pg/initdb" -D "$base/data" -U supabase_admin -A trust -E UTF8 --locale=C --no-sync >"$base/initdb.log" 2>&1 ||
    { cat "$base/initdb.log"; trouble="initdb failed"; return 1; }
  as_owner "$pg/pg_ctl" -D "$base/data" -w -l "$base/postgres.log" -o "-p $port -k $base -c listen_addresses=127.0.0.1 $*" start >/dev/null ||
    { cat "$base/postgres.log"; trouble="Postgres did not start"; return 1; }
}

stop_postgres() {
  as_owner "$pg/pg_ctl" -D "$base/data" -m immediate -w stop >/dev/null 2>&1
  rm -rf "$base"
}

db() { psql -X -q -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$port" "$@"; }
