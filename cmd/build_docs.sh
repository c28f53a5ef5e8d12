#!/usr/bin/env bash
# Builds the documentation as a site, build/docs/index.html; a link that leads nowhere is an error. With --external links to
# other sites are asked, too, which needs a network.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
./env_shell/setup.sh
# shellcheck source=env_shell/set_env.sh
source env_shell/set_env.sh
python -m sphinx -q -W -n -E -c docs . build/docs
if [[ ${1:-} == --external ]]; then python -m sphinx -q -b linkcheck -c docs . build/links; fi
