#!/bin/sh
# aarch64_root.sh FOLDER: make an arm64 Python 3.11 with numpy and onnxruntime, which qemu-user-static runs.
#
# FOLDER/python runs it, child processes included, without binfmt_misc. Nothing is installed into this system: apt gets
# package lists of its own, of arm64, from where this system has its packages. It needs Debian 12 or another system whose
# packages have Python 3.11, pip, qemu-user-static, 250 MB and about a minute.
set -eu
root=$(mkdir -p "$1" && cd "$1" && pwd)
onnxruntime=1.27.0  # 1.32.0 crashes under qemu 7.2
missing() { echo "$1 is missing: $2" >&2; exit 3; }
qemu=$(command -v qemu-aarch64-static || command -v qemu-aarch64) || missing qemu-aarch64 "apt-get install qemu-user-static"
python3 -m pip --version >/dev/null 2>&1 || missing "pip of $(command -v python3)" "python3 -m ensurepip"
packages="python3.11-minimal libpython3.11-minimal libpython3.11-stdlib libc6 libgcc-s1 libstdc++6 zlib1g libexpat1
  libffi8 libssl3 libbz2-1.0 liblzma5 libuuid1 libcrypt1"

sources=/etc/apt/sources.list.d/debian.sources
[ -f "$sources" ] || sources=/etc/apt/sources.list

apt="$root/apt"
mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/debs" "$root/site"
: > "$apt/status"
options="-o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Dir::State=$apt -o Dir::State::status=$apt/status
  -o Dir::State::lists=$apt/lists -o Dir::Cache=$apt/cache -o Dir::Etc::sourcelist=$sources
  -o Dir::Etc::sourceparts=- -o APT::Sandbox::User="
# shellcheck disable=SC2086  # lists of words
(cd "$apt/debs" && apt-get -q $options update && apt-get -q $options download $packages)
for deb in "$apt"/debs/*.deb; do dpkg -x "$deb" "$root"; done
python3 -m pip install -q --target "$root/site" --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 \
  --platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64 --python-version 3.11 --only-binary=:all: \
  numpy "onnxruntime==$onnxruntime"
rm -rf "$apt"

cat > "$root/python" <<EOF
#!/bin/sh
export PYTHONHOME='$root/usr' PYTHONPATH="\${PYTHONPATH:+\$PYTHONPATH:}$root/site"
exec '$qemu' -cpu cortex-a72 -L '$root' -0 '$root/python' '$root/usr/bin/python3.11' "\$@"
EOF
chmod +x "$root/python"
"$root/python" -c 'import platform, numpy, onnxruntime; print(platform.machine(), numpy.__version__, onnxruntime.__version__)'
