# Sourced by tests/run and the runners under it: counts what passed and failed, and says so in the last line, "N passed, N failed".
passed=0 failed=0
# With the minutes since the start: where the time of a run went stands in its log.
say() { printf '\n== %s  (%d:%02d)\n' "$*" $((SECONDS / 60)) $((SECONDS % 60)); }
good() { passed=$((passed + 1)); echo "ok - $1"; }
bad() { failed=$((failed + 1)); echo "not ok - $1"; }
add() { passed=$((passed + $1)) failed=$((failed + $2)); }
finish() { echo "$passed passed, $failed failed"; [ "$failed" = 0 ] && [ "$passed" -gt 0 ]; exit; }
give_up() { echo "$1"; failed=$((failed + 1)); finish; }

# cargo_tests ARGUMENT…: `cargo test`, counted; what a failed test had to say is printed whole. Logs in $base. A test binary
# that has not ended after 20 minutes never will: it is ended, and what it was at is said, so that one test that hangs costs
# its own binary and not the run.
cargo_tests() {
  local sums triple
  triple=$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
  (
    command -v timeout >/dev/null && export "CARGO_TARGET_${triple}_RUNNER=timeout -k 20 1200"
    cargo test --release --no-fail-fast "$@" 2>&1
  ) | tee "$base/cargo.log" | grep --line-buffered -E '^ +Running |^test result:|^test .*FAILED$|has been running for over'
  awk '/^---- .* ----$/ { on = 1 } /^failures:$/ { on = 0 } on' "$base/cargo.log"
  sums=$(awk '/^test result:/ { for (i = 1; i < NF; i++) { if ($(i+1) ~ /^passed/) p += $i; if ($(i+1) ~ /^failed/) f += $i } } END { print p + 0, f + 0 }' "$base/cargo.log")
  add $sums
  if grep -qE '^error(\[|:)' "$base/cargo.log"; then
    grep -nE '^error|^failures:|panicked' -A12 "$base/cargo.log" | head -120
    [ "${sums#* }" = 0 ] && bad "cargo test"
  fi
  awk '/ has been running for over / { late[$2] = 1 } /^test .* \.\.\. / { delete late[$2] } END { for (t in late) print t }' "$base/cargo.log" |
    while read -r t; do echo "never ended: $t"; done
}
