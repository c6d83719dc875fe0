# shellcheck shell=bash
# Shared by the scripts of this folder: where things are kept, progress lines, Debian packages.

# shellcheck disable=SC2034 # for the scripts that read this file
project=$(realpath "$(dirname "${BASH_SOURCE[0]}")/..")
cache=${STRATOVIRT_CACHE:-/var/tmp/stratovirt-cache}
mkdir -p "$cache"

say() { printf '[%s] %s\n' "$(date +%H:%M:%S)" "$*" >&2; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# apt_refresh: fetches the package lists, once in the life of a run.
apt_refresh() {
  [ -z "${STRATOVIRT_APT_FRESH:-}" ] || return 0
  say "apt-get update"
  apt-get update -qq || die "apt-get update failed"
  export STRATOVIRT_APT_FRESH=1
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

# debian_kernel META DIRECTORY: unpacks the kernel package that Debian's META package names today into DIRECTORY, once.
# DIRECTORY/version holds its version, DIRECTORY/vmlinuz its image.
debian_kernel() {
  local meta=$1 dir=$2 package
  [ ! -e "$dir/version" ] || return 0
  need kmod
  package=$(apt-cache depends "$meta" 2>/dev/null | awk '/Depends: linux-image/ {print $2; exit}')
  [ -n "$package" ] || { apt_refresh; package=$(apt-cache depends "$meta" | awk '/Depends: linux-image/ {print $2; exit}'); }
  say "downloading $package"
  rm -rf "$dir" "$dir.deb"; mkdir -p "$dir" "$dir.deb"
  (cd "$dir.deb" && { apt-get download -qq "$package" 2>/dev/null || { apt_refresh; apt-get download -qq "$package" 2>/dev/null; }; }) ||
    die "cannot download $package"
  dpkg -x "$dir.deb"/*.deb "$dir"; rm -rf "$dir.deb"
  local version; version=$(ls "$dir/lib/modules")
  depmod -b "$dir" "$version"
  cp "$dir/boot/vmlinuz-$version" "$dir/vmlinuz"
  echo "$version" >"$dir/version"
}

# initramfs OUTPUT KERNEL-DIRECTORY INIT MODULE...: packs busybox, INIT as /init, and the modules with those they depend on;
# /modules/order names them in the order in which insmod has to be given them.
initramfs() {
  local out=$1 kernel=$2 init=$3 tree module path; shift 3
  need busybox-static cpio kmod
  tree=$(mktemp -d -p "$cache" initramfs.XXXXXX)
  mkdir -p "$tree"/{bin,dev,proc,sys,root,modules}
  cp /bin/busybox "$tree/bin/"
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
