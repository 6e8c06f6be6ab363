# shellcheck shell=sh disable=SC2034,SC2154  # a part of the program in walking.sh
# ---- which of them --------------------------------------------------------------------------------------------

mode=$1 count=0
shift
tails=$(printf '\200-\277') heads=$(printf '\300-\377')
case $mode in
  look | claim) "$mode" "$@" && exit 0 || exit ;;
esac
S=$1
shift
case $mode in
  make) ground=$1 && shift && make "$@" ;;
  exact | clear | reach) ground=$1 && shift && "$mode" "$@" ;;
  merge) ground=$1 conflict=$2 stamp=$3 program=$4 && shift 4 && merge_all "$@" ;;
  lack | strip | settle_down | back | fresh | over | meet) "$mode" "$@" ;;
  *) exit 2 ;;
esac
