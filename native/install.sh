#!/bin/sh
# Builds the extension and installs it into the environment of the given Python:
#   native/install.sh .venv/bin/python
# Without build isolation, since the headers must be those of the installed jaxlib.
set -eu
cd "$(dirname "$0")/.."
python=$1

fail() {
    echo "$1" >&2
    exit 1
}

compiler=${CXX:-}
for candidate in c++ g++ clang++; do
    [ -n "$compiler" ] && break
    command -v "$candidate" >/dev/null && compiler=$candidate
done
command -v "${compiler%% *}" >/dev/null || fail "no C++ compiler was found"
if [ "$(uname)" = Darwin ] && command -v brew >/dev/null; then
    OpenMP_ROOT=$(brew --prefix libomp)
    export OpenMP_ROOT
fi

# shellcheck disable=SC2086  # CXX may hold flags
has_headers() {
    prefix=$("$python" -c 'import sys; print(sys.prefix)')
    echo '#include "oneapi/dnnl/dnnl.hpp"' |
        $compiler -std=c++17 -I"$prefix/include" -I"${CONDA_PREFIX:-$prefix}/include" \
            -I/opt/homebrew/include -fsyntax-only -x c++ - 2>/dev/null
}
if ! has_headers; then
    [ "$(uname -sm)" = "Linux x86_64" ] || fail "oneDNN's headers were not found"
    "$python" -m pip install --quiet "onednn-devel-cpu-gomp==2023.2.0"
    has_headers || fail "oneDNN's headers were not found"
fi

tools="scikit-build-core>=0.11,<1"
command -v cmake >/dev/null || tools="$tools cmake"
command -v ninja >/dev/null || command -v make >/dev/null || tools="$tools ninja"
# shellcheck disable=SC2086
"$python" -m pip install --quiet $tools
"$python" -m pip install --quiet --no-build-isolation --no-deps --force-reinstall ./native
"$python" -c 'import meranet_native; print("oneDNN", meranet_native.onednn_version())'
