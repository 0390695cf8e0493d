#!/bin/sh
# Run the tests: with arguments, pytest with these; without, all tests, in two stages.
# Stage 1 runs whole files side by side, two at a time. A third process runs the real nodes, whose files share one cluster
# and wait more than they compute. Stage 2 runs, one after another, the tests of faults and attacks: these measure times
# and CPU, which a neighbour on the same machine would change.
# BUILD=compiled runs them on the compiled wheel, in .venv-compiled (`make test-compiled`).
# With REPORT=1 the outcomes of both stages, and of a later run with arguments, make the pages of tests/compatibility.
set -u
case ${BUILD:-pure} in
compiled)
    venv=.venv-compiled
    export PYTHONSAFEPATH=1 # else Python prefers the sources in the working directory
    ;;
*) venv=.venv ;;
esac
pytest="$venv/bin/pytest"
[ "$venv" = .venv ] || pytest="$venv/bin/python -m pytest"
add_report() {
    [ -z "${REPORT:-}" ] || export REPORT=add
}
# shellcheck disable=SC2086
[ $# -eq 0 ] || { add_report && exec $pytest "$@"; }
alone="tests/adversity tests/attacks"
failed=0
$pytest -q --durations=15 --numprocesses=3 --dist=loadfile --nodes-beside $(printf -- '--ignore=%s ' $alone) tests || failed=1
add_report
$pytest -q --durations=15 $alone || failed=1
exit $failed
