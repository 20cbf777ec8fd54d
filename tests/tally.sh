# Sourced by tests/run and the runners under it: counts what passed and failed, and says so in the last line, "N passed, N failed".
passed=0 failed=0
say() { printf '\n== %s\n' "$*"; }
good() { passed=$((passed + 1)); echo "ok - $1"; }
bad() { failed=$((failed + 1)); echo "not ok - $1"; }
add() { passed=$((passed + $1)) failed=$((failed + $2)); }
finish() { echo "$passed passed, $failed failed"; [ "$failed" = 0 ] && [ "$passed" -gt 0 ]; exit; }
give_up() { echo "$1"; failed=$((failed + 1)); finish; }

# cargo_tests ARGUMENT…: `cargo test`, counted; what a failed test had to say is printed whole. Logs in $base.
cargo_tests() {
  local sums
  cargo test --release --no-fail-fast "$@" >"$base/cargo.log" 2>&1
  grep -E '^test result:|^test .*FAILED$' "$base/cargo.log"
  awk '/^---- .* ----$/ { on = 1 } /^failures:$/ { on = 0 } on' "$base/cargo.log"
  sums=$(awk '/^test result:/ { for (i = 1; i < NF; i++) { if ($(i+1) ~ /^passed/) p += $i; if ($(i+1) ~ /^failed/) f += $i } } END { print p + 0, f + 0 }' "$base/cargo.log")
  add $sums
  if grep -qE '^error(\[|:)' "$base/cargo.log"; then
    grep -nE '^error|^failures:|panicked' -A12 "$base/cargo.log" | head -120
    [ "${sums#* }" = 0 ] && bad "cargo test"
  fi
}
