#!/usr/bin/env bash
# install.sh REQUIREMENTS VENV: the pinned packages and this package itself into a virtual environment, with one
# line of progress, and at the end how much room and time it took.
set -euo pipefail
requirements=$1 venv=$2
cd "$(dirname "$0")/.."

progress() {  # pip's own words, shortened to a count (on a terminal) or to a line now and then
  local line count=0
  while read -r line; do
    case $line in
      "Collecting "* | "Processing "* | "Requirement already satisfied: "*)
        count=$((count + 1))
        if [ -t 1 ]; then printf '\r\033[K  %d looked up' "$count"
        elif ((count % 25 == 0)); then echo "  $count looked up"; fi ;;
      "Installing collected packages"*)
        [ -t 1 ] && printf '\r\033[K'
        echo "  writing them to disk ..." ;;
    esac
  done
  [ -t 1 ] && printf '\r\033[K'
  return 0
}

echo "installing $(grep -c '==' "$requirements") packages of $requirements into $venv"
if grep -q '^whisperx==' "$requirements"; then
  echo "  about 9 GB on disk: torch brings CUDA on Linux"
else
  echo "  about 3 GB on disk with a CPU build of torch; where pip finds a CUDA build, some 5 GB more"
fi
"$venv/bin/python" -m pip install --progress-bar off -r "$requirements" | progress
"$venv/bin/python" -m pip install --quiet --no-deps --no-build-isolation --editable .
echo "environment ready: $(du -sh "$venv" | cut -f1) in $venv, $((SECONDS / 60)) min $((SECONDS % 60)) s"
