# Make .venv with the pinned versions of constraints.txt. Called by `make setup`.
set -eu

python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "error: $python is older than Python 3.11; name a newer one, as in: make setup PYTHON=python3.12" >&2
    exit 2
}

# Debian and Ubuntu ship Python without the part of venv that installs pip.
if ! "$python" -c 'import ensurepip' 2>/dev/null; then
    package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    if [ "$(id -u)" = 0 ]; then
        apt-get update -qq && apt-get install -y -qq "$package"
    else
        echo "error: $python cannot make virtual environments; run: sudo apt-get install $package" >&2
        exit 2
    fi
fi

"$python" -m venv .venv
.venv/bin/pip install --quiet --upgrade pip
# Torch first and by itself: its pin decides between builds, and everything else accepts it.
.venv/bin/pip install --quiet --constraint constraints.txt torch
.venv/bin/pip install --quiet --constraint constraints.txt --editable '.[pipeline,cluster,test]'
# What the benchmark compares with. Without them it runs too, and says in the report what is missing.
.venv/bin/pip install --quiet --constraint constraints.txt --editable '.[peers]' ||
    echo "note: not all of the benchmark's other runtimes could be installed; make setup tries again after a change" >&2
touch .venv/ready
