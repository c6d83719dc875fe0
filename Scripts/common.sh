# shellcheck shell=bash
# Shared by the scripts of this folder: where things are kept, progress lines, Debian packages.

# shellcheck disable=SC2034 # for the scripts that read this file
project=$(realpath "$(dirname "${BASH_SOURCE[0]}")/..")
cache=${STRATOVIRT_CACHE:-/var/tmp/stratovirt-cache}
mkdir -p "$cache"

# The architecture of the lab and its guests: this machine's, or what LAB_ARCH says. store: where what belongs to it is kept.
arch=${LAB_ARCH:-$(uname -m)} store=$cache
case $arch in
  x86_64) debian=amd64 ;;
  aarch64) debian=arm64 store=$cache/$arch ;;
  *) echo "${0##*/}: unknown architecture $arch (x86_64, aarch64)" >&2; exit 1 ;;
esac
mkdir -p "$store"

# foreign: apt's options for packages of another architecture than this machine's, which are unpacked and not installed: the
# sources are the same, nothing else is.
foreign=()
if [ "$debian" != "$(dpkg --print-architecture)" ]; then
  foreign=("-oAPT::Architecture=$debian" "-oAPT::Architectures=$debian" "-oDir::State::Lists=$store/debian/lists" "-oDir::Cache=$store/debian"
           "-oDir::State::status=$store/debian/status" -oAPT::Sandbox::User=root -oAcquire::Retries=3)
  mkdir -p "$store/debian/lists/partial"
  : >"$store/debian/status"
fi

say() { printf '[%s] %s\n' "$(date +%H:%M:%S)" "$*" >&2; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# apt_refresh [OPTION...]: fetches the package lists, once in the life of a run; those of another architecture with its options.
apt_refresh() {
  local whose=${1:-this machine}
  [[ ${STRATOVIRT_APT_FRESH:-} != *"<$whose>"* ]] || return 0
  say "apt-get update${1:+ for $debian}"
  apt-get update -qq "$@" >"$cache/apt.log" 2>&1 || { tail -5 "$cache/apt.log" >&2; die "apt-get update failed"; }
  export STRATOVIRT_APT_FRESH="${STRATOVIRT_APT_FRESH:-}<$whose>"
}

# need PACKAGE...: installs those Debian packages that are missing.
need() {
  local p missing=()
  for p; do dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q '^install ok installed' || missing+=("$p"); done
  [ ${#missing[@]} -gt 0 ] || return 0
  [ "$(id -u)" = 0 ] || die "needs these Debian packages (run as root, or install them yourself): ${missing[*]}"
  apt_refresh
  say "apt-get install ${missing[*]}"
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >"$cache/apt.log" 2>&1 ||
    { tail -5 "$cache/apt.log" >&2; die "cannot install ${missing[*]}"; }
}

# watched MESSAGE LOG COMMAND...: runs COMMAND with its output in LOG, printing MESSAGE, the log's newest line every 20 s, and
# the log's end when COMMAND fails.
watched() {
  local message=$1 log=$2 pid rc=0 next=$((SECONDS + 20)); shift 2
  say "$message"
  "$@" >"$log" 2>&1 & pid=$!
  while sleep 0.5; kill -0 "$pid" 2>/dev/null; do
    ((SECONDS >= next)) || continue
    next=$((SECONDS + 20))
    say "  ... $(tail -c 300 "$log" | tr '\r' '\n' | tail -1 | cut -c1-110)"
  done
  wait "$pid" || rc=$?
  [ "$rc" = 0 ] || tail -40 "$log" >&2
  return "$rc"
}

# fresh FILE SOURCE...: whether FILE was made from these very sources; their digest is kept beside it, in FILE.key.
fresh() { [ -e "$1" ] && [ "$(cat "$1.key" 2>/dev/null)" = "$(digest "${@:2}")" ]; }
digest() { (cd "$project" && find "${@#"$project/"}" -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -c1-16); }

# unpack DIRECTORY PACKAGE...: unpacks these Debian packages of the lab's architecture; none of their scripts runs. With
# -r before them also what they depend on.
unpack() {
  local dir=$1 get=(download) deb; shift
  [ "$1" != -r ] || { get=(-y --no-install-recommends --download-only install); shift; }
  rm -rf "$dir" "$dir.deb"; mkdir -p "$dir" "$dir.deb/partial"
  say "downloading for $debian: $*"
  (cd "$dir.deb" && { apt-get "${foreign[@]}" "-oDir::Cache::archives=$dir.deb" -qq "${get[@]}" "$@" >"$dir.deb/log" 2>&1 ||
    { apt_refresh "${foreign[@]}"; apt-get "${foreign[@]}" "-oDir::Cache::archives=$dir.deb" -qq "${get[@]}" "$@" >"$dir.deb/log" 2>&1; }; }) ||
    { tail -5 "$dir.deb/log" >&2; die "cannot download $*"; }
  for deb in "$dir.deb"/*.deb; do dpkg-deb -x "$deb" "$dir"; done
  rm -rf "$dir.deb"
}

# debian_kernel META DIRECTORY: unpacks the kernel package that Debian's META package names today into DIRECTORY, once.
# DIRECTORY/version holds its version, DIRECTORY/vmlinuz its image.
debian_kernel() {
  local meta=$1 dir=$2 package version
  [ ! -e "$dir/version" ] || return 0
  need kmod
  # Fails as long as there are no lists.
  named() { { apt-cache "${foreign[@]}" depends "$meta" 2>/dev/null || true; } | awk '/Depends: linux-image/ {print $2; exit}'; }
  package=$(named)
  [ -n "$package" ] || { apt_refresh "${foreign[@]}"; package=$(named); }
  [ -n "$package" ] || die "Debian has no $meta for $debian"
  unpack "$dir" "$package"
  version=$(ls "$dir/lib/modules")
  depmod -b "$dir" "$version"
  cp "$dir/boot/vmlinuz-$version" "$dir/vmlinuz"
  echo "$version" >"$dir/version"
}

# busybox_static: prints the path of a static busybox of the lab's architecture.
busybox_static() {
  need busybox-static
  [ ${#foreign[@]} -gt 0 ] || { echo /bin/busybox; return; }
  [ -e "$store/busybox/bin/busybox" ] || unpack "$store/busybox" busybox-static
  echo "$store/busybox/bin/busybox"
}

# initramfs OUTPUT KERNEL-DIRECTORY INIT MODULE...: packs busybox, INIT as /init, and the modules with those they depend on;
# /modules/order names them in the order in which insmod has to be given them.
initramfs() {
  local out=$1 kernel=$2 init=$3 busybox tree module path; shift 3
  need cpio kmod
  busybox=$(busybox_static)
  tree=$(mktemp -d -p "$cache" initramfs.XXXXXX)
  mkdir -p "$tree"/{bin,dev,proc,sys,root,modules}
  cp "$busybox" "$tree/bin/busybox"
  install -m 755 "$init" "$tree/init"
  for module; do
    modprobe -d "$kernel" -S "$(cat "$kernel/version")" --show-depends "$module" || die "the kernel in $kernel has no module $module"
  done | awk '$1 == "insmod" && !seen[$2]++ {print $2}' | while read -r path; do
    cp "$path" "$tree/modules/"
    basename "$path" >>"$tree/modules/order"
  done
  (cd "$tree" && find . | cpio -o -H newc -R 0:0 --quiet) | gzip -1 >"$out.new"
  rm -rf "$tree"
  mv "$out.new" "$out"
}

# kvm_runs_linux: whether /dev/kvm here runs unmodified guests at speed. Without VT-x or SVM a hypervisor may still offer
# /dev/kvm (PVM does), but what it makes of kernel code is emulated, instruction by instruction.
kvm_runs_linux() { [ -r /dev/kvm ] && [ -w /dev/kvm ] && grep -qwE 'vmx|svm' /proc/cpuinfo; }
